"""Run a TensorRT build so that it shows how far it is and Ctrl-C stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

BuildWatch: TypeAlias = Callable[[str, float], None]
_POLL = 0.1  # seconds between looks for Ctrl-C


def run_build(
    trt: ModuleType, builder: Any, network: Any, config: Any, watch: BuildWatch | None
) -> Any:
    """Build in a thread; gives the plan, or None when TensorRT refuses.

    The main thread stays free to see Ctrl-C, which it would not while a C++ call runs in it. The
    build ends at its next step, then KeyboardInterrupt goes on.

    Args:
        watch: called with the innermost phase and the share that is done, 0 to 1.
    """
    monitor = _monitor(trt, watch)
    config.progress_monitor = monitor
    result: list[Any] = []
    errors: list[BaseException] = []
    # Ctrl-C inside of Event.wait may leave its lock held for ever, and an interrupted join may
    # take a thread for ended: so a list says that it has, and the bare lock only wakes who waits.
    ended: list[bool] = []
    wake = threading.Lock()
    wake.acquire()

    def build() -> None:
        try:
            result.append(builder.build_serialized_network(network, config))
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)
        finally:
            ended.append(True)
            wake.release()

    def wait() -> None:
        while not ended:
            wake.acquire(timeout=_POLL)

    thread = threading.Thread(target=build, name="tensorrt-build")
    try:
        thread.start()
        wait()
    except KeyboardInterrupt:
        monitor.cancelled = True
        if thread.ident is not None:  # Ctrl-C may come while it starts
            wait()
        raise
    if monitor.failed is not None:
        raise monitor.failed
    if errors:
        raise errors[0]
    return result[0]


def _monitor(trt: ModuleType, watch: BuildWatch | None) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Nested phases, each with a number of steps, become one share."""

        def __init__(self) -> None:
            super().__init__()
            self.cancelled = False
            self.failed: BaseException | None = None
            self.phases: list[tuple[str, int, int]] = []  # name, steps done, steps in all
            self.share = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases.append((phase_name, 0, max(num_steps, 1)))
            self.show()

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.phases = [
                (name, step + 1, total) if name == phase_name else (name, done, total)
                for name, done, total in self.phases
            ]
            self.show()
            return not self.cancelled

        def phase_finish(self, phase_name: str) -> None:
            self.phases = [phase for phase in self.phases if phase[0] != phase_name]

        def show(self) -> None:
            if watch is None or not self.phases or self.failed is not None:
                return
            share = 0.0
            for _, done, total in reversed(self.phases):
                share = min((done + share) / total, 1.0)
            self.share = max(self.share, share)  # phases may overlap; a bar never goes back
            try:
                watch(self.phases[-1][0], self.share)
            except BaseException as error:  # TensorRT would call it "cancelled by user"
                self.failed, self.cancelled = error, True

    return Monitor()
