"""The training loop: the same for every trainer.

It counts steps, logs, keeps the best weights, saves checkpoints whole and often, stops cleanly on
Ctrl-C and goes on from there to the same weights: everything that changes during training is in the
checkpoint, and the order of the data depends on the seed and the epoch alone. With several
processes all compute and the first one writes.
"""

from __future__ import annotations

import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from dlkit.errors import TrainingError
from dlkit.training.engine.checkpoint import State, restore, save
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.log import Log
from dlkit.training.engine.run import Run
from dlkit.training.engine.trainer import Trainer

_LOOK_EVERY = 10  # steps, on a GPU: to look at a loss is to wait for it
_DIVERGED = 100.0  # times the first epoch's loss
# A training that is killed loses what came after its last checkpoint, so one is written within
# epochs, too: so many seconds after the last one, and so many times as long as that one took.
_SAVE_EVERY, _SAVE_SHARE = 0.5, 100


@dataclass(frozen=True)
class Moment:
    """Where a training is.

    Attributes:
        step: steps done, of ``steps``.
        epoch: the current one, from 1; 0 before the first step.
        losses: means over the epoch so far, as they were last looked at: every few steps on a GPU,
            and at the end of each epoch.
        metrics: of the evaluation after an epoch, else None.
        notes: what is odd about the data, for people; at the beginning alone.
    """

    step: int
    steps: int
    epoch: int
    losses: Mapping[str, float]
    metrics: Mapping[str, float] | None
    notes: Sequence[str] = ()


Watch = Callable[[Moment], None]


def run_training(
    trainer: Trainer, run: Run, compute: Compute, resume: bool, watch: Watch = lambda _: None
) -> bool:
    """Train to the end.

    Returns:
        False when Ctrl-C stopped it; the checkpoint then holds the last finished step.

    Raises:
        TrainingError: a loss is NaN, infinite or much too large, the checkpoint does not fit, or
            the disk is full.
    """
    steps = trainer.epochs * trainer.steps_per_epoch
    state = State()
    if resume:
        restore(trainer, run, compute, state)
    else:
        _begin(trainer, compute, state)
        watch(Moment(0, steps, 0, {}, _metrics(state.entries[-1]), trainer.notes))
    log = Log(run, state.entries, state.done) if compute.first else None
    if log:
        log.write()
    means: dict[str, float] = {}
    with _interrupt() as interrupted, closing(log) if log else nullcontext():
        begun = saved = time.monotonic()
        pause = _SAVE_EVERY
        while not _ended(state, steps):
            epoch, index = divmod(state.done, trainer.steps_per_epoch)
            _step(trainer, state, epoch, index)
            last = index + 1 == trainer.steps_per_epoch
            stopped = compute.world == 1 and interrupted.is_set()
            late = False
            if last or stopped or _time_to_look(compute, index):
                late = time.monotonic() - saved > pause
                means, stopped, late = _look(compute, state, index + 1, interrupted, late)
                _check(trainer, run, state, means, index + 1, last)
            metrics: dict[str, float] | None = None
            if last:
                metrics = compute.on_first(lambda: dict(trainer.evaluate()))
                assert metrics is not None
                if compute.first:
                    trainer.draw(run.path)
                where = {"epoch": epoch + 1, "step": state.done}
                seconds = {"seconds": round(time.monotonic() - begun, 3)}
                begun, state.totals = time.monotonic(), {}
                state.entries.append({"event": "epoch", **where, **seconds, **means, **metrics})
                state.early = _keep_best(trainer, state, metrics, epoch + 1)
            if last and log:
                log.write()  # first, since what a checkpoint has is not written again
            if last or stopped or late:
                before = time.monotonic()
                save(trainer, run, compute, state)
                saved = time.monotonic()
                pause = max(_SAVE_EVERY, _SAVE_SHARE * (saved - before))
            watch(Moment(state.done, steps, epoch + 1, means, metrics))
            ended = _ended(state, steps)
            if compute.world == 1 and interrupted.is_set() and not (stopped or ended):
                stopped = True  # Ctrl-C came after the step
                if not last:
                    save(trainer, run, compute, state)
            if stopped and not ended:
                break
        if _ended(state, steps) and not state.finished:
            _finish(trainer, state, run, compute)
            if log:
                log.write(finished=True)
            save(trainer, run, compute, state)
    compute.barrier()  # all see what the first one wrote
    return state.finished


