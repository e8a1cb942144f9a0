"""How a network that restores images is trained on pairs, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from dlkit.mmwave.parameters_file import simulator
from dlkit.tasks.denoise.pairs import SIMULATED
from dlkit.training.recipe import Example, Recipe

SCAN = (678, 384)  # rows and columns
_PADDED_TO = 16  # so that all recipes are compared at one size
_FEW_PAIRS = 8  # simulated ones are costly, and a step takes as long with few as with many


@dataclass(frozen=True, kw_only=True)
class PairsRecipe(Recipe):
    """What all recipes say that train on pairs of noisy and clean images.

    Attributes:
        range: ``LOW:HIGH``, the values of black and white in the files, where they are not those of
            their type: ``0:4095`` for 12 bits in 16, ``0:1`` for floats. Empty takes the type's.
        pairs: simulated pairs, when ``data`` is ``simulated``.
        height, width: of simulated scans, in pixels.
        held_out: pairs kept for evaluation: simulated ones with seeds of their own, or the last
            ones of a folder, by name.
    """

    data: str = SIMULATED
    range: str = ""
    pairs: int
    height: int = SCAN[0]
    width: int = SCAN[1]
    held_out: int

    def example(self) -> Example:
        """On a scan of the article, padded."""
        network = self.network.filled(channels=1)
        channels = network.config.channels
        multiple = math.lcm(_PADDED_TO, network.architecture.multiple_of)
        size = tuple(side + -side % multiple for side in SCAN)
        return Example(network, {"channels": channels, "scale": 1}, (channels, *size))

    def rehearsed(self, data: str) -> PairsRecipe:
        """A few simulated pairs."""
        if simulator(data) is None:
            return self
        few = min(_FEW_PAIRS, self.pairs)
        return replace(self, pairs=few, held_out=min(2, self.held_out))


@dataclass(frozen=True, kw_only=True)
class CropsRecipe(PairsRecipe):
    """How a network learns from crops of pairs, without a critic.

    Attributes:
        steps: optimizer steps in all.
        batch_size: crops a step.
        learning_rate: highest value (AdamW).
        weight_decay: of AdamW.
        mse_weight: of the squared error beside Charbonnier's loss.
        ssim_weight: of 1 - SSIM beside Charbonnier's loss.
        object_weight: extra weight of pixels of concealed objects, where they are known.
        inside_weight: extra weight of bright pixels well inside a person, where a dark one would
            look like an object.
        inside_reach: pixels: what is nearer to a dark pixel is not well inside.
        pairs: simulated pairs, when ``data`` is ``simulated`` or some are mixed in.
        simulated_share: of a step's crops, when ``data`` is a folder: a few real pairs then do
            not make the network forget what it learnt from many simulated ones.
        crop_height, crop_width: of training crops; 0 takes the whole height or width.
    """

    least: ClassVar[Mapping[str, float]] = {
        "steps": 1,
        "batch_size": 1,
        "learning_rate": 0,
        "weight_decay": 0,
        "mse_weight": 0,
        "ssim_weight": 0,
        "object_weight": 0,
        "inside_weight": 0,
        "inside_reach": 0,
        "pairs": 1,
        "simulated_share": 0,
        "height": 16,
        "width": 16,
        "crop_height": 0,
        "crop_width": 0,
        "held_out": 0,
    }

    steps: int
    batch_size: int = 5
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    mse_weight: float = 2.0
    ssim_weight: float = 0.1
    object_weight: float = 3.0
    inside_weight: float = 1.0
    inside_reach: int = 12  # so far the optics mix in the background
    pairs: int = 1600
    simulated_share: float = 0.0
    crop_height: int = 0
    crop_width: int = 288
    held_out: int = 12


@dataclass(frozen=True, kw_only=True)
class PairedRecipe(CropsRecipe):
    """How a network is trained on pairs, without a critic; ``learning_rate`` on a one-cycle
    schedule.

    Attributes:
        epochs: parts of the training, each ended by an evaluation and a checkpoint.
        ema_decay: of the moving average of the weights, per step.
        held_out: as for every recipe on pairs; 0 trains on all of a folder and evaluates on
            nothing.
    """

    trained_by: ClassVar[str] = "dlkit.training.restore.trainer:PairedTrainer"
    least: ClassVar[Mapping[str, float]] = {**CropsRecipe.least, "epochs": 1, "ema_decay": 0}
    below: ClassVar[Mapping[str, float]] = {"ema_decay": 1}

    epochs: int = 10
    ema_decay: float = 0.995
    bfloat16: bool = True

    def fine_tuning(self, data: str = SIMULATED) -> CropsRecipe:
        """From weights that are good already: an adaptation to a folder of pairs, where the network
        has layers for that; else a short and gentle training, half on simulated crops."""
        if simulator(data) is None and self.network.architecture.adapted:
            return AdaptRecipe(
                about=self.about, network=self.network, data=self.data, seed=self.seed,
                range=self.range, height=self.height, width=self.width,
            )  # fmt: skip
        return replace(
            self, steps=150, epochs=3, learning_rate=2e-4, pairs=200, simulated_share=0.5,
            ema_decay=0.97, held_out=0,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AdaptRecipe(CropsRecipe):
    """How a trained network is adapted to another scanner by few pairs, and few numbers.

    Channels of a few layers are scaled and shifted. What that brings is measured on pairs that were
    left out; where it brings nothing, the weights stay as they were.

    Attributes:
        steps: optimizer steps of each adaptation: one for each part that is left out, and one on
            all pairs.
        learning_rate: at the first step; it falls to 0 in a line.
        weight_decay: pulls back to the weights that it began with.
        folds: parts that the pairs are split into, each left out once; of fewer pairs each is one.
            The two halves of a single pair are its parts.
        least_gain: dB that pairs that were left out have to gain on average.
        most_lost: dB that each of the parts may lose, and simulated scans where there is one pair:
            its halves are retouched by one hand, and do not tell what others are like.
        simulated_lost: dB that ordinary simulated scans may lose where several pairs decide.
        pairs: simulated ones; half of them are mixed in, on the others it is measured what is lost.
        held_out: pairs that take no part in anything, and are evaluated on in the end.
    """

    trained_by: ClassVar[str] = "dlkit.training.restore.adapt:AdaptTrainer"
    least: ClassVar[Mapping[str, float]] = {
        **CropsRecipe.least, "pairs": 2, "folds": 2, "least_gain": 0, "most_lost": 0,
        "simulated_lost": 0,
    }  # fmt: skip

    steps: int = 30
    batch_size: int = 4
    learning_rate: float = 0.03
    crop_width: int = 192
    pairs: int = 24
    simulated_share: float = 0.5
    held_out: int = 0
    folds: int = 5
    least_gain: float = 0.05
    most_lost: float = 0.05
    simulated_lost: float = 3.0
