"""Held-out images with their answers, to verify a bundle on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import UsageError
from dlkit.spec import ModelSpec
from dlkit.training.data.digits import load_digits
from dlkit.training.data.pairs import HELD_OUT_SEED, SIMULATED, Pairs, load_pairs, simulate_pairs
from dlkit.training.metrics import mean_psnr_ssim

Batch = NDArray[np.uint8]
Outputs = list[NDArray[Any]]
Score = Callable[[Outputs], dict[str, float]]

IMAGES = {"recognize": 1000, "denoise": 6}
# In int8 the loss differs by tenths of a dB from scan to scan, up and down.
_INT8_SCANS = 24
_DIGIT_BATCH = 257  # odd, and more than most backends take at once
SCAN = (678, 384)  # rows and columns of a scan
# One small scan of a size that needs padding; it is compared, not scored.
_ODD_SCAN = (170, 101)


@dataclass(frozen=True)
class HeldOut:
    """Inputs for a session, and what they should give.

    Attributes:
        name: of the data.
        batches: uint8 (N, H, W) each; images with an answer first, then others and noise.
        scored: batches that have an answer.
        score: task metrics of the outputs of the scored batches; higher is better for each.
    """

    name: str
    batches: list[Batch]
    scored: int
    score: Score

    def fingerprint(self) -> str:
        """Hash of all inputs."""
        digest = hashlib.sha256()
        for batch in self.batches:
            digest.update(str(batch.shape).encode() + batch.tobytes())
        return digest.hexdigest()

    @property
    def images(self) -> int:
        """How many images have an answer."""
        return sum(len(batch) for batch in self.batches[: self.scored])


def held_out(spec: ModelSpec, data: str | None = None, limit: int | None = None) -> HeldOut:
    """Images that no shipped training saw.

    Args:
        data: digits: what ``load_digits`` takes (its test images), ``mnist-mini`` by default;
            denoise: ``simulated`` (default), or a folder with ``noisy/`` and ``clean/``.
        limit: most images; ``IMAGES`` of the task by default, more scans in int8.

    Raises:
        InputError: the data cannot be read.
        UsageError: nobody knows what a model of this task should give.
    """
    count = limit or IMAGES.get(spec.task, 0)
    if limit is None and (spec.task, spec.precision) == ("denoise", "int8"):
        count = _INT8_SCANS
    random = np.random.default_rng(0)
    if spec.task == "recognize":
        return _digits(data or "mnist-mini", count, random)
    if spec.task == "denoise":
        return _scans(data or SIMULATED, count, spec.multiple_of, random)
    raise UsageError(f"dlkit has no held-out images for the task '{spec.task}'")


def _digits(data: str, count: int, random: np.random.Generator) -> HeldOut:
    digits = load_digits(data)
    pixels, labels = digits.test_images[:count].numpy(), digits.test_labels[:count].numpy()
    batches = [pixels[:1]]
    batches += [pixels[at : at + _DIGIT_BATCH] for at in range(1, len(pixels), _DIGIT_BATCH)]
    noise = random.integers(0, 256, (7, *pixels.shape[1:]), dtype=np.uint8)
    name = f"{digits.name}, test images"
    return HeldOut(name, [*batches, noise], len(batches), score_digits(labels))


def _scans(data: str, count: int, multiple_of: int, random: np.random.Generator) -> HeldOut:
    if data == SIMULATED:
        pairs = simulate_pairs(range(HELD_OUT_SEED, HELD_OUT_SEED + count), SCAN)
        name = "simulated scans"
    else:
        pairs = load_pairs(Path(data))
        # The last ones: training on the same folder keeps those out.
        pairs = Pairs(pairs.noisy[-count:], pairs.clean[-count:])
        name = Path(data).resolve().name
    batches = [images.pad(noisy, multiple_of)[None] for noisy in pairs.noisy]
    (odd,) = simulate_pairs([HELD_OUT_SEED + 1_000_000], _ODD_SCAN).noisy
    noise = random.integers(0, 256, (3, 64, 96), dtype=np.uint8)
    others = [images.pad(odd, multiple_of)[None], noise]
    return HeldOut(name, [*batches, *others], len(batches), score_scans(pairs.clean))


def score_digits(labels: NDArray[Any]) -> Score:
    """Accuracy, 0 to 1, of probabilities (N, classes) in batches."""

    def score(outputs: Outputs) -> dict[str, float]:
        return {"accuracy": float((np.concatenate(outputs).argmax(axis=1) == labels).mean())}

    return score


def score_scans(clean: Sequence[images.Pixels]) -> Score:
    """Mean PSNR in dB and SSIM of scans, uint8 (1, H, W) each, cropped to their clean images."""

    def score(outputs: Outputs) -> dict[str, float]:
        restored = [
            images.crop(output[0], *one.shape) for output, one in zip(outputs, clean, strict=True)
        ]
        psnr, ssim = mean_psnr_ssim(clean, restored)
        return {"psnr": psnr, "ssim": ssim}

    return score
