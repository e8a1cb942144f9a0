"""How a detector is trained, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from dlkit.tasks.detect.scans import SIMULATED
from dlkit.training.recipe import Example, Recipe

_PADDED = (704, 384)  # a scan of 678 x 384


@dataclass(frozen=True, kw_only=True)
class DetectRecipe(Recipe):
    """How a detector is trained on simulated scans, drawn anew for each step.

    Attributes:
        steps: optimizer steps in all.
        epochs: parts of the training, each ended by an evaluation and a checkpoint.
        batch_size: scans a step.
        learning_rate: highest value (AdamW); reached after 100 steps, and left for a straight line
            down to 0 when 30 % of the steps are left.
        weight_decay: of AdamW.
        box_weight: of the boxes' error beside the centres'.
        mask_weight: of the masks' error beside the centres'.
        crop_width: columns of the scans that a step sees, around the person; 0 takes all.
        smaller_share: of the steps, whose scans are 0.6 to 1 times as large.
        ema_decay: of the moving average of the weights, per step.
        held_out: scans that are evaluated on after each epoch.
        thresholds: scans from which the thresholds of the sensitivities are taken at the end.
    """

    trained_by: ClassVar[str] = "dlkit.training.detect.trainer:DetectTrainer"
    least: ClassVar[Mapping[str, float]] = {
        "steps": 1, "epochs": 1, "batch_size": 1, "learning_rate": 0, "weight_decay": 0,
        "box_weight": 0, "mask_weight": 0, "smaller_share": 0, "crop_width": 0, "ema_decay": 0,
        "held_out": 1, "thresholds": 1,
    }  # fmt: skip
    below: ClassVar[Mapping[str, float]] = {"ema_decay": 1}

    data: str = SIMULATED
    steps: int = 10_000
    epochs: int = 25
    batch_size: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    box_weight: float = 3.0
    mask_weight: float = 0.5
    crop_width: int = 256
    smaller_share: float = 0.3
    ema_decay: float = 0.99
    held_out: int = 40
    thresholds: int = 400

    def example(self) -> Example:
        """On a scan of the reference size, padded."""
        return Example(self.network.filled(channels=1), {"channels": 1}, (1, *_PADDED))

    def rehearsed(self, data: str) -> DetectRecipe:
        """Few scans to evaluate on."""
        return replace(self, held_out=min(2, self.held_out), thresholds=min(2, self.thresholds))

    def fine_tuning(self, data: str = SIMULATED) -> DetectRecipe:
        """A shorter training from weights that are good already."""
        return replace(self, steps=max(1, self.steps // 2), learning_rate=self.learning_rate / 2)
