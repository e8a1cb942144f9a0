"""How a finder is trained, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlkit.errors import UsageError
from dlkit.training.recipe import Example, Recipe

_PAGE = (768, 1024)


@dataclass(frozen=True, kw_only=True)
class FinderRecipe(Recipe):
    """How a finder is trained on simulated paper.

    Attributes:
        data: digits to write with, as ``load_labelled`` takes them.
        steps: optimizer steps in all.
        epochs: parts of the training, each ended by an evaluation and a checkpoint.
        batch_size: crops a step.
        crop: pixels of a crop's side, a multiple of 16.
        crops: that are cut from a page.
        learning_rate: highest value of the one-cycle schedule (AdamW).
        weight_decay: of AdamW.
        box_weight: of the boxes' error beside the centres'.
        ema_decay: of the moving average of the weights, per step.
        held_out: crops that are evaluated on, written with test digits.
    """

    trained_by: ClassVar[str] = "dlkit.training.find.trainer:FinderTrainer"
    least: ClassVar[Mapping[str, float]] = {
        "steps": 1, "epochs": 1, "batch_size": 1, "crop": 32, "crops": 1, "learning_rate": 0,
        "weight_decay": 0, "box_weight": 0, "ema_decay": 0, "held_out": 1,
    }  # fmt: skip
    below: ClassVar[Mapping[str, float]] = {"ema_decay": 1}

    data: str = "mnist-mini"
    steps: int = 1500
    epochs: int = 10
    batch_size: int = 12
    crop: int = 224
    crops: int = 6
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    box_weight: float = 1.0
    ema_decay: float = 0.99
    held_out: int = 96

    def check(self) -> None:
        """See ``Recipe.check``; also refuses a crop whose side is no multiple of 16."""
        super().check()
        if self.crop % 16:
            raise UsageError(f"crop is {self.crop}, expected a multiple of 16")

    def example(self) -> Example:
        """On a page."""
        return Example(self.network, meaning(), _PAGE)


def meaning() -> dict[str, Any]:
    """Inputs and outputs of the graph, as the task of tensors takes them."""
    pixels = {"name": "pixels", "dtype": "uint8", "shape": ["n", "height", "width"]}
    found = {"name": "found", "dtype": "float32", "shape": ["n", 6, "rows", "columns"]}
    return {"inputs": [pixels], "outputs": [found]}
