"""Training images for int8: some give the ranges of activations, others show what is lost.

None of them is held out: ``dlkit verify`` measures on images that neither training nor calibration
saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit import images
from dlkit.errors import UsageError
from dlkit.export.held_out import SCAN, Batch, HeldOut, score_digits, score_scans
from dlkit.spec import ModelSpec
from dlkit.training.data.digits import load_digits
from dlkit.training.data.pairs import HELD_OUT_SEED, SIMULATED, Pairs, load_pairs, simulate_pairs

# For the ranges. With 32 scans instead of 16 half of the shipped denoiser's ranges stay the same,
# and nine of ten grow by less than 7 %; from 4 to 8 it is 7 % and 48 %.
_DIGITS, _SCANS = 512, 16
# For the loss. It differs by tenths of a dB from scan to scan, up and down: few scans mislead.
_LOSS_SCANS = 24
_DIGIT_BATCH = 128
# Digits on which the loss is measured: enough to see 0.05 points where the network is small, less
# where that would take minutes.
_MOST_DIGITS, _FEWEST_DIGITS = 5000, 500
_MULTIPLY_ADDS = 1e12
# The trainers' defaults: seeds of simulated training scans, and pairs of a folder kept out.
_SEEDS_PER_TRAINING = 10_000_000
_HELD_OUT_PAIRS = 16
_BUNDLED = {"recognize": "mnist-mini", "denoise": SIMULATED}


@dataclass(frozen=True)
class Calibration:
    """Images of the training side.

    Attributes:
        batches: uint8 (N, H, W) each, for the ranges.
        validation: other images, with answers, for the loss.
    """

    batches: list[Batch]
    validation: HeldOut

    @property
    def ranges(self) -> HeldOut:
        """The images for the ranges, in the form that has a name and a fingerprint."""
        return HeldOut(self.validation.name, self.batches, len(self.batches), lambda _: {})


def calibration_images(
    spec: ModelSpec,
    recipe: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    data: str | None = None,
    multiply_adds: int = 0,
) -> Calibration:
    """Training images of a network.

    Args:
        recipe, dataset: of the training, as a bundle's origin holds them, where they are known.
        data: digits: what ``load_digits`` takes (its training images); denoise: ``simulated``
            (the recipe's training seeds), or a folder with ``noisy/`` and ``clean/``. By default
            what the network was trained on, if dlkit has that.
        multiply_adds: of one digit, to bound the time that the digits take.

    Raises:
        InputError: the data cannot be read.
        UsageError: too few images; or nobody knows on what the network was trained.
    """
    recipe = recipe or {}
    wanted = data or _trained_on(spec.task, dataset)
    if spec.task == "recognize":
        return _digits(wanted, multiply_adds)
    if wanted == SIMULATED:
        seed = int(recipe.get("seed", 0))
        first = seed * _SEEDS_PER_TRAINING
        if first + _SCANS + _LOSS_SCANS > HELD_OUT_SEED:
            raise UsageError(
                f"the recipe's seed is {seed}: from {HELD_OUT_SEED // _SEEDS_PER_TRAINING} on its "
                "training scans are held-out ones. Train with a smaller seed, or give --data FOLDER"
            )
        pairs = simulate_pairs(range(first, first + _SCANS + _LOSS_SCANS), SCAN, workers=1)
        return _scans(pairs, spec.multiple_of, "simulated scans, training seeds")
    pairs = load_pairs(Path(wanted))
    # The last ones by name are what training keeps out.
    kept_out = min(int(recipe.get("held_out", _HELD_OUT_PAIRS)), len(pairs.noisy) // 2)
    end = len(pairs.noisy) - kept_out
    if end < 2:
        raise UsageError(
            f"{wanted} has {len(pairs.noisy)} pairs, int8 needs 4 or more: one for ranges, one for "
            f"the loss, half kept out. Use --data {SIMULATED}"
        )
    start = max(0, end - _SCANS - _LOSS_SCANS)
    chosen = Pairs(pairs.noisy[start:end], pairs.clean[start:end])
    return _scans(chosen, spec.multiple_of, f"{Path(wanted).resolve().name}, training pairs")


def _trained_on(task: str, dataset: str | None) -> str:
    if task not in _BUNDLED:
        raise UsageError(f"dlkit has no training images for the task '{task}': int8 needs some")
    if dataset in (None, _BUNDLED[task]) or (task, dataset) == ("recognize", "mnist"):
        return _BUNDLED[task]
    if (task, dataset) == ("recognize", "fashion-mnist"):
        return str(dataset)
    raise UsageError(
        f"int8 needs training images, and the network was trained on '{dataset}': "
        "give that folder with --data"
    )


def _digits(data: str, multiply_adds: int) -> Calibration:
    digits = load_digits(data)
    pixels, labels = digits.train_images.numpy(), digits.train_labels.numpy()
    if len(pixels) < 2:
        raise UsageError(f"{digits.name} has {len(pixels)} training digits, int8 needs 2 or more")
    order = np.random.default_rng(0).permutation(len(pixels))  # files may be sorted by digit
    most = min(_MOST_DIGITS, int(_MULTIPLY_ADDS / max(multiply_adds, 1)))
    some = min(_DIGITS, len(pixels) // 2)
    ranges, rest = order[:some], order[some : some + max(_FEWEST_DIGITS, most)]
    return Calibration(
        _batches(pixels[ranges]),
        HeldOut(
            f"{digits.name}, training images",
            _batches(pixels[rest]),
            len(_batches(pixels[rest])),
            score_digits(labels[rest]),
        ),
    )


def _batches(pixels: Batch) -> list[Batch]:
    return [pixels[at : at + _DIGIT_BATCH] for at in range(0, len(pixels), _DIGIT_BATCH)]


def _scans(pairs: Pairs, multiple_of: int, name: str) -> Calibration:
    batches = [images.pad(noisy, multiple_of)[None] for noisy in pairs.noisy]
    cut = max(1, len(batches) * _SCANS // (_SCANS + _LOSS_SCANS))  # so many for the ranges
    score = score_scans(pairs.clean[cut:])
    return Calibration(batches[:cut], HeldOut(name, batches[cut:], len(batches) - cut, score))
