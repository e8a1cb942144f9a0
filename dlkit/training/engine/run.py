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
import pickle
import shutil
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlkit.atomic import atomic_path, write_bytes
from dlkit.errors import MachineError, TrainingError
from dlkit.training.recipe import Recipe, from_json

FILES = ("checkpoint.pt", "log.jsonl", "curve.png", "confusion.png", "samples.webp", "tensorboard",
         "recipe.json")  # fmt: skip

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
        object.__setattr__(self, "path", Path(path))

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
            TrainingError: no run, no checkpoint, or one that does not fit its recipe.
            UsageError: the package that the architecture came from is not here.
        """
        network = self.load_recipe().network
        module = network.build()
        checkpoint = self.load_checkpoint()
        best = checkpoint.get("best")  # of a run that was stopped; a finished one has only them
        try:
            module.load_state_dict(best["network"] if best else checkpoint["network"])
        except (RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise TrainingError(
                f"{self.checkpoint} does not fit {network.architecture.name}", "Train again"
            ) from error
        return module.eval()

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
        """Remove what a training wrote; everything else in the folder stays."""
        for name in FILES:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return any(entry["event"] == "end" for entry in self.load_log())
