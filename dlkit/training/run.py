"""Run: the folder of one training.

RUN/
  recipe.json      the resolved recipe
  checkpoint.pt    weights, optimisers, random state and position; the last good one
  log.jsonl        one JSON line per event: start, epoch, end
  curve.png        loss and metric over the epochs
  tensorboard/     the same for TensorBoard, where that is installed
  confusion.png    which test digit was taken for which, at the end; classifiers
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlkit.atomic import atomic_path, write_bytes
from dlkit.errors import TrainingError
from dlkit.training.recipe import ARCHITECTURES, Recipe, from_json


@dataclass(frozen=True)
class Run:
    """A run's folder; the files may not exist yet."""

    path: Path

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
            raise TrainingError(f"{self.path} cannot be written ({error.strerror})") from error

    def load_recipe(self) -> Recipe:
        """Read recipe.json.

        Raises:
            TrainingError: no run, or a damaged one.
        """
        file = self.path / "recipe.json"
        if not file.is_file():
            raise TrainingError(f"{self.path} is no run: it has no recipe.json. Use: dlkit train")
        try:
            data = json.loads(file.read_bytes())
        except ValueError as error:
            raise TrainingError(f"{file} is damaged ({error}): train again") from error
        return from_json(data)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the checkpoint whole, or keep the last one.

        Raises:
            TrainingError: it cannot be written, e.g. no space is left.
        """
        try:
            with atomic_path(self.checkpoint) as part:
                torch.save(state, part)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise TrainingError(
                f"{self.checkpoint} cannot be written ({str(error).partition(chr(10))[0]}); "
                "the last checkpoint is kept. Free space and use --resume"
            ) from error

    def load_checkpoint(self) -> dict[str, Any]:
        """Read the checkpoint, tensors on the CPU.

        Raises:
            TrainingError: none, or damaged.
        """
        if not self.checkpoint.is_file():
            raise TrainingError(f"{self.path} has no checkpoint.pt: train it first, dlkit train")
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise TrainingError(
                f"{self.checkpoint} is damaged ({str(error).partition(chr(10))[0]}): train again"
            ) from error
        if not isinstance(state, dict) or "network" not in state:
            raise TrainingError(f"{self.checkpoint} is no checkpoint of dlkit: train again")
        return state

    def load_network(self) -> nn.Module:
        """The trained network, in eval mode, on the CPU: the best weights so far."""
        recipe = self.load_recipe()
        network: nn.Module = ARCHITECTURES.load(recipe.architecture).build(recipe.network)
        checkpoint = self.load_checkpoint()
        best = checkpoint.get("best")  # of a run that was stopped; a finished one has only them
        try:
            network.load_state_dict(best["network"] if best else checkpoint["network"])
        except RuntimeError as error:
            raise TrainingError(
                f"{self.checkpoint} does not fit {recipe.architecture}: train again"
            ) from error
        return network.eval()

    def load_temperature(self) -> float:
        """What the softmax of a classifier is divided by; 1 before the end of its training."""
        return float(self.load_checkpoint().get("temperature", 1.0))
