"""What the machine is, and the most that it does: arithmetic, copying, decoding and encoding."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dlkit.bench.measure import timed_calls
from dlkit.errors import InputError
from dlkit.processors import cpu_count, processor_name
from dlkit.runtime.gpu.driver import gpu_name
from dlkit.runtime.gpu.flavor import FLAVORS
from dlkit.runtime.session import BACKENDS
from dlkit.versions import of_modules

# Large enough that loading it costs little beside 2 n^3 operations, small enough for any machine.
_MATRIX = 2048
_COPY_BYTES = 128 << 20  # a thread: well beyond any last-level cache's share
_BUSY = 10.0  # percent of all processors that others may use before it is worth a warning


def describe() -> dict[str, Any]:
    """Processor, memory, system and versions, as JSON values."""
    import psutil

    return {
        "processor": processor_name(),
        "processors": cpu_count(),
        "processors_of_machine": psutil.cpu_count() or cpu_count(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "gpu": gpu_name(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": of_modules(("dlkit", "numpy", "cv2", *BACKENDS.names(), *FLAVORS)),
    }


class Others:
    """How much of all processors other programs use, from its making on; the hypervisor's too."""

    def __init__(self) -> None:
        self._busy, self._total = _processor_seconds()
        self._own = _own_seconds()

    def percent(self) -> float | None:
        """0 to 100; None where the system does not tell what child processes used (Windows)."""
        busy, total = _processor_seconds()
        if os.name == "nt" or total <= self._total:
            return None
        others = (busy - self._busy) - (_own_seconds() - self._own)
        return max(0.0, others / (total - self._total) * 100)


def _processor_seconds() -> tuple[float, float]:
    """Busy and all seconds of all processors since the machine's start."""
    import psutil

    times = psutil.cpu_times()._asdict()
    # Linux counts guests' time in user and nice already (proc_stat(5))
    total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return total - times["idle"] - times.get("iowait", 0.0), total


def _own_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def others_note(percent: float | None) -> str | None:
    """A warning where others computed at the same time; None when the machine was quiet."""
    if percent is None or percent < _BUSY:
        return None
    return f"other programs used {percent:.0f} % of the processors meanwhile: repeat it in quiet"


def ceiling(threads: int, seconds: float, samples: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """The most that the machine does, each measured for ``seconds``, on ``threads`` threads.

    Args:
        samples: image files whose decoding and encoding is measured, by what they are.

    Returns:
        ``gflops``: 2 n^3 operations of a float32 matrix product of numpy's BLAS, best call;
        ``copy_gb_s``: bytes read plus bytes written, as STREAM counts a copy, best call;
        ``images``: ``decode_per_s`` (from the file) and ``encode_per_s`` (into memory), images a
        second by OpenCV at its default settings, best call.
    """
    return {
        "gflops": _matrix_product(seconds),
        "copy_gb_s": _copy(threads, seconds),
        "images": {what: _images(files, threads, seconds) for what, files in samples.items()},
    }


def _matrix_product(seconds: float) -> float:
    random = np.random.default_rng(0)
    left, right = (random.random((_MATRIX, _MATRIX), np.float32) for _ in range(2))
    out = np.empty_like(left)
    best = _best(lambda: np.matmul(left, right, out=out), seconds)
    return 2 * _MATRIX**3 / best / 1e9


def _copy(threads: int, seconds: float) -> float:
    sources = [np.ones(_COPY_BYTES, np.uint8) for _ in range(threads)]
    targets = [np.zeros_like(source) for source in sources]
    with ThreadPoolExecutor(threads) as pool:
        best = _best(lambda: list(pool.map(np.copyto, targets, sources)), seconds)
    return 2 * threads * _COPY_BYTES / best / 1e9


def _images(files: Sequence[Path], threads: int, seconds: float) -> dict[str, float]:
    """Rates of reading and encoding, on all threads."""
    images = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files]
    pairs = [(path, image) for path, image in zip(files, images, strict=True) if image is not None]
    if not pairs:
        raise InputError(f"{files[0]} and its like cannot be decoded", "Give a folder of images")

    def decode(part: list[tuple[Path, Any]]) -> None:
        for path, _ in part:
            cv2.imread(str(path), cv2.IMREAD_UNCHANGED)

    def encode(part: list[tuple[Path, Any]]) -> None:
        for path, image in part:
            cv2.imencode(path.suffix, image)

    # equal parts, each long enough that handing it to a thread costs nothing
    pairs *= -(-threads * 64 // len(pairs))
    parts = [pairs[at::threads] for at in range(threads)]
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return {
                name: len(pairs) / _best(lambda work=work: list(pool.map(work, parts)), seconds)  # type: ignore[misc]
                for name, work in (("decode_per_s", decode), ("encode_per_s", encode))
            }
    finally:
        cv2.setNumThreads(before)


def _best(call: Callable[[], Any], seconds: float) -> float:
    call()
    latencies, _ = timed_calls(call, seconds)
    return min(latencies)


def sample_image(height: int, width: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture that compresses as real ones do: a bright blurred stroke with a little noise."""
    random = np.random.default_rng(seed)
    canvas = np.zeros((height, width), np.uint8)
    middle, axes = (width // 2, height // 2), (max(width // 4, 1), max(height // 3, 1))
    cv2.ellipse(
        canvas,
        middle,
        axes,
        float(random.uniform(0, 360)),
        0,
        300,
        255,
        max(min(height, width) // 8, 1),
    )
    blurred = cv2.GaussianBlur(canvas, (0, 0), max(min(height, width) / 30, 0.8))
    if min(height, width) < 64:  # digits are clean black around the stroke
        return np.asarray(blurred, np.uint8)
    noisy = blurred.astype(np.float32) / 2 + 100 + random.normal(0, 3, blurred.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
