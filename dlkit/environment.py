"""What libraries end the process over, with no line that names it: a folder that was removed (MKL,
which torch is built on), values of environment variables (OpenCV)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dlkit.errors import UsageError

# By trying every name in the library, OpenCV 5.0: numbers and switches are parsed while it loads.
_NUMBERS = re.compile(
    "OPENCV_(IO_MAX_IMAGE_[A-Z]+|IMGCODECS_[A-Z]+_MAX_FILE_SIZE|FOR_THREADS_NUM|THREAD_POOL_[A-Z_]+"
    "|KMEANS_PARALLEL_GRANULARITY|TRACE_DEPTH_OPENCV|TRACE_MAX_CHILDREN(_OPENCV)?"
    "|OPENCL_ALIGNMENT_MEM_USE_HOST_PTR)"
)
_SWITCHES = re.compile(
    "OPENCV_(BUFFER_AREA_ALWAYS_SAFE|DUMP_CONFIG|DUMP_ERRORS|ENABLE_MEMALIGN|LOG_TIMESTAMP(_NS)?"
    "|GAUSSIANBLUR_CHECK_BITEXACT_KERNELS|SKIP_CPU_BASELINE_CHECK|TRACE|TRACE_ITT_[A-Z_]+"
    "|TRACE_SYNC_OPENCL|VIDEO[A-Z]+_DEBUG|OPENCL_CACHE_(CLEANUP|ENABLE|LOCK_ENABLE|WRITE)"
    "|OPENCL_DISABLE_BUFFER_RECT_OPERATIONS|OPENCL_ENABLE_MEM_USE_HOST_PTR"
    "|OPENCL_VALIDATE_BINARY_PROGRAMS)"
)
_NUMBER, _SWITCH = re.compile("[0-9]{1,18}"), re.compile("[01]|[Tt]rue|TRUE|[Ff]alse|FALSE")


def check() -> None:
    """Refuse what would end the process; before libraries are loaded.

    Raises:
        UsageError: the folder was removed, or which variable.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the folder that you are in was removed", "Go to another: cd") from error
    for name, value in os.environ.items():
        for names, form, wanted in (
            (_NUMBERS, _NUMBER, "a whole number"),
            (_SWITCHES, _SWITCH, "0 or 1"),
        ):
            if names.fullmatch(name) and not form.fullmatch(value):
                raise UsageError(
                    f"the environment variable {name} is {value!r}, expected {wanted}",
                    f"Take it back: unset {name}",
                )


def whole_number(name: str, usual: int) -> int:
    """A variable of dlkit's own.

    Raises:
        UsageError: it is none.
    """
    if not _NUMBER.fullmatch(text := os.environ.get(name, str(usual))):
        raise UsageError(
            f"the environment variable {name} is {text!r}, expected a whole number",
            f"Take it back: unset {name}",
        )
    return int(text)
