"""Train a finder on crops of simulated pages, drawn anew for each step.

The loss of centres is the focal loss of "Objects as Points" (arXiv 1904.07850), that of boxes the
absolute error; the exported weights are a moving average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dlkit.errors import InputError
from dlkit.paper import Digits
from dlkit.reading.finder import STRIDE, decode, overlap
from dlkit.tasks.recognize.datasets import NAMES, load_labelled
from dlkit.training.engine.average import MovingAverage
from dlkit.training.engine.averaged import AveragedTrainer
from dlkit.training.engine.fabric import Compute
from dlkit.training.find.crops import LARGEST, SMALLEST, Crops, crops
from dlkit.training.find.recipe import FinderRecipe, meaning

_HELD_OUT_SEED = 0xF1D
_CLIP_NORM = 5.0
_MARKS = 0.3  # of the loss of digits: that of other signs
_SAME = 0.5  # intersection over union: from there on a box is the right one


class FinderTrainer(AveragedTrainer):
    """One step is one batch of fresh crops, which follow from the seed and the step's number."""

    recipe: FinderRecipe

    def __init__(self, recipe: FinderRecipe, data: str, compute: Compute) -> None:
        found = load_labelled(data)
        if not found.digits:
            raise InputError(
                f"{found.name} has no digits in MNIST's form", "Use mnist-mini, or mnist"
            )
        where = data if data in NAMES else str(Path(data).resolve())
        self.recipe = recipe = replace(recipe, data=where)
        self.dataset = f"simulated pages of {found.name}"
        self.fingerprint = found.fingerprint()
        self.notes = list(found.notes)
        self.device = compute.device
        self.digits = Digits(found.train_images, found.train_labels)
        test = Digits(found.test_images, found.test_labels)
        self.held_out = self._drawn(_HELD_OUT_SEED, 0, test, recipe.held_out)
        self.steps_per_epoch = max(1, recipe.steps // recipe.epochs)
        self.epochs = -(-recipe.steps // self.steps_per_epoch)
        trained = recipe.network.build().to(self.device)
        optimizer = torch.optim.AdamW(
            trained.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate,
            total_steps=self.epochs * self.steps_per_epoch + 1,
            pct_start=0.1, div_factor=20, final_div_factor=200,
        )  # fmt: skip
        average = MovingAverage(trained, recipe.ema_decay)
        self.set_up(compute, trained, average, optimizer, schedule)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """Draw a batch, and learn from it."""
        number = epoch * self.steps_per_epoch + index
        batch = self._drawn(self.recipe.seed, number + 1, self.digits, self.recipe.batch_size)
        parts: dict[str, Tensor] = {}

        def loss_of(part: slice) -> Tensor:
            centres, boxes = self._losses(self.forward, batch, part)
            for name, loss in (("centres", centres), ("boxes", boxes)):
                parts[name] = parts.get(name, 0) + loss.detach() / self.compute.accumulate
            return centres + self.recipe.box_weight * boxes

        loss = self.descend(len(batch.pixels), loss_of, _CLIP_NORM)
        return {"loss": loss, **parts}

    @torch.inference_mode()
    def evaluate(self) -> Mapping[str, float]:
        """Loss on held-out crops; of their digits the share that is found (``recall``), and of
        what is found the share that is one (``precision``)."""
        self.network.eval()
        right = given = there = 0
        pixels = torch.from_numpy(self.held_out.pixels).to(self.device)
        answers = np.concatenate([self.network(part).cpu().numpy() for part in pixels.split(16)])
        for answer, truth, weight in zip(
            answers, self.held_out.truth, self.held_out.weight, strict=True
        ):
            found = decode(np.where(np.pad(weight, ((0, 4), (0, 0), (0, 0)), constant_values=1) > 0,
                                    answer, 0))  # fmt: skip
            found = found[found[:, 4] > found[:, 5]]
            wanted = truth[truth[:, 4] > 0]
            wanted = wanted[[self._asked(weight, box) for box in wanted]] if len(wanted) else wanted
            same = overlap(found[:, :4], wanted[:, :4]) > _SAME
            right += int(same.any(axis=0).sum()) if len(found) else 0
            there += len(wanted)
            given += len(found)
        loss = self._losses(self.network, self.held_out, slice(None))
        return {
            "val_loss": float(loss[0] + self.recipe.box_weight * loss[1]),
            "recall": right / max(there, 1),
            "precision": right / max(given, 1),
        }

    def meaning(self) -> dict[str, Any]:
        """Inputs and outputs."""
        return meaning()

    def _drawn(self, seed: int, number: int, digits: Digits, count: int) -> Crops:
        random = np.random.default_rng([seed, number])
        return crops(random, digits, count, self.recipe.crop, self.recipe.crops)

    def _asked(self, weight: NDArray[np.float32], box: NDArray[np.float32]) -> bool:
        """Whether the finder is to find that box."""
        if not SMALLEST < box[2:4].max() < LARGEST:
            return False
        x, y = (box[:2] + box[2:4] / 2) / STRIDE
        rows, columns = weight.shape[1:]
        return bool(0 <= x < columns and 0 <= y < rows and weight[0, int(y), int(x)] > 0)

    def _losses(self, forward: Any, batch: Crops, part: slice) -> tuple[Tensor, Tensor]:
        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array[part]).to(self.device, non_blocking=True)

        answer = forward(tensor(batch.pixels)).float()
        heat, weight = tensor(batch.heat), tensor(batch.weight)
        chance = answer[:, :2].clamp(1e-5, 1 - 1e-5)
        centre = (heat == 1).float() * weight
        hit = -torch.log(chance) * (1 - chance) ** 2 * centre
        missed = -torch.log(1 - chance) * chance**2 * (1 - heat) ** 4 * (1 - centre) * weight
        # each kind by its own number: other signs are rare
        kinds = (hit + missed).sum((0, 2, 3)) / centre.sum((0, 2, 3)).clamp(min=1)
        centres = kinds[0] + _MARKS * kinds[1]
        inside = tensor(batch.inside)
        error = F.l1_loss(answer[:, 2:], tensor(batch.boxes), reduction="none") * inside
        return centres, error.sum() / inside.sum().clamp(min=1)
