"""Python, processor and memory, and how much of them this process may use."""

from __future__ import annotations

import os
import platform
import sys

from dlkit.doctor.examination import Machine
from dlkit.processors import control_group, cpu_count, processor_name


def look() -> Machine:
    """What this machine is."""
    quota, limit = control_group()
    allowed = float(cpu_count())
    return Machine(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        executable=sys.executable,
        system=platform.platform(),
        architecture=platform.machine(),
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        cores_allowed=allowed if quota is None else min(allowed, quota),
        memory=_memory(),
        memory_allowed=limit,
    )


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
