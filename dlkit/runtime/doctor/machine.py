"""Python, processor and memory, and how much of them this process may use."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from dlkit.runtime.doctor.report import Machine
from dlkit.runtime.session import cpu_count

_CGROUPS = Path("/sys/fs/cgroup")
# Version 1 says "no limit" with a number near 2**63, rounded down to a page.
_NO_LIMIT = 2**60


def look() -> Machine:
    """What this machine is."""
    quota, limit = control_group(_CGROUPS, Path("/proc/self/cgroup"))
    allowed = float(cpu_count())
    return Machine(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        executable=sys.executable,
        system=platform.platform(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        cores_allowed=allowed if quota is None else min(allowed, quota),
        memory=_memory(),
        memory_allowed=limit,
    )


def control_group(root: Path, membership: Path) -> tuple[float | None, int | None]:
    """Cores and bytes that the process's control group and those above it allow; None: no limit.

    Source: Linux kernel documentation, admin-guide/cgroup-v2 (cpu.max, memory.max) and
    scheduler/sched-bwc, cgroup-v1/memory (cpu.cfs_quota_us, memory.limit_in_bytes).
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None, None
    quotas: list[float] = []
    limits: list[int] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            for folder in _upwards(root, path):
                quota, _, period = _read(folder / "cpu.max").partition(" ")
                if quota.isdigit() and period.strip().isdigit():
                    quotas.append(int(quota) / int(period))
                if (limit := _read(folder / "memory.max").strip()).isdigit():
                    limits.append(int(limit))
        elif "cpu" in controllers.split(","):
            for folder in _upwards(root / "cpu", path):
                quota = _read(folder / "cpu.cfs_quota_us").strip()
                period = _read(folder / "cpu.cfs_period_us").strip()
                if quota.isdigit() and period.isdigit():  # a quota of -1 is none
                    quotas.append(int(quota) / int(period))
        elif "memory" in controllers.split(","):
            for folder in _upwards(root / "memory", path):
                limit = _read(folder / "memory.limit_in_bytes").strip()
                if limit.isdigit() and int(limit) < _NO_LIMIT:
                    limits.append(int(limit))
    return min(quotas, default=None), min(limits, default=None)


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it, up to ``root``: each may set a limit."""
    folder = root / path.strip("/")
    yield folder
    while folder != root:
        folder = folder.parent
        yield folder


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _processor() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
