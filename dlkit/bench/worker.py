"""One measurement in a process of its own: a job as JSON on stdin, its result as JSON on stdout.

Heavy imports are inside the jobs, so that start-up and memory are those of what is measured.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A call that takes more than this many times the measured time is not waited for.
_PATIENCE = 5


def session(job: dict[str, Any]) -> dict[str, Any]:
    """Inference alone: load, warm up, and call for ``seconds`` with one batch."""
    from dlkit.bench import calls
    from dlkit.bench.measure import sketch, timed_calls
    from dlkit.bundle import Bundle
    from dlkit.runtime.session import open_session

    bundle, seconds = Bundle.open(job["bundle"]), float(job["seconds"])
    size = (int(job["size"][0]), int(job["size"][1]))
    batches = (1, int(job["batch"]))
    one, whole = (calls.feeds(bundle.spec, batch, size, job["axes"]) for batch in batches)
    samples = calls.samples(bundle.spec, batches[1])
    begun = time.perf_counter()
    opened = open_session(bundle, job["backend"], job["device"], job["threads"]).session
    load_s = time.perf_counter() - begun
    begun = time.perf_counter()
    opened.run(one)
    first_s = time.perf_counter() - begun
    begun = time.perf_counter()
    opened.run(one)
    expected = (time.perf_counter() - begun) * samples
    if expected > _PATIENCE * seconds and samples > 1:
        return {"error": f"one call would take about {expected:.3g} s; see it with more --seconds"}
    timed_calls(lambda: opened.run(whole), seconds / 4)  # warm-up
    latencies, total = timed_calls(lambda: opened.run(whole), seconds)
    return {
        "load_s": load_s,
        "first_s": first_s,
        "samples_per_s": len(latencies) * samples / total,
        "calls": len(latencies),
        "latencies_s": sketch(latencies),
        "sha256": opened.sha256,
    }


def ceiling(job: dict[str, Any]) -> dict[str, Any]:
    """What the machine can do at most."""
    from dlkit.bench import machine

    samples = {what: [Path(path) for path in paths] for what, paths in job["images"].items()}
    return machine.ceiling(int(job["threads"]), float(job["seconds"]), samples)


def command(job: dict[str, Any]) -> dict[str, Any]:
    """A dlkit command, as a user runs it; its wall time is that of this process."""
    sys.argv = ["dlkit", *job["arguments"]]
    try:
        runpy.run_module("dlkit", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code != 0:
            sys.stderr.flush()
            sys.exit(code)
    return {}


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "session": session,
    "ceiling": ceiling,
    "command": command,
}


def peak_bytes() -> int | None:
    """Most memory that this process held at once; None where the system does not tell.

    Linux: VmHWM of proc(5), because getrusage's value is inherited from the parent through exec.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024  # it is in kB
    import psutil

    peak = getattr(psutil.Process().memory_info(), "peak_wset", None)  # Windows
    if peak is not None:
        return int(peak)
    if sys.platform == "darwin":
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS
    return None


def main() -> None:
    """Read a job, do it, write its result; a DlkitError becomes the result's ``error``."""
    from dlkit.errors import DlkitError

    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the job prints is no result
    job = json.load(sys.stdin)
    try:
        result = JOBS[job["job"]](job)
    except DlkitError as error:
        result = {"error": str(error)}
    json.dump({**result, "peak_bytes": peak_bytes()}, answer)
    answer.close()


if __name__ == "__main__":
    main()
