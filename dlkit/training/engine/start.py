"""Start or resume a run of a recipe: what ``dlkit train`` and ``dlkit.train`` do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlkit.atomic import MARK, lock
from dlkit.errors import MachineError, TrainingError, UsageError, refusals
from dlkit.kept import check_outside
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Watch, run_training
from dlkit.training.engine.memory import memory_for
from dlkit.training.engine.run import Run
from dlkit.training.engine.trainer import Trainer
from dlkit.training.recipe import RECIPES, Recipe


@refusals()
def train(
    recipe: Recipe | str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    *,
    hardware: Hardware = Hardware(),  # noqa: B008  # frozen
    resume: bool = False,
    overwrite: bool = False,
    weights: Mapping[str, Tensor] | None = None,
    watch: Watch = lambda _: None,
    **settings: Any,
) -> Run:
    """Train a recipe.

    Args:
        recipe: a name, ``package.module:NAME``, the path of a Python file, or a recipe itself.
        data: a dataset's name, a folder or a file; by default what the run that is resumed was
            trained on, else the recipe's.
        out: folder of the run; ``runs/NAME`` by default.
        hardware: device, processes, precision. More than one process starts this program again,
            once a process: call it from a script, or use ``dlkit train`` or ``torchrun``.
        resume: go on from the checkpoint in ``out``; the recipe must be the one it began with.
        overwrite: replace a run that is there.
        weights: of the network to begin with, e.g. another run's; fresh ones when None. A run that
            is resumed goes on from its own.
        watch: called after every step.
        settings: fields of the recipe to change, as ``--set`` has them: ``epochs=3``,
            ``learning_rate=0.01``.

    Returns:
        The run. It is not ``finished`` where Ctrl-C stopped it; the state is saved, and ``resume``
        goes on.

    Raises:
        UsageError: there is no such recipe, or a setting that cannot be.
        TrainingError: there is a run already, or none to resume, or training went wrong.
        InputError: the data cannot be used.
        MachineError: there is too little memory, or the folder cannot be written.
    """
    chosen = recipe if isinstance(recipe, Recipe) else RECIPES.load(str(recipe))
    chosen = chosen.with_settings(f"{name}={value}" for name, value in settings.items())
    chosen.check()
    run = Run(out if out is not None else default_folder(recipe))
    compute = open_compute(hardware, chosen.bfloat16)
    stored = _look_at(run, resume, overwrite)
    given = str(data or (stored.data if stored else chosen.data))
    if stored is not None and type(stored) is not type(chosen):
        raise TrainingError(
            f"{run.path} was begun as another kind of training ({type(stored).__name__})",
            "Resume it with the same --init, --data and --set, or train anew with another --out",
        )
    torch.manual_seed(chosen.seed)
    with memory_for(chosen):
        trainer = chosen.trainer(given, compute)
    if stored is not None:
        run.check_resumed(stored, trainer.recipe)
        resume = run.checkpoint.is_file()  # else it was stopped before its first checkpoint
    if weights is not None and not resume:
        _start_from(trainer, weights)
    compute.barrier()  # all have looked at the folder
    with _alone(run, compute.first):
        if not resume and compute.first:
            run.clear()
            run.save_recipe(trainer.recipe)
        with memory_for(trainer.recipe):
            run_training(trainer, run, compute, resume, watch)
    return run


def default_folder(recipe: Recipe | str | Path) -> Path:
    """``runs/NAME``, NAME the last word of a recipe's name or path.

    Raises:
        UsageError: it is a recipe itself, which has no name.
    """
    if isinstance(recipe, Recipe):
        raise UsageError("a recipe that is no name needs a folder for its run", "Give out=...")
    place, _, attribute = str(recipe).partition(":")
    return Path("runs") / (attribute or Path(place).stem).lower()


def _look_at(run: Run, resume: bool, overwrite: bool) -> Recipe | None:
    """The recipe of the run that is resumed.

    Raises:
        TrainingError: there is none to resume, or something in the way of a new one.
        UsageError: it would lie in dlkit's own package.
    """
    check_outside(run.path)
    if not overwrite and (theirs := run.of_others()):
        raise TrainingError(
            f"{theirs[0]} is there already, and neither a checkpoint nor a log says that a "
            "training wrote it",
            "Move it, or choose another --out" + ("" if resume else "; --overwrite replaces it"),
        )
    if resume:
        return run.load_recipe()
    if run.checkpoint.exists() and not overwrite:
        raise TrainingError(
            f"{run.path} already holds a run",
            "Go on with --resume, replace it with --overwrite, or choose another --out",
        )
    if run.path.exists():
        if not run.path.is_dir():
            raise TrainingError(f"{run.path} is a file", "--out must be a folder")
        others = (path for path in run.path.iterdir() if not path.name.startswith(MARK))
        if not _is_run(run) and any(others):
            raise TrainingError(f"{run.path} exists and is no run", "Choose another --out")
    return None


def _is_run(run: Run) -> bool:
    """Whether a folder's recipe.json is dlkit's."""
    try:
        run.load_recipe()
    except TrainingError:
        return False
    except UsageError:  # of a package that is not here
        return True
    return True


def _start_from(trainer: Trainer, weights: Mapping[str, Tensor]) -> None:
    try:
        trainer.start_from(weights)
    except RuntimeError as error:
        wanted = trainer.network.state_dict()
        folded = any(name.endswith("running_mean") and name not in weights for name in wanted)
        raise TrainingError(
            "the weights to begin with do not fit "
            f"{trainer.recipe.network.architecture.name} as the recipe has it",
            "A bundle of it has no batch normalisation any more; give --init the run"
            if folded
            else "Give --init a run or bundle of the same network, with the same --set",
        ) from error


@contextmanager
def _alone(run: Run, first: bool) -> Iterator[None]:
    """Hold the run's folder, so that two trainings never mix in it.

    Args:
        first: this is the process that writes.

    Raises:
        TrainingError: another training writes into it.
    """
    if not first:
        yield
        return
    place = run.path / ".dlkit-lock"
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        file = place.open("ab")
    except OSError as error:
        raise MachineError(f"{run.path} cannot be written ({error.strerror})") from error
    with file:
        if not lock(file):
            raise TrainingError(
                f"another training writes into {run.path}", "Wait for it, or choose another --out"
            )
        yield
        place.unlink(missing_ok=True)
