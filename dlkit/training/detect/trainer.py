"""Train a detector on simulated scans, drawn anew for each step.

The loss of centres is the quality focal loss of "Generalized Focal Loss" (arXiv 2006.04388): a
chance is to be the intersection over union of the box that goes with it, less away from the centre.
That of boxes is 1 - generalised intersection over union (arXiv 1902.09630) and the absolute error,
weighted by the centre's Gaussian as in "Training-Time-Friendly Network" (arXiv 1909.00700), that
of masks cross-entropy; the exported weights are a moving average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit.errors import UsageError
from dlkit.mmwave import REFERENCE_SIZE
from dlkit.mmwave.concealment import CONCEALMENT, Observed, observe
from dlkit.tasks.detect.decode import Float, decode
from dlkit.tasks.detect.pixels import PixelDetector
from dlkit.tasks.detect.scans import (
    HELD_OUT_SEED,
    SIMULATED,
    THRESHOLD_SEED,
    Sensitivity,
    boxes_of,
    first_seed,
    padded,
    sensitivities,
)
from dlkit.tasks.detect.score import at_false_alarms, average_precision, match
from dlkit.training.detect.maps import Maps, cropped, draw, jittered, mirrored
from dlkit.training.detect.recipe import DetectRecipe
from dlkit.training.engine.average import MovingAverage
from dlkit.training.engine.averaged import AveragedTrainer
from dlkit.training.engine.fabric import Compute

_CLIP_NORM = 5.0
_RISE, _FALL = 100, 0.3  # steps, and share of the steps: of the learning rate, up and down
# More objects than in scans that are evaluated on, and more that are hard: each is one to learn
# from.
_CROWDED = replace(
    CONCEALMENT,
    object_counts=(0.08, 0.17, 0.25, 0.25, 0.15, 0.10),
    faint_share=0.15,
    bright_share=0.12,
)
_AGAIN = 32  # steps after which scans are seen a second time
_FALSE_ALARMS = 0.1  # a scan: recall is said there


class DetectTrainer(AveragedTrainer):
    """One step is one batch of fresh scans, which follow from the seed and the step's number."""

    recipe: DetectRecipe

    def __init__(self, recipe: DetectRecipe, data: str, compute: Compute) -> None:
        if data != SIMULATED:
            raise UsageError(
                f"data is '{data}': a detector is trained on simulated scans",
                f"Give --data {SIMULATED}",
            )
        filled = recipe.network.filled(channels=1)
        if filled.config.channels != 1:
            raise UsageError(f"channels is {filled.config.channels}, expected 1: scans are grey")
        self.recipe = recipe = replace(recipe, network=filled, data=data)
        self.device = compute.device
        self.dataset, self.fingerprint, self.notes = data, data, []
        self.multiple_of = recipe.network.architecture.multiple_of
        self.steps_per_epoch = max(1, recipe.steps // recipe.epochs)
        self.epochs = -(-recipe.steps // self.steps_per_epoch)
        scans = self.epochs * self.steps_per_epoch * -(-recipe.batch_size // 2)
        self.first = first_seed(recipe.seed, scans)
        self.held_out = [observe(HELD_OUT_SEED + place) for place in range(recipe.held_out)]
        self.kept: dict[int, list[Observed]] = {}
        self.sensitivity: dict[str, Sensitivity] = {}
        trained = recipe.network.build().to(self.device)
        optimizer = torch.optim.AdamW(
            trained.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        steps = self.epochs * self.steps_per_epoch
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: min(1, (done + 1) / _RISE, (steps - done) / (_FALL * steps))
        )
        average = MovingAverage(trained, recipe.ema_decay)
        self.set_up(compute, trained, average, optimizer, schedule)
        self.model = PixelDetector(self.network)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """Draw a batch, and learn from it."""
        batch = self._drawn(epoch * self.steps_per_epoch + index)
        parts: dict[str, Tensor] = {}

        def loss_of(part: slice) -> Tensor:
            losses = self._losses(self.forward, batch, part)
            for name, loss in losses.items():
                parts[name] = parts.get(name, 0) + loss.detach() / self.compute.accumulate
            return self._sum(losses)

        loss = self.descend(len(batch.pixels), loss_of, _CLIP_NORM)
        return {"loss": loss, **parts}

    @torch.inference_mode()
    def evaluate(self) -> Mapping[str, float]:
        """Loss, average precision at an intersection over union of 0.5, and recall at one false
        alarm in ten scans, on scans that are kept out."""
        found = self._found(self.held_out)
        matched = match(found, [boxes_of(one) for one in self.held_out])
        recall = at_false_alarms(matched, _FALSE_ALARMS).recall
        losses = [
            float(self._sum(self._losses(self.network, draw([one], self.multiple_of), slice(None))))
            for one in self.held_out
        ]
        return {
            "val_loss": sum(losses) / len(losses),
            "ap50": average_precision(matched),
            "recall": recall,
        }

    def finish(self, folder: Path) -> Mapping[str, float]:
        """Take the thresholds of the sensitivities from scans of their own."""
        found: list[Float] = []
        truth: list[Float] = []
        for place in range(self.recipe.thresholds):
            observed = observe(THRESHOLD_SEED + place)
            found += self._found([observed])
            truth.append(boxes_of(observed))
        self.sensitivity = sensitivities(found, truth)
        return {f"recall_{name}": one.recall for name, one in self.sensitivity.items()}

    def meaning(self) -> dict[str, Any]:
        """Channels, and the thresholds once they are known."""
        found: dict[str, Any] = {"channels": 1}
        if self.sensitivity:
            found["sensitivity"] = {name: asdict(one) for name, one in self.sensitivity.items()}
        return found

    @torch.inference_mode()
    def _found(self, scans: Iterable[Observed]) -> list[Float]:
        self.model.eval()
        found = []
        for one in scans:
            pixels = torch.from_numpy(padded(one.noisy, self.multiple_of)).to(self.device)
            answer = self.model(pixels)[0].cpu().numpy()
            found.append(decode(answer, (one.noisy.shape[0], one.noisy.shape[1])))
        return found

    def _drawn(self, number: int) -> Maps:
        """A step's batch: half of it fresh, half of it the fresh ones of an earlier step,
        mirrored, since to simulate takes as long as to learn."""
        random = np.random.default_rng([self.recipe.seed, number])
        fresh = self._fresh(number)
        before = self._fresh(number - _AGAIN) if number >= _AGAIN else fresh
        batch = [*fresh, *map(mirrored, before)][: self.recipe.batch_size]
        width = round(self.recipe.crop_width * batch[0].noisy.shape[1] / REFERENCE_SIZE[1])
        found = [cropped(random, replace(one, noisy=jittered(random, one.noisy)), width)
                 for one in batch]  # fmt: skip
        return draw(found, self.multiple_of)

    def _fresh(self, number: int) -> list[Observed]:
        """A step's own scans; they follow from the seed and the step's number."""
        if number not in self.kept:
            random = np.random.default_rng([self.recipe.seed, number % _AGAIN])
            size = REFERENCE_SIZE
            if random.random() < self.recipe.smaller_share:
                scale = random.uniform(0.6, 1.0)
                size = (round(size[0] * scale), round(size[1] * scale))
            count = -(-self.recipe.batch_size // 2)
            first = self.first + number * count
            seeds = range(first, first + count)
            self.kept[number] = [observe(seed, size, _CROWDED) for seed in seeds]
            self.kept.pop(number - _AGAIN - 1, None)
        return self.kept[number]

    def _sum(self, losses: Mapping[str, Tensor]) -> Tensor:
        """As the recipe weights its parts."""
        boxes, masks = self.recipe.box_weight, self.recipe.mask_weight
        return losses["centres"] + boxes * losses["boxes"] + masks * losses["masks"]

    def _losses(self, network: nn.Module, batch: Maps, part: slice) -> dict[str, Tensor]:
        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array[part]).to(self.device, non_blocking=True)

        answer = network(tensor(batch.pixels).float().unsqueeze(1) / 255).float()
        heat, sides, mask = tensor(batch.heat), tensor(batch.sides), tensor(batch.mask)
        shared, generalised = _overlap(answer[:, 2:], sides)
        # what a chance is to be: near a centre, and of a box that is right
        wanted = heat * shared.detach()
        chance = torch.sigmoid(answer[:, 0])
        centres = (wanted - chance.detach()) ** 2 * F.binary_cross_entropy_with_logits(
            answer[:, 0], wanted, reduction="none"
        )
        error = F.l1_loss(answer[:, 2:], sides, reduction="none").mean(1)
        masks = F.binary_cross_entropy_with_logits(answer[:, 1], mask, reduction="sum")
        # about as many cells as objects of the reference size have
        return {
            "centres": centres.sum() / (heat == 1).sum().clamp(min=1),
            "boxes": ((1 - generalised + error) * heat).sum() / heat.sum().clamp(min=1),
            "masks": masks / mask.sum().clamp(min=20),
        }


def _overlap(answer: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and the generalised one, of boxes around the same point, by the
    logarithms of the distances to their sides: (N, 4, H, W) both to (N, H, W)."""
    one, other = answer.clamp(-4, 4).exp(), wanted.exp()
    low, high = torch.minimum(one, other), torch.maximum(one, other)

    def area(sides: Tensor) -> Tensor:
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])

    both, hull = area(low), area(high)
    union = area(one) + area(other) - both
    return both / union, both / union - (hull - union) / hull
