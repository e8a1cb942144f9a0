"""How a classifier is trained, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dlkit.plugins import unknown
from dlkit.spec import RESIZES
from dlkit.training.recipe import Example, Recipe

INITS = ("default", "xavier")
_DIGITS = {"image_size": 28, "channels": 1, "classes": 10}  # MNIST's


@dataclass(frozen=True)
class Optimizer:
    """What makes a step of a gradient.

    Attributes:
        name: sgd (Nesterov's with momentum) or adam (AdamW).
        learning_rate: its first (``constant``) or highest (``one_cycle``) value.
        momentum: of sgd. With ``one_cycle`` it goes from 0.95 to 0.85 and back whatever it is (as
            adam's first beta), and 0 only makes it not Nesterov's.
        weight_decay: not of biases and normalisations.
        clip_norm: gradients longer than this are shortened; 0 does not.
    """

    name: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes.

    Attributes:
        name: constant, or one_cycle (up and down again; Smith, arXiv 1708.07120).
        warmup: share of one_cycle that goes up.
    """

    name: str = "constant"
    warmup: float = 0.3


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        rotate, scale, shear, shift, elastic: how far they are deformed; see ``Warp``.
        settle: share of the training, at its end, in which deformations shrink to a quarter: the
            images to be recognised are not deformed (He et al., arXiv 1909.09148).
        distortions: share of the images that get noise, blur, stripes and the like; see
            ``distort``. For digits in MNIST's form alone.
        mixup: alpha of mix-up (Zhang et al., arXiv 1710.09412): pictures and targets of two images
            are mixed; 0 does not.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    settle: float = 0.0
    distortions: float = 0.0
    mixup: float = 0.0


@dataclass(frozen=True)
class Selection:
    """Which weights are kept, and when training ends.

    Attributes:
        validation: share of the training images that is kept out to choose weights and fit the
            temperature; at most 5,000.
        keep_best: export the weights of the epoch that was best on these, else the last ones.
        patience: epochs without a better one after which training ends; 0 never does. Needs
            ``keep_best``.
    """

    validation: float = 1 / 12
    keep_best: bool = True
    patience: int = 0


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(Recipe):
    """How a classifier is trained.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        init: ``default`` is torch's; ``xavier`` draws weights from Xavier's uniform distribution,
            which networks with sigmoids need.
        channels_last: memory order that convolutions prefer on most hardware; not taken in float32
            on a CPU, where torch 2.15 has a fault with it.
        resize: how images of files become the size that the network takes, one of
            ``dlkit.spec.RESIZES``; the deployed model does the same.
        outliers: share of each batch that is no digit, trained towards equal probabilities; see
            ``outliers``. For digits in MNIST's form alone.
        label_smoothing: share of the target that is spread over all classes.
        ema_decay: the kept network is a moving average of the trained one, per step; 0 keeps the
            trained one.
    """

    trained_by: ClassVar[str] = "dlkit.training.classify.trainer:ClassifyTrainer"
    least: ClassVar[Mapping[str, float]] = {
        "epochs": 1,
        "batch_size": 1,
        "outliers": 0,
        "label_smoothing": 0,
        "ema_decay": 0,
        "optimizer.learning_rate": 0,
        "optimizer.momentum": 0,
        "optimizer.weight_decay": 0,
        "optimizer.clip_norm": 0,
        "schedule.warmup": 0,
        "augmentation.rotate": 0,
        "augmentation.scale": 0,
        "augmentation.shear": 0,
        "augmentation.shift": 0,
        "augmentation.elastic": 0,
        "augmentation.settle": 0,
        "augmentation.distortions": 0,
        "augmentation.mixup": 0,
        "selection.validation": 0,
        "selection.patience": 0,
    }
    below: ClassVar[Mapping[str, float]] = {
        "outliers": 1,
        "label_smoothing": 1,
        "ema_decay": 1,
        "optimizer.momentum": 1,
        "schedule.warmup": 1,
        "augmentation.settle": 1,
        "augmentation.distortions": 1,
        "selection.validation": 1,
    }

    epochs: int
    data: str = "mnist-mini"
    batch_size: int = 256
    init: str = "default"
    channels_last: bool = False
    resize: str = "stretch"
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    outliers: float = 0.0
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    selection: Selection = field(default_factory=Selection)

    def check(self) -> None:
        """As every recipe's; and words that are none of those that there are."""
        super().check()
        for name, value, known in (
            ("init", self.init, INITS),
            ("resize", self.resize, RESIZES),
            ("optimizer", self.optimizer.name, ("sgd", "adam")),
            ("schedule", self.schedule.name, ("constant", "one_cycle")),
        ):
            if value not in known:
                raise unknown(name, value, list(known))

    def example(self) -> Example:
        """On MNIST."""
        from dlkit.tasks.recognize.pixels import MNIST_MEAN, MNIST_STD

        network = self.network.filled(**_DIGITS)
        config = network.config
        grey = config.channels == 1
        digits = grey and config.classes == _DIGITS["classes"]
        meaning = {
            "size": [_DIGITS["image_size"]] * 2,
            "labels": [str(number) for number in range(config.classes)],
            "resize": self.resize,
            "mean": [MNIST_MEAN] * config.channels,
            "std": [MNIST_STD] * config.channels,
            "levels": grey,
            "pages": digits,
            "temperature": 1.0,
        }
        return Example(network, meaning, (config.channels, config.image_size, config.image_size))
