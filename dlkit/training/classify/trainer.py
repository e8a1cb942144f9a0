"""Train a classifier of images with cross entropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from dlkit.errors import UsageError
from dlkit.tasks.recognize.datasets import NAMES, load_labelled
from dlkit.tasks.recognize.labelled import Labelled
from dlkit.tasks.recognize.pixels import MNIST_MEAN, MNIST_STD, PixelClassifier
from dlkit.training.classify.batches import Batches
from dlkit.training.classify.confusion import draw_confusion
from dlkit.training.classify.optimizer import build_optimizer, build_schedule
from dlkit.training.classify.recipe import ClassifyRecipe
from dlkit.training.classify.scores import confusion, expected_calibration_error, reliability
from dlkit.training.classify.temperature import fit_temperature
from dlkit.training.engine.average import MovingAverage
from dlkit.training.engine.averaged import AveragedTrainer
from dlkit.training.engine.fabric import Compute

_EVALUATION_BATCH = 500
_LEAST_STD = 1 / 255  # of a channel that is the same everywhere


class ClassifyTrainer(AveragedTrainer):
    """The whole dataset lies in memory as uint8; a batch is an index into it."""

    recipe: ClassifyRecipe

    def __init__(self, recipe: ClassifyRecipe, data: str, compute: Compute) -> None:
        side = recipe.network.config.image_size
        found = load_labelled(data, (side, side) if side else None, recipe.resize)
        where = data if data in NAMES else str(Path(data).resolve())
        self.recipe = recipe = replace(_resolved(recipe, found), data=where)
        self.classes = found.classes
        self.dataset = found.name
        self.fingerprint = found.fingerprint()
        self.batches = Batches(recipe, found, compute.device)
        self.notes = [*found.notes, *_odd(recipe, found, self.batches)]
        self.test_images = torch.from_numpy(np.array(found.test_images)).to(compute.device)
        self.test_labels = torch.from_numpy(found.test_labels).to(compute.device)
        self.pixels = _pixels(found)
        self.temperature = 1.0
        self.epochs, self.steps_per_epoch = recipe.epochs, self.batches.count
        self.patience = recipe.selection.patience
        if recipe.selection.keep_best and len(self.batches.validation_images):
            self.monitor = "val_accuracy"
        elif recipe.selection.patience:
            raise UsageError("patience needs keep_best=true, and validation above 0")
        trained = recipe.network.build()
        self._check_last_batch(trained, compute)
        if recipe.init == "xavier":
            trained.apply(_xavier)
        memory = compute.memory_format(recipe.channels_last)
        trained = trained.to(compute.device, memory_format=memory)  # type: ignore[call-overload]
        optimizer = build_optimizer(recipe.optimizer, trained, compute.precision)
        schedule = build_schedule(recipe, optimizer, self.epochs * self.steps_per_epoch)
        average = MovingAverage(trained, recipe.ema_decay) if recipe.ema_decay else None
        self.set_up(compute, trained, average, optimizer, schedule)
        self.model = PixelClassifier(
            self.network,
            recipe.network.config.image_size,
            levels=self.pixels["levels"],
            mean=self.pixels["mean"],
            std=self.pixels["std"],
        ).to(compute.device)
        self.batches.normalise_by(self.model.normalise)
        if compute.world > 1:  # dropout differs between processes
            torch.manual_seed(recipe.seed * 1009 + compute.fabric.global_rank)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """One batch of cross entropy; a smaller last batch is kept."""
        batch = self.batches.batch(epoch, index)

        def loss_of(part: slice) -> Tensor:
            inputs, targets = batch(part)
            logits = self.forward(inputs)
            return F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)

        return {"loss": self.descend(len(batch), loss_of, self.recipe.optimizer.clip_norm)}

    def evaluate(self) -> Mapping[str, float]:
        """Loss and accuracy, 0 to 1, on the validation images."""
        labels = self.batches.validation_labels
        if not len(labels):
            return {}
        logits = self._logits(self.batches.validation_images)
        return {
            "val_loss": float(F.cross_entropy(logits, labels)),
            "val_accuracy": _accuracy(logits, labels),
        }

    def meaning(self) -> dict[str, Any]:
        """Size, labels and normalisation of the images, and the temperature."""
        return {
            **self.pixels,
            "labels": list(self.classes),
            "resize": self.recipe.resize,
            "temperature": self.temperature,
        }

    def finish(self, folder: Path) -> Mapping[str, float]:
        """Fit the temperature on the validation images, then look at the test images, once.

        Returns:
            test_accuracy; test_ece, the expected calibration error with the temperature;
            test_ece_raw, without it; temperature.
        """
        if len(self.batches.validation_images):
            held_out = self._logits(self.batches.validation_images)
            self.temperature = fit_temperature(held_out, self.batches.validation_labels)
        logits, labels = self._logits(self.test_images), self.test_labels
        answers = logits.argmax(1)
        matrix = confusion(labels.cpu().numpy(), answers.cpu().numpy(), logits.shape[1])
        draw_confusion(matrix, folder / "confusion.png", self.classes)
        right = (answers == labels).cpu().numpy()
        errors = []
        for temperature in (self.temperature, 1.0):
            sure = F.softmax(logits / temperature, dim=1).amax(1).cpu().numpy()
            errors.append(expected_calibration_error(reliability(sure, right)))
        return {
            "test_accuracy": _accuracy(logits, labels),
            "test_ece": errors[0],
            "test_ece_raw": errors[1],
            "temperature": self.temperature,
        }

    def state(self) -> dict[str, Any]:
        """Also the temperature."""
        return {**super().state(), "temperature": self.temperature}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        super().load_state(state)
        self.temperature = state["temperature"]

    def _check_last_batch(self, network: nn.Module, compute: Compute) -> None:
        """It is the smallest, and would fail after an epoch."""
        last = self.batches.size(self.batches.count - 1)
        smallest = min(part.stop - part.start for part in compute.shares(last))
        if smallest < 2 and any(isinstance(one, _BatchNorm) for one in network.modules()):
            raise UsageError(
                f"the last batch of {last} images leaves one alone, which batch normalisation "
                "cannot take",
                "Choose another batch_size",
            )

    @torch.inference_mode()
    def _logits(self, images: Tensor) -> Tensor:
        """float32 (N, classes), in float32 throughout, as exported."""
        self.model.eval()
        return torch.cat([self.model.logits(part) for part in images.split(_EVALUATION_BATCH)])


def _resolved(recipe: ClassifyRecipe, data: Labelled) -> ClassifyRecipe:
    """With what the data decide.

    Raises:
        UsageError: the recipe wants other data.
    """
    there = {"channels": data.channels, "classes": len(data.classes)}
    network = recipe.network.filled(**there, image_size=max(data.size))
    for name, found in there.items():
        if (wanted := getattr(network.config, name)) != found:
            raise UsageError(
                f"{name} is {wanted} in the recipe, {data.name} has {found}",
                f"Leave it to the data: --set network.{name}=0",
            )
    for name, share in (
        ("distortions", recipe.augmentation.distortions),
        ("outliers", recipe.outliers),
    ):
        if share and not data.digits:
            raise UsageError(
                f"{name} is {share}, which is for digits in MNIST's form alone; {data.name} has "
                f"{len(data.classes)} classes of {data.size[0]}x{data.size[1]} "
                f"{'grey' if data.channels == 1 else 'colour'} images",
                f"Use another recipe, or --set {name}=0",
            )
    return replace(recipe, network=network)


def _odd(recipe: ClassifyRecipe, data: Labelled, batches: Batches) -> list[str]:
    """What is odd about data for this recipe."""
    notes = []
    kept_out = batches.validation_labels
    if len(kept_out) and (classes := len(kept_out.unique())) < 2:
        notes.append(
            f"the {len(kept_out)} validation images have {classes} class: they choose no weights "
            "and fit no temperature; raise validation, or give more data"
        )
    side = recipe.network.config.image_size
    if side < max(data.size):
        notes.append(
            f"images of {data.size[0]}x{data.size[1]} are shrunk to {side}x{side}, which the "
            "network takes (image_size)"
        )
    return notes


def _pixels(data: Labelled) -> dict[str, Any]:
    """Size and normalisation of images, plain JSON values: MNIST's own for digits."""
    mean, std = [MNIST_MEAN], [MNIST_STD]
    if not data.digits:
        flat = data.train_images.reshape(-1, data.channels)
        # by the counts of the 256 levels: nothing larger than the images themselves is made
        levels = np.arange(256) / 255
        counts = [np.bincount(channel, minlength=256) / len(flat) for channel in flat.T]
        mean = [float(count @ levels) for count in counts]
        spread = [
            float(np.sqrt(count @ (levels - one) ** 2))
            for count, one in zip(counts, mean, strict=True)
        ]
        std = [max(one, _LEAST_STD) for one in spread]
    return {
        "size": list(data.size),
        "mean": mean,
        "std": std,
        "levels": data.digits,
        "pages": data.digits,
    }


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).double().mean())


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
