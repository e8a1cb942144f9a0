"""The processors: what they are, how many of them this process may use, and processes on them."""

from __future__ import annotations

import math
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # Linux's names of it, x86's and ARM's
_CGROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Version 1 says "no limit" with a number near 2**63, rounded down to a page.
_NO_LIMIT = 2**60


def cpu_count() -> int:
    """Processors that this process may use: as ``taskset`` and the control group allow."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _ = control_group()
    most = allowed or 1
    return most if quota is None else max(1, min(most, math.ceil(quota)))


def has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processors have instructions for bfloat16; False where Linux does not say so."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not _BFLOAT16.isdisjoint(flags.lower().split())


@contextmanager
def children_uninterrupted() -> Iterator[None]:
    """Processes that are started meanwhile do not get Ctrl-C, which a terminal sends to all: who
    started them ends them, in order and without their tracebacks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:  # what came meanwhile arrives now
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def control_group(
    root: Path = _CGROUPS, membership: Path = _MEMBERSHIP
) -> tuple[float | None, int | None]:
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


def processor_name() -> str:
    """As /proc/cpuinfo has it on Linux, else what Python knows."""
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()
