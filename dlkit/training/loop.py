"""The training loop: the same for every trainer.

It counts steps, logs, keeps the best weights, saves checkpoints whole, stops cleanly on Ctrl-C and
goes on from there to the same weights: everything that changes during training is in the
checkpoint, and the order of the data depends on the seed and the epoch alone. With several
processes all compute and the first one writes.
"""

from __future__ import annotations

import math
import platform
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.errors import TrainingError
from dlkit.training.checkpoint import State, restore, save
from dlkit.training.compute import Compute
from dlkit.training.recipe import Recipe
from dlkit.training.record import Record
from dlkit.training.run import Run


class Trainer(ABC):
    """One way to train. What changes during training is in ``state`` and the random state.

    Attributes:
        network: what is exported.
        epochs, steps_per_epoch: how long it takes.
        dataset: name of the data, for people.
        fingerprint: hash of the data, so that a run is resumed on what it began with.
        monitor: metric of ``evaluate`` whose highest value marks the weights that are kept; None
            keeps the last ones.
        patience: epochs without a better ``monitor`` after which training ends; 0 never does.
        temperature: of the exported graph's softmax.
    """

    network: nn.Module
    epochs: int
    steps_per_epoch: int
    dataset: str
    fingerprint: str
    monitor: str | None = None
    patience: int = 0
    temperature: float = 1.0

    @abstractmethod
    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """Train on batch ``index`` of an epoch, both from 0.

        Returns:
            Scalar losses, detached. Their means over the processes are those of the whole batch.
        """

    @abstractmethod
    def evaluate(self) -> Mapping[str, float]:
        """Metrics on data that is not trained on. Called in the first process alone."""

    def finish(self, folder: Path) -> Mapping[str, float]:
        """Called once, when ``network`` has its final weights, in the first process alone.

        Args:
            folder: for pictures.

        Returns:
            What the end of the log says.
        """
        return {}

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with these weights of the network instead of fresh ones."""
        self.network.load_state_dict(weights)

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """State of everything but ``network``: optimisers, schedules, critics."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""


@dataclass(frozen=True)
class Progress:
    """Where training is. ``metrics`` is set once an epoch, after its evaluation."""

    step: int
    steps: int
    epoch: int
    losses: Mapping[str, float]
    metrics: Mapping[str, float] | None = None


Watch = Callable[[Progress], None]


def run_training(
    trainer: Trainer, recipe: Recipe, run: Run, compute: Compute, resume: bool, watch: Watch
) -> bool:
    """Train from the start, or from the run's checkpoint, to the end of the recipe.

    Returns:
        False when Ctrl-C stopped it; the checkpoint then holds the last finished step.

    Raises:
        TrainingError: a loss is NaN or infinite, the checkpoint does not fit, or the disk is full.
    """
    steps = trainer.epochs * trainer.steps_per_epoch
    state = State()
    if resume:
        restore(trainer, run, compute, state)
    else:
        _begin(trainer, recipe, compute, state)
        watch(Progress(0, steps, 0, {}, _metrics(state.entries[-1])))
    record = Record(run, state.entries, state.done) if compute.first else None
    if record:
        record.write()
    with _interrupt() as interrupted, closing(record) if record else nullcontext():
        begun = time.monotonic()
        while not state.finished:
            epoch, index = divmod(state.done, trainer.steps_per_epoch)
            stopped = _step(trainer, compute, state, epoch, index, interrupted)
            last = index + 1 == trainer.steps_per_epoch
            means = {name: float(total) / (index + 1) for name, total in state.totals.items()}
            if bad := [name for name, mean in means.items() if not math.isfinite(mean)]:
                raise TrainingError(
                    f"{bad[0]} became {means[bad[0]]} at step {state.done}: lower learning_rate, "
                    "e.g. --set learning_rate=...; the last checkpoint is kept"
                )
            metrics: dict[str, float] | None = None
            if last:
                metrics = compute.on_first(lambda: dict(trainer.evaluate()))
                assert metrics is not None
                where = {"epoch": epoch + 1, "step": state.done}
                seconds = {"seconds": round(time.monotonic() - begun, 3)}
                begun, state.totals = time.monotonic(), {}
                state.entries.append({"event": "epoch", **where, **seconds, **means, **metrics})
                early = _keep_best(trainer, state, metrics, epoch + 1)
                state.finished = early or state.done == steps
                if state.finished:
                    _finish(trainer, state, run, compute, early)
            alone = compute.world == 1  # else all must stop at the same step
            saved = last or stopped or (alone and interrupted.is_set())
            if saved:
                save(trainer, run, compute, state)
            watch(Progress(state.done, steps, epoch + 1, means, metrics))
            if last and record:
                record.write(state.finished)
            if alone:
                stopped = interrupted.is_set()
            if stopped and not state.finished:
                if not saved:  # Ctrl-C came after the line above
                    save(trainer, run, compute, state)
                return False
    return True


def _begin(trainer: Trainer, recipe: Recipe, compute: Compute, state: State) -> None:
    start = {
        "event": "start",
        "recipe": recipe.to_json(),
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


def _step(
    trainer: Trainer,
    compute: Compute,
    state: State,
    epoch: int,
    index: int,
    interrupted: threading.Event,
) -> bool:
    """One step of the trainer; True when Ctrl-C came to any of the processes."""
    if not trainer.network.training:  # it takes time to tell all modules
        trainer.network.train()
    stop = torch.tensor(float(interrupted.is_set()), device=compute.device)
    losses = compute.mean({**trainer.step(epoch, index), "stop": stop})
    stopped = bool(losses.pop("stop"))
    for name, loss in losses.items():
        state.totals[name] = state.totals.get(name, 0.0) + loss
    state.done += 1
    return stopped


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


def _finish(trainer: Trainer, state: State, run: Run, compute: Compute, early: bool) -> None:
    """Take the best weights, and let the trainer say how good they are."""
    end: dict[str, Any] = {"event": "end", "step": state.done}
    if state.best is not None:
        trainer.network.load_state_dict(state.best["network"])
        end["best_epoch"] = state.best["epoch"]
        state.best = None
    if early:
        end["stopped_early"] = True
    end.update(compute.on_first(lambda: dict(trainer.finish(run.path))))
    state.entries.append(end)


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
