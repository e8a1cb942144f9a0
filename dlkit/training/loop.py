"""The training loop: the same for every trainer.

It counts steps, logs, saves checkpoints whole, stops cleanly on Ctrl-C and goes on from there to
the same weights: everything that changes during training is in the checkpoint, and the order of
the data depends on the seed and the epoch alone.
"""

from __future__ import annotations

import json
import math
import platform
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.atomic import write_bytes
from dlkit.errors import TrainingError
from dlkit.training.curve import draw_curve
from dlkit.training.recipe import Recipe
from dlkit.training.run import Run


class Trainer(ABC):
    """One way to train. What changes during training is in ``state`` and the random state.

    Attributes:
        network: what is exported.
        epochs, steps_per_epoch: how long it takes.
        dataset: name of the data, for people.
        fingerprint: hash of the data, so that a run is resumed on what it began with.
    """

    network: nn.Module
    epochs: int
    steps_per_epoch: int
    dataset: str
    fingerprint: str

    @abstractmethod
    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """Train on batch ``index`` of an epoch, both from 0; gives scalar losses, detached."""

    @abstractmethod
    def evaluate(self) -> Mapping[str, float]:
        """Metrics on data that is not trained on."""

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
    trainer: Trainer, recipe: Recipe, run: Run, device: torch.device, resume: bool, watch: Watch
) -> bool:
    """Train from the start, or from the run's checkpoint, to the end of the recipe.

    Returns:
        False when Ctrl-C stopped it; the checkpoint then holds the last finished step.

    Raises:
        TrainingError: a loss is NaN or infinite, the checkpoint does not fit, or the disk is full.
    """
    steps = trainer.epochs * trainer.steps_per_epoch
    done = 0
    totals: dict[str, Any] = {}
    entries: list[dict[str, Any]] = []
    if resume:
        done, totals, entries = _restore(trainer, run)
    else:
        entries.append(
            {
                "event": "start",
                "recipe": recipe.to_json(),
                "device": str(device),
                "torch": torch.__version__,
                "python": platform.python_version(),
            }
        )
        before = dict(trainer.evaluate())
        entries.append({"event": "epoch", "epoch": 0, "step": 0, **before})
        watch(Progress(0, steps, 0, {}, before))
    _write_log(run, entries)

    with _interrupt() as interrupted:
        begun = time.monotonic()
        while done < steps:
            epoch, index = divmod(done, trainer.steps_per_epoch)
            trainer.network.train()
            losses = trainer.step(epoch, index)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss.double().cpu()
            done += 1
            last = index + 1 == trainer.steps_per_epoch
            means = {name: float(total) / (index + 1) for name, total in totals.items()}
            if bad := [name for name, mean in means.items() if not math.isfinite(mean)]:
                raise TrainingError(
                    f"{bad[0]} became {means[bad[0]]} at step {done}: lower learning_rate, e.g. "
                    "--set learning_rate=...; the last checkpoint is kept"
                )
            metrics: dict[str, float] | None = None
            if last:
                metrics = dict(trainer.evaluate())
                seconds = round(time.monotonic() - begun, 3)
                begun, totals = time.monotonic(), {}
                entries.append(
                    {
                        "event": "epoch",
                        "epoch": epoch + 1,
                        "step": done,
                        "seconds": seconds,
                        **means,
                        **metrics,
                    }
                )
                if done == steps:
                    entries.append({"event": "end", "step": done})
            saved = last or interrupted.is_set()
            if saved:
                run.save_checkpoint(_snapshot(trainer, done, totals, entries))
            watch(Progress(done, steps, epoch + 1, means, metrics))
            if last:
                _write_log(run, entries)
                draw_curve(entries, run.path / "curve.png")
            if interrupted.is_set() and done < steps:
                if not saved:  # Ctrl-C came after the line above
                    run.save_checkpoint(_snapshot(trainer, done, totals, entries))
                return False
    return True


def _snapshot(
    trainer: Trainer, done: int, totals: Mapping[str, Any], entries: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "network": trainer.network.state_dict(),
        "trainer": trainer.state(),
        "step": done,
        "totals": {name: float(total) for name, total in totals.items()},
        "log": json.dumps(entries),
        "fingerprint": trainer.fingerprint,
        "dataset": trainer.dataset,
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore(trainer: Trainer, run: Run) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    saved = run.load_checkpoint()
    if saved["fingerprint"] != trainer.fingerprint:
        raise TrainingError(
            f"{run.path} was trained on other data: give the same --data to --resume, "
            "or train anew with another --out"
        )
    try:
        trainer.network.load_state_dict(saved["network"])
        trainer.load_state(saved["trainer"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise TrainingError(f"{run.checkpoint} does not fit its recipe: train anew") from error
    torch.set_rng_state(saved["rng"])
    if torch.cuda.is_available() and len(saved["rng_cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["rng_cuda"])
    return saved["step"], dict(saved["totals"]), json.loads(saved["log"])


def _write_log(run: Run, entries: list[dict[str, Any]]) -> None:
    write_bytes(run.log, "".join(json.dumps(entry) + "\n" for entry in entries).encode())


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
