"""Run: the folder of one training.

RUN/
  recipe.json      the resolved recipe
  checkpoint.pt    weights, optimisers, random state and position; the last good one
  log.jsonl        one JSON line per event: start, epoch, end
  curve.png        loss and metric over the epochs
  tensorboard/     the same for TensorBoard, where that is installed
  confusion.png    which test image was taken for which, at the end; classifiers
  samples.webp     a picture after each evaluation, as an animation; GANs
"""

from __future__ import annotations

import json
import os
import pickle
import shlex
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlkit.atomic import atomic_path, write_bytes
from dlkit.errors import MachineError, TrainingError, UsageError
from dlkit.given import path_of
from dlkit.training.recipe import Recipe, from_json

FILES = ("checkpoint.pt", "log.jsonl", "curve.png", "confusion.png", "samples.webp", "recipe.json")

# What zipfile and torch raise for files that are cut, changed, or something else altogether.
_UNREADABLE = (
    RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError, IndexError,
    NotImplementedError, OverflowError, MemoryError, pickle.UnpicklingError, zipfile.BadZipFile,
    zlib.error, struct.error,
)  # fmt: skip


@dataclass(frozen=True, init=False)
class Run:
    """A run's folder; the files may not exist yet."""

    path: Path

    def __init__(self, path: Path | str) -> None:
        if path == "":
            raise UsageError("the name of a run is empty", "Give its folder")
        object.__setattr__(self, "path", path_of(path, "the run's folder"))

    @property
    def checkpoint(self) -> Path:
        """Everything that training needs to go on, and the weights to export."""
        return self.path / "checkpoint.pt"

    @property
    def log(self) -> Path:
        """The log, JSON lines."""
        return self.path / "log.jsonl"

    def save_recipe(self, recipe: Recipe) -> None:
        """Write recipe.json; makes the folder."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            text = json.dumps(recipe.to_json(), indent=2) + "\n"
            write_bytes(self.path / "recipe.json", text.encode())
        except OSError as error:
            raise MachineError(f"{self.path} cannot be written ({error.strerror})") from error

    def load_recipe(self) -> Recipe:
        """Read recipe.json.

        Raises:
            TrainingError: no run, or a damaged one.
        """
        file = self.path / "recipe.json"
        if not file.is_file():
            raise TrainingError(f"{self.path} is no run: it has no recipe.json", "Use: dlkit train")
        try:
            data = json.loads(file.read_bytes())
            if not isinstance(data, dict):
                raise ValueError(f"it holds a {type(data).__name__}")
        except (ValueError, RecursionError) as error:
            why = str(error).partition("\n")[0][:200]
            raise TrainingError(f"{file} is damaged ({why})", "Train again") from error
        return from_json(data)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the checkpoint whole, or keep the last one.

        Raises:
            MachineError: it cannot be written, e.g. no space is left.
        """
        try:
            with atomic_path(self.checkpoint) as part:
                torch.save(state, part)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            why = str(error).partition("\n")[0]
            kept = "; the last checkpoint is kept" if self.checkpoint.exists() else ""
            raise MachineError(
                f"{self.checkpoint} cannot be written ({why}){kept}",
                "Free space and use --resume",
            ) from error

    def load_checkpoint(self) -> dict[str, Any]:
        """Read the checkpoint, tensors on the CPU; no code in it is run.

        Raises:
            TrainingError: none, or damaged: a single flipped bit is found.
        """
        if not self.checkpoint.is_file():
            raise TrainingError(f"{self.path} has no checkpoint.pt", "Train it first: dlkit train")
        damaged = TrainingError(
            f"{self.checkpoint} is damaged, or no checkpoint of dlkit", "Train again"
        )
        try:
            with zipfile.ZipFile(self.checkpoint) as archive:  # torch writes sums, but reads none
                if archive.testzip() is not None:
                    raise damaged
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except OSError as error:
            raise TrainingError(
                f"{self.checkpoint} cannot be read ({error.strerror})", "Train again"
            ) from error
        except _UNREADABLE as error:
            # what torch says is no help: it advises to switch its protection off
            raise damaged from error
        if not isinstance(state, dict) or "network" not in state:
            raise damaged
        return state

    def load_network(self) -> nn.Module:
        """The trained network, in eval mode, on the CPU: the best weights so far.

        Raises:
            TrainingError: no run, no checkpoint, or one that was begun with another recipe.
            UsageError: the package that the architecture came from is not here.
        """
        recipe, checkpoint = self.load_recipe(), self.load_checkpoint()
        if begun := begun_with(checkpoint):
            self._compare(
                begun,
                recipe,
                f"Undo the change of {self.path / 'recipe.json'}, or train anew; the first line of "
                f"{self.log.name} has the recipe that it began with",
            )
        network = recipe.network
        module = network.build()
        best = checkpoint.get("best")  # of a run that was stopped; a finished one has only them
        try:
            module.load_state_dict(best["network"] if best else checkpoint["network"])
        except (RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise TrainingError(
                f"{self.checkpoint} does not fit {network.architecture.name}", "Train again"
            ) from error
        return module.eval()

    def check_resumed(self, begun: Recipe, now: Recipe) -> None:
        """Refuse to go on with another recipe. Data may lie elsewhere: their hash counts.

        Raises:
            TrainingError: it is another one than the run began with.
        """
        mend = "Resume it with the same --set, or train anew with another --out"
        if begun.network == now.network and self.checkpoint.is_file():
            mend += f"; --init {shlex.quote(str(self.path))} begins with its weights"
        self._compare(begun, now, mend, free={"about", "data"})

    def _compare(self, begun: Recipe, now: Recipe, mend: str, free: Collection[str] = ()) -> None:
        before, after = dict(_fields(begun.to_json())), dict(_fields(now.to_json()))
        changed = [
            f"{key} {before.get(key)} -> {after.get(key)}"
            for key in {**before, **after}
            if key not in free and before.get(key) != after.get(key)
        ]
        if changed:
            raise TrainingError(
                f"{self.path} was begun with another recipe ({', '.join(changed)})", mend
            )

    def load_meaning(self) -> dict[str, Any]:
        """What an export must know of the data, as ``Trainer.meaning`` gave it.

        Raises:
            TrainingError: no checkpoint, or one of another dlkit.
        """
        checkpoint = self.load_checkpoint()
        if not isinstance(checkpoint.get("meaning"), dict):
            raise TrainingError(f"{self.checkpoint} is of another dlkit", "Train again")
        return dict(checkpoint["meaning"])

    def load_log(self) -> list[dict[str, Any]]:
        """The entries of the log so far; none where training has not begun."""
        if not self.log.is_file():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def clear(self) -> None:
        """Remove what a training wrote; everything else in the folder, and in tensorboard/, stays.

        Raises:
            TrainingError: a folder is where a file belongs; nothing was removed.
        """
        files = self._files()
        if inside := [path for path in files if path.is_dir() and not path.is_symlink()]:
            raise TrainingError(
                f"{inside[0]} is a folder, dlkit writes a file there", "Move it out of the way"
            )
        for path in files:
            path.unlink(missing_ok=True)

    def of_others(self) -> list[Path]:
        """What has the name of a file of a run, where neither a checkpoint nor a log says that a
        training wrote it."""
        recipe = self.path / "recipe.json"
        if self.checkpoint.exists() or self._was_begun():
            return []
        return [path for path in self._files() if path != recipe and os.path.lexists(path)]

    def _files(self) -> list[Path]:
        files = [self.path / name for name in FILES]
        board = self.path / "tensorboard"
        return files if board.is_symlink() else [*files, *board.glob("events.out.tfevents.*")]

    def _was_begun(self) -> bool:
        """Whether the log is that of a training."""
        try:
            return bool(self.load_log()[0]["event"] == "start")
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return False

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return any(entry["event"] == "end" for entry in self.load_log())


def is_run(place: str | Path) -> bool:
    """Whether a run lies there; at an empty name lies nothing."""
    return place != "" and (Path(place) / "recipe.json").is_file()


def begun_with(checkpoint: Mapping[str, Any]) -> Recipe | None:
    """The recipe that a checkpoint's training began with; None where nothing was trained.

    Raises:
        TrainingError: it is of another dlkit.
    """
    if "log" not in checkpoint:
        return None
    try:
        return from_json(json.loads(checkpoint["log"])[0]["recipe"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise TrainingError("checkpoint.pt is of another dlkit", "Train again") from error


def _fields(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of all fields, those of parts too."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", list(value) if isinstance(value, tuple) else value
