"""Start or resume a run of a recipe: what ``dlkit train`` does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dlkit.errors import TrainingError
from dlkit.training.compute import Hardware, open_compute
from dlkit.training.loop import Watch, run_training
from dlkit.training.recipe import TRAINERS, Recipe
from dlkit.training.run import Run


def train(
    recipe: Recipe,
    out: Path,
    data: str | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008  # frozen
    resume: bool = False,
    overwrite: bool = False,
    init: Mapping[str, Tensor] | None = None,
    watch: Watch = lambda progress: None,
) -> bool:
    """Train a recipe into the run folder ``out``.

    Args:
        data: a dataset's name or folder; the recipe's default when None.
        hardware: device, processes, precision. More than one process starts this program again,
            once a process: call it from a script, or use ``dlkit train`` or ``torchrun``.
        resume: go on from the checkpoint in ``out``; the recipe must be the one it began with.
        overwrite: replace a run that is there.
        init: weights of the network to begin with, e.g. another run's; fresh ones when None.
            A run that is resumed goes on from its own.
        watch: called after every step.

    Returns:
        False when Ctrl-C stopped it; the state is saved, and ``resume`` goes on.

    Raises:
        TrainingError: there is a run already, or none to resume, or training went wrong.
        InputError: the data cannot be used.
    """
    run = Run(out)
    compute = open_compute(hardware, recipe.bfloat16)
    if resume:
        stored = run.load_recipe()
        if stored != recipe:
            before, now = stored.to_json(), recipe.to_json()
            changed = ", ".join(
                f"{key} {before.get(key)} -> {now.get(key)}"
                for key in now
                if before.get(key) != now.get(key)
            )
            raise TrainingError(
                f"{out} was begun with another recipe ({changed}): resume it with the same "
                "--set, or train anew with another --out"
            )
        if not run.checkpoint.is_file():
            resume = False  # it was stopped before its first checkpoint
    elif run.checkpoint.exists() and not overwrite:
        raise TrainingError(
            f"{out} already holds a run: go on with --resume, replace it with --overwrite, "
            "or choose another --out"
        )
    elif out.exists() and not (out / "recipe.json").exists() and any(_entries(out)):
        raise TrainingError(f"{out} exists and is no run: choose another --out")
    torch.manual_seed(recipe.seed)
    trainer = TRAINERS.load(recipe.trainer).TRAINER(recipe, data or recipe.data, compute)
    if init is not None and not resume:
        try:
            trainer.start_from(init)
        except RuntimeError as error:
            wanted = trainer.network.state_dict()
            folded = any(name.endswith("running_mean") and name not in init for name in wanted)
            mend = (
                "a bundle of it has no batch normalisation any more; give --init the run"
                if folded
                else "give --init a run or bundle of the same network, with the same --set"
            )
            raise TrainingError(
                f"the weights to begin with do not fit {recipe.architecture} as the recipe has it: "
                f"{mend}"
            ) from error
    compute.barrier()  # all have looked at the folder
    if not resume and compute.first:
        if out.exists():
            _empty(out)
        run.save_recipe(recipe)
    return run_training(trainer, recipe, run, compute, resume, watch)


def _empty(folder: Path) -> None:
    """The folder itself stays: it may be a link, or where a disk is mounted."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _entries(path: Path) -> list[Path]:
    if not path.is_dir():
        raise TrainingError(f"{path} is a file; --out must be a folder")
    return list(path.iterdir())
