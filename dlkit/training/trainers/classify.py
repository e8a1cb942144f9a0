"""Train a classifier with cross entropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit.errors import UsageError
from dlkit.plugins import unknown
from dlkit.training.data.digits import load_digits
from dlkit.training.loop import Trainer
from dlkit.training.pixels import PixelClassifier
from dlkit.training.recipe import ARCHITECTURES, Recipe

_EVALUATION_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(Recipe):
    """How a classifier is trained.

    Attributes:
        epochs: passes over the training digits.
        batch_size: digits a step.
        optimizer: sgd or adam.
        learning_rate: its first (``constant``) or highest (``one_cycle``) value.
        momentum: of sgd.
        weight_decay: of the optimizer.
        schedule: constant, or one_cycle (up and down again; Smith, arXiv 1708.07120).
        init: ``default`` is torch's; ``xavier`` draws weights from Xavier's uniform distribution,
            which networks with sigmoids need.
        shift: random shift of each training digit, up to so many pixels each way.
    """

    trainer: ClassVar[str] = "classify"

    epochs: int
    data: str = "mnist-mini"
    batch_size: int = 256
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    init: str = "default"
    shift: int = 0


class ClassifyTrainer(Trainer):
    """The whole dataset lies in memory as uint8; a batch is an index into it."""

    def __init__(self, recipe: ClassifyRecipe, data: str, device: torch.device) -> None:
        if recipe.epochs < 1 or recipe.batch_size < 1:
            raise UsageError("epochs and batch_size must be 1 or more")
        digits = load_digits(data)
        self.recipe = recipe
        self.dataset = digits.name
        self.fingerprint = digits.fingerprint()
        self.images = digits.train_images.to(device)
        self.labels = digits.train_labels.to(device)
        self.test_images = digits.test_images.to(device)
        self.test_labels = digits.test_labels.to(device)
        self.network = ARCHITECTURES.load(recipe.architecture).build(recipe.network).to(device)
        if recipe.init == "xavier":
            self.network.apply(_xavier)
        elif recipe.init != "default":
            raise UsageError(unknown("init", recipe.init, ["default", "xavier"]))
        self.model = PixelClassifier(self.network, recipe.network.image_size)
        self.epochs = recipe.epochs
        self.steps_per_epoch = -(-len(self.images) // recipe.batch_size)
        self.optimizer = self._optimizer()
        self.schedule = self._schedule()
        self._order = (-1, torch.empty(0, dtype=torch.long))

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """One batch of cross entropy; a smaller last batch is kept."""
        size = self.recipe.batch_size
        chosen = self._epoch_order(epoch)[index * size : (index + 1) * size]
        images = self.images[chosen]
        if self.recipe.shift:
            images = _shifted(images, self.recipe.shift)
        self.model.train()
        loss = F.cross_entropy(self.model.logits(images), self.labels[chosen])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return {"loss": loss.detach()}

    @torch.inference_mode()
    def evaluate(self) -> Mapping[str, float]:
        """Accuracy on the test digits, 0 to 1."""
        self.model.eval()
        right = torch.zeros((), dtype=torch.long, device=self.images.device)
        for start in range(0, len(self.test_images), _EVALUATION_BATCH):
            probabilities = self.model(self.test_images[start : start + _EVALUATION_BATCH])
            labels = self.test_labels[start : start + _EVALUATION_BATCH]
            right += (probabilities.argmax(1) == labels).sum()
        return {"accuracy": float(right) / len(self.test_images)}

    def state(self) -> dict[str, Any]:
        """Optimizer and schedule."""
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def _epoch_order(self, epoch: int) -> Tensor:
        """The order of an epoch depends on seed and epoch alone, so that a resumed one is equal."""
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
            order = torch.randperm(len(self.images), generator=generator)
            self._order = (epoch, order.to(self.images.device))
        return self._order[1]

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe, parameters = self.recipe, self.network.parameters()
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(
                parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
            )
        if recipe.optimizer == "adam":
            return torch.optim.AdamW(
                parameters, recipe.learning_rate, weight_decay=recipe.weight_decay
            )
        raise UsageError(unknown("optimizer", recipe.optimizer, ["sgd", "adam"]))

    def _schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        recipe, steps = self.recipe, self.epochs * self.steps_per_epoch
        if recipe.schedule == "constant":
            return torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)
        if recipe.schedule == "one_cycle":
            return torch.optim.lr_scheduler.OneCycleLR(
                self.optimizer, recipe.learning_rate, total_steps=steps + 1
            )
        raise UsageError(unknown("schedule", recipe.schedule, ["constant", "one_cycle"]))


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)


def _shifted(images: Tensor, most: int) -> Tensor:
    """Each image shifted by its own random offset, zeros coming in. uint8 (N, H, W)."""
    count, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    offsets = torch.randint(0, 2 * most + 1, (2, count, 1), device=images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = offsets[1] + torch.arange(width, device=images.device)
    sample = torch.arange(count, device=images.device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]]


RECIPE = ClassifyRecipe
TRAINER = ClassifyTrainer
