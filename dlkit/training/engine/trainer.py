"""Trainer: one way to train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from dlkit.training.recipe import Recipe


class Trainer(ABC):
    """One way to train. What changes during training is in ``state`` and the random state.

    Attributes:
        recipe: the resolved one: what was left to the data is filled in, and ``data`` is what was
            trained on; of a folder or file the absolute path.
        network: what is exported.
        epochs, steps_per_epoch: how long it takes.
        dataset: name of the data, for people.
        fingerprint: hash of the data, so that a run is resumed on what it began with.
        notes: what is odd about the data, for people.
        monitor: metric of ``evaluate`` whose highest value marks the weights that are kept; None
            keeps the last ones.
        patience: epochs without a better ``monitor`` after which training ends; 0 never does.
        bounded: losses that never grow to a hundred times the first epoch's unless training has
            gone wrong.
    """

    recipe: Recipe
    network: nn.Module
    epochs: int
    steps_per_epoch: int
    dataset: str
    fingerprint: str
    notes: list[str]
    monitor: str | None = None
    patience: int = 0
    bounded: tuple[str, ...] = ("loss",)

    @abstractmethod
    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """Train on batch ``index`` of an epoch, both from 0.

        Returns:
            Scalar losses, detached. Their means over the processes are those of the whole batch.
        """

    @abstractmethod
    def evaluate(self) -> Mapping[str, float]:
        """Metrics on data that is not trained on. Called in the first process alone."""

    def draw(self, folder: Path) -> None:  # noqa: B027  # not every trainer has pictures
        """Called after each evaluation, in the first process alone: pictures of how far it is.

        Args:
            folder: of the run; what is written there is among ``run.FILES``.
        """

    @abstractmethod
    def meaning(self) -> dict[str, Any]:
        """What an export must know of the data, as ``Task.describe`` and ``Task.wrap`` of the
        recipe's task take it; plain JSON values."""

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
