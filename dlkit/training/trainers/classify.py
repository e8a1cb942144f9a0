"""Train a classifier of digits with cross entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from dlkit.errors import UsageError
from dlkit.plugins import unknown
from dlkit.training.average import Average
from dlkit.training.classification import (
    confusion,
    expected_calibration_error,
    reliability,
)
from dlkit.training.columns import in_columns
from dlkit.training.compute import Compute
from dlkit.training.confusion import draw_confusion
from dlkit.training.data.batches import Batches
from dlkit.training.data.digits import load_digits
from dlkit.training.loop import Trainer
from dlkit.training.optimizer import build_optimizer, build_schedule
from dlkit.training.pixels import PixelClassifier
from dlkit.training.recipe import ARCHITECTURES, Recipe
from dlkit.training.temperature import fit_temperature

_EVALUATION_BATCH = 500
_SHARES = (
    "validation", "distortions", "outliers", "settle", "label_smoothing", "ema_decay", "momentum",
    "warmup",
)  # fmt: skip
_AMOUNTS = (
    "learning_rate", "weight_decay", "mixup", "clip_norm", "patience", "rotate", "scale", "shear",
    "shift", "elastic",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(Recipe):
    """How a classifier is trained.

    Attributes:
        epochs: passes over the training digits.
        batch_size: digits a step.
        optimizer: sgd (Nesterov's with momentum) or adam (AdamW).
        learning_rate: its first (``constant``) or highest (``one_cycle``) value.
        momentum: of sgd. With ``one_cycle`` it goes from 0.95 to 0.85 and back whatever it is (as
            adam's first beta), and 0 only makes it not Nesterov's.
        weight_decay: of the optimizer; not of biases and normalisations.
        schedule: constant, or one_cycle (up and down again; Smith, arXiv 1708.07120).
        warmup: share of one_cycle that goes up.
        init: ``default`` is torch's; ``xavier`` draws weights from Xavier's uniform distribution,
            which networks with sigmoids need.
        rotate, scale, shear, shift, elastic: how far digits are deformed; see ``Warp``.
        settle: share of the training, at its end, in which deformations shrink to a quarter: the
            digits to be recognised are not deformed (He et al., arXiv 1909.09148).
        distortions: share of the digits that get noise, blur, stripes and the like; see
            ``distort``.
        outliers: share of each batch that is no digit, trained towards equal probabilities; see
            ``outliers``.
        label_smoothing: share of the target that is spread over all classes.
        mixup: alpha of mix-up (Zhang et al., arXiv 1710.09412): pictures and targets of two digits
            are mixed; 0 does not.
        ema_decay: the kept network is a moving average of the trained one, per step; 0 keeps the
            trained one.
        clip_norm: gradients longer than this are shortened; 0 does not.
        channels_last: memory order that convolutions prefer on most hardware.
        validation: share of the training digits that is kept out to choose weights and fit the
            temperature; at most 5,000.
        keep_best: export the weights of the epoch that was best on these, else the last ones.
        patience: epochs without a better one after which training ends; 0 never does. Needs
            ``keep_best``.
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
    warmup: float = 0.3
    init: str = "default"
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    settle: float = 0.0
    distortions: float = 0.0
    outliers: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    ema_decay: float = 0.0
    clip_norm: float = 0.0
    channels_last: bool = False
    validation: float = 1 / 12
    keep_best: bool = True
    patience: int = 0


class ClassifyTrainer(Trainer):
    """The whole dataset lies in memory as uint8; a batch is an index into it."""

    def __init__(self, recipe: ClassifyRecipe, data: str, compute: Compute) -> None:
        _check(recipe)
        digits = load_digits(data)
        self.recipe, self.compute = recipe, compute
        self.dataset = digits.name
        self.fingerprint = digits.fingerprint()
        self.digits = digits.to(compute.device)
        self.batches = Batches(recipe, self.digits)
        self.epochs, self.steps_per_epoch = recipe.epochs, self.batches.count
        self.patience = recipe.patience
        if recipe.keep_best and len(self.batches.validation_images):
            self.monitor = "val_accuracy"
        elif recipe.patience:
            raise UsageError("patience needs keep_best=true, and validation above 0")
        try:
            trained = ARCHITECTURES.load(recipe.architecture).build(recipe.network)
        except ValueError as error:  # torch's, e.g. of a dropout of 2
            raise UsageError(f"{recipe.architecture}: {error}") from error
        self._check_last_batch(trained)
        if recipe.init == "xavier":
            trained.apply(_xavier)
        elif recipe.init != "default":
            raise UsageError(unknown("init", recipe.init, ["default", "xavier"]))
        memory = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.trained: nn.Module = trained.to(compute.device, memory_format=memory)
        self.average = Average(self.trained, recipe.ema_decay) if recipe.ema_decay else None
        self.network = self.average.network if self.average else self.trained
        self.model = PixelClassifier(self.network, recipe.network.image_size).to(compute.device)
        optimizer = build_optimizer(recipe, self.trained, compute.precision)
        self.schedule = build_schedule(recipe, optimizer, self.epochs * self.steps_per_epoch)
        faster = self.trained
        if (compute.device.type, compute.precision, compute.compile) == ("cpu", "bf16", False):
            faster = in_columns(self.trained, recipe.network.image_size)
        digits_as = torch.float32 if faster is self.trained else torch.bfloat16  # it casts anyway
        self.batches.normalise_by(lambda pixels: self.model.normalise(pixels).to(digits_as))
        self.forward, self.optimizer = compute.setup(faster, optimizer)
        if compute.world > 1:  # dropout differs between processes
            torch.manual_seed(recipe.seed * 1009 + compute.fabric.global_rank)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """One batch of cross entropy; a smaller last batch is kept."""
        batch = self.batches.batch(epoch, index)
        if not self.trained.training:
            self.trained.train()
        self.optimizer.zero_grad(set_to_none=True)

        def loss_of(part: slice) -> Tensor:
            inputs, targets = batch(part)
            logits = self.forward(inputs)
            return F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)

        loss = self.compute.backward(self.forward, len(batch), loss_of)
        if self.recipe.clip_norm:
            self.compute.clip(self.forward, self.optimizer, self.recipe.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.follow(self.trained)
        return {"loss": loss}

    def evaluate(self) -> Mapping[str, float]:
        """Loss and accuracy, 0 to 1, on the validation digits."""
        labels = self.batches.validation_labels
        if not len(labels):
            return {}
        logits = self._logits(self.batches.validation_images)
        return {
            "val_loss": float(F.cross_entropy(logits, labels)),
            "val_accuracy": _accuracy(logits, labels),
        }

    def finish(self, folder: Path) -> Mapping[str, float]:
        """Fit the temperature on the validation digits, then look at the test digits, once.

        Returns:
            test_accuracy; test_ece, the expected calibration error with the temperature;
            test_ece_raw, without it; temperature.
        """
        held_out = self._logits(self.batches.validation_images)
        self.temperature = fit_temperature(held_out, self.batches.validation_labels)
        logits, labels = self._logits(self.digits.test_images), self.digits.test_labels
        answers = logits.argmax(1)
        matrix = confusion(labels.cpu().numpy(), answers.cpu().numpy(), logits.shape[1])
        draw_confusion(matrix, folder / "confusion.png")
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

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with these weights instead of fresh ones."""
        self.trained.load_state_dict(weights)
        self.network.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Optimizer and schedule; the weights as trained where the average is the network."""
        state = {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        if self.average:
            state["trained"] = self.trained.state_dict()
            state["averaged"] = self.average.updates
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.trained.load_state_dict(state["trained"])
            self.average.updates = state["averaged"]

    def _check_last_batch(self, network: nn.Module) -> None:
        """It is the smallest, and would fail after an epoch."""
        last = self.batches.size(self.batches.count - 1)
        smallest = min(part.stop - part.start for part in self.compute.shares(last))
        if smallest < 2 and any(isinstance(one, _BatchNorm) for one in network.modules()):
            raise UsageError(
                f"the last batch of {last} digits leaves one alone, which batch normalisation "
                "cannot take: choose another batch_size"
            )

    @torch.inference_mode()
    def _logits(self, images: Tensor) -> Tensor:
        """float32 (N, classes), in float32 throughout, as exported."""
        self.model.eval()
        return torch.cat([self.model.logits(part) for part in images.split(_EVALUATION_BATCH)])


def _check(recipe: ClassifyRecipe) -> None:
    """Before anything is computed or overwritten."""
    for name in ("epochs", "batch_size"):
        if getattr(recipe, name) < 1:
            raise UsageError(f"{name} is {getattr(recipe, name)}, expected 1 or more")
    for name in (*_SHARES, *_AMOUNTS):
        value = getattr(recipe, name)
        if name in _SHARES and not 0 <= value < 1:
            raise UsageError(f"{name} is {value}, expected 0 or more, below 1")
        if not 0 <= value < math.inf:
            raise UsageError(f"{name} is {value}, expected 0 or more")


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).double().mean())


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)


RECIPE = ClassifyRecipe
TRAINER = ClassifyTrainer