def _begin(trainer: Trainer, compute: Compute, state: State) -> None:
    start = {
        "event": "start",
        "recipe": trainer.recipe.to_json(),
        "dataset": trainer.dataset,
        "notes": trainer.notes,
        "device": compute.device.type,
        "processes": compute.world,
        "precision": compute.precision,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    before = compute.on_first(lambda: dict(trainer.evaluate()))
    state.entries += [start, {"event": "epoch", "epoch": 0, "step": 0, **before}]


def _metrics(entry: Mapping[str, Any]) -> dict[str, float]:
    return {name: entry[name] for name in entry if name not in ("event", "epoch", "step")}


def _step(trainer: Trainer, state: State, epoch: int, index: int) -> None:
    """One step of the trainer; its losses are added up where they were computed."""
    if not trainer.network.training:  # it takes time to tell all modules
        trainer.network.train()
    for name, loss in trainer.step(epoch, index).items():
        before = state.totals.get(name, 0.0)
        state.totals[name] = loss.double() + before
    state.done += 1


def _time_to_look(compute: Compute, index: int) -> bool:
    costs_nothing = compute.world == 1 and compute.device.type == "cpu"
    return costs_nothing or (index + 1) % _LOOK_EVERY == 0


def _look(
    compute: Compute, state: State, steps: int, interrupted: threading.Event, late: bool
) -> tuple[dict[str, float], bool, bool]:
    """Means of the epoch's losses over its ``steps`` so far and over all processes; whether Ctrl-C
    came to any of those; and whether it is time for a checkpoint: all must do so at the same
    step."""
    stop = torch.tensor(float(interrupted.is_set()), device=compute.device)
    time_ = torch.tensor(float(late and compute.first), device=compute.device)
    zero = torch.zeros((), dtype=torch.float64, device=compute.device)
    totals = {name: zero + total for name, total in state.totals.items()}
    found = compute.mean({**totals, "stop": stop, "time": time_})
    stopped, late = bool(found.pop("stop")), bool(found.pop("time"))
    sums = {name: float(total) for name, total in found.items()}
    state.totals = dict(sums)
    return {name: total / steps for name, total in sums.items()}, stopped, late


def _check(
    trainer: Trainer, run: Run, state: State, means: Mapping[str, float], steps: int, last: bool
) -> None:
    """Refuse to go on with losses that have run away."""
    if bad := [name for name, mean in means.items() if not math.isfinite(mean)]:
        raise _ran_away(f"{bad[0]} became {means[bad[0]]} at step {state.done}", run)
    if not last and steps < _LOOK_EVERY:
        return  # a mean of few steps says little
    first = next((one for one in state.entries if one.get("epoch") == 1), {})
    for name in trainer.bounded:
        if name in means and name in first and means[name] > _DIVERGED * abs(first[name]):
            raise _ran_away(
                f"{name} rose to {means[name]:.4g} at step {state.done}, from {first[name]:.4g} in "
                "the first epoch",
                run,
            )


def _ran_away(what: str, run: Run) -> TrainingError:
    kept = "; the last checkpoint is kept" if run.checkpoint.exists() else ""
    return TrainingError(what, f"Lower learning_rate, e.g. --set learning_rate=...{kept}")


def _keep_best(trainer: Trainer, state: State, metrics: Mapping[str, float], epoch: int) -> bool:
    """Remember the weights if they are the best; True when it is time to stop early."""
    if trainer.monitor is None:
        return False
    value, best = metrics[trainer.monitor], state.best
    if best is None or value >= best["value"]:  # of equals the later one: it was trained longer
        weights = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
        better = best is None or value > best["value"]
        since = epoch if better or best is None else best["since"]
        best = {"value": value, "epoch": epoch, "since": since, "network": weights}
        state.best = best
    return 0 < trainer.patience <= epoch - int(best["since"])


def _ended(state: State, steps: int) -> bool:
    """Whether no step is left, though the end may be."""
    return state.early or state.done == steps


def _finish(trainer: Trainer, state: State, run: Run, compute: Compute) -> None:
    """Take the best weights, and let the trainer say how good they are."""
    end: dict[str, Any] = {"event": "end", "step": state.done}
    if state.best is not None:
        trainer.network.load_state_dict(state.best["network"])
        end["best_epoch"] = state.best["epoch"]
        state.best = None
    if state.early:
        end["stopped_early"] = True
    end.update(compute.on_first(lambda: dict(trainer.finish(run.path))))
    state.entries.append(end)
    state.finished = True


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
