"""Checkpoint: all that changes in a training; a resumed one ends with the same weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dlkit.errors import TrainingError
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.run import Run, begun_with
from dlkit.training.engine.trainer import Trainer


@dataclass
class State:
    """Where training is; all of it is in the checkpoint.

    Attributes:
        done: steps.
        early: no step is left, since it got no better.
        finished: the best weights were taken, and measured.
        totals: sums of the losses over the current epoch: numbers, or float64 scalars where they
            were computed. Means over the processes once they were looked at.
        entries: of the log.
        best: value, epoch, since (the first epoch with that value) and network.
    """

    done: int = 0
    early: bool = False
    finished: bool = False
    totals: dict[str, Tensor | float] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None


def save(trainer: Trainer, run: Run, compute: Compute, state: State) -> None:
    """Write the checkpoint, in the first process; all take part.

    Raises:
        TrainingError: the disk is full.
    """
    cuda = compute.device.type == "cuda"
    random_states = {
        "rng": compute.gathered(torch.get_rng_state().to(compute.device)),
        "rng_cuda": compute.gathered(torch.cuda.get_rng_state().to(compute.device)) if cuda else [],
    }
    if not compute.first:
        return
    run.save_checkpoint(
        {
            "network": trainer.network.state_dict(),
            "meaning": trainer.meaning(),
            "trainer": trainer.state(),
            "best": state.best,
            "step": state.done,
            "early": state.early,
            "finished": state.finished,
            "totals": {name: float(total) for name, total in state.totals.items()},
            "log": json.dumps(state.entries),
            "fingerprint": trainer.fingerprint,
            "dataset": trainer.dataset,
            "precision": compute.fabric.strategy.precision.state_dict(),
            **random_states,
        }
    )


def restore(trainer: Trainer, run: Run, compute: Compute, state: State) -> None:
    """Take back what ``save`` wrote, random states included.

    Raises:
        TrainingError: it belongs to other data, another recipe, another precision or another dlkit.
    """
    saved = run.load_checkpoint()
    if saved.get("fingerprint") != trainer.fingerprint:
        raise TrainingError(
            f"{run.path} was trained on other data",
            "Give the same --data to --resume, or train anew with another --out",
        )
    if begun := begun_with(saved):  # recipe.json may have been changed since
        run.check_resumed(begun, trainer.recipe)
    try:
        state.entries = json.loads(saved["log"])
        if (before := state.entries[0]["precision"]) != compute.precision:
            raise TrainingError(
                f"{run.path} was begun in {before} and would go on in {compute.precision}",
                f"Add --precision {before}",
            )
        trainer.network.load_state_dict(saved["network"])
        trainer.load_state(saved["trainer"])
        state.best, state.early, state.finished = saved["best"], saved["early"], saved["finished"]
        rank = compute.fabric.global_rank
        if len(saved["rng"]) == compute.world:  # else each goes on with its fresh random state
            torch.set_rng_state(saved["rng"][rank])
        if compute.device.type == "cuda" and len(saved["rng_cuda"]) == compute.world:
            torch.cuda.set_rng_state(saved["rng_cuda"][rank])
        if saved["precision"]:
            compute.fabric.strategy.precision.load_state_dict(saved["precision"])
        state.done, state.totals = saved["step"], dict(saved["totals"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{run.checkpoint} does not fit its recipe or this dlkit", "Train anew"
        ) from error
