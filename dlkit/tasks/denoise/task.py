"""The task of denoising: what goes in and comes out, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import BundleError, UsageError
from dlkit.images import UInt8
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks._data import Calibration, Feeds, HeldOut, Outputs, Score
from dlkit.tasks._model import Answers
from dlkit.tasks._task import Task, Tolerance, single
from dlkit.tasks.denoise.model import Denoiser
from dlkit.tasks.denoise.pairs import (
    HELD_OUT_SEED,
    SEEDS_PER_TRAINING,
    SIMULATED,
    Pairs,
    ValueRange,
    load_pairs,
    simulate_pairs,
)
from dlkit.tasks.denoise.score import mean_psnr_ssim, psnr

if TYPE_CHECKING:
    from torch import nn

Name: TypeAlias = Literal["denoise"]  # tells type checkers what ``dlkit.load`` gives

_INPUT, _OUTPUT = "pixels", "cleaned"
SCAN = (678, 384)  # rows and columns of a scan
_ODD_SCAN = (170, 101)  # a small scan of a size that needs padding; it is compared, not scored
_SCANS = 6
# In int8 the loss differs by tenths of a dB from scan to scan, up and down: few scans mislead.
_INT8_SCANS = 24
# For the ranges. With 32 scans instead of 16 half of the shipped denoiser's ranges stay the same,
# and nine of ten grow by less than 7 %; from 4 to 8 it is 7 % and 48 %.
_RANGE_SCANS = 16
_HELD_OUT_PAIRS = 16  # of a folder: the trainers' default


class Denoise(Task):
    """An image in, a cleaned one out."""

    name = "denoise"
    about = "noisy images in, cleaned images out"
    command = "denoise"
    folder = "denoised"
    default_bundle = "mmwave"
    pipeline = "image-to-image"
    model = Denoiser
    batch: ClassVar[Mapping[str, int]] = {"cpu": 1, "cuda": 8}  # one scan already fills a processor
    engine_batch = (1, 4, 16)
    unit = "grey levels"
    agreement_name = "dB to it"
    bfloat16_pays = True  # docs/int8.md: scans take 0.6 times as long
    # A float32 sum in another order can move a rounded pixel by one level; a steep levels curve
    # enlarges what half precision and eight bits lose at single places. See ``recognize``.
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": Tolerance(1.0, 0.01, {"psnr": 0.01, "ssim": 0.01}),
        "fp16": Tolerance(8.0, 0.5, {"psnr": 0.05, "ssim": 0.05}),
        "bf16": Tolerance(64.0, 2.0, {"psnr": 0.2, "ssim": 0.2}),
        "int8": Tolerance(255.0, 32.0, {"psnr": 0.1, "ssim": 0.002}),
    }
    images = True
    gives = "pixels"
    least_inputs = 4
    evaluation = "dlkit.evaluation.scans"

    def open(self, bundle: Bundle, opened: Answers) -> Denoiser:
        """A model that denoises."""
        return Denoiser(bundle, opened)

    def check(self, spec: ModelSpec) -> None:
        """uint8 images in, uint8 images of the same channels out."""
        axes = 3 if spec.colour == "grey" else 4
        for what, tensor in (("input", spec.input), ("output", spec.output)):
            shape = tensor.shape
            if tensor.dtype != "uint8" or len(shape) != axes or (axes == 4 and shape[3] != 3):
                wanted = "(N, H, W)" if axes == 3 else "(N, H, W, 3)"
                raise BundleError(f"{what} is {tensor}, expected uint8 {wanted} ({spec.colour})")

    def held_out(
        self,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        data: str | None = None,
        count: int | None = None,
    ) -> HeldOut:
        """Scans of a folder of pairs (the last ones: training keeps those out), else simulated
        ones that no training sees."""
        if count is None:
            count = _INT8_SCANS if spec.precision == "int8" else _SCANS
        data = data or _trained_on(origin, spec)
        if data == SIMULATED:
            pairs = simulate_pairs(range(HELD_OUT_SEED, HELD_OUT_SEED + count), SCAN)
            name = "simulated scans"
        else:
            pairs = load_pairs(Path(data), spec.colour, spec.scale, _values(origin))
            if spec.precision == "int8":  # what is before these, it may be calibrated on
                count = min(count, _kept_out(origin, pairs))
            pairs = Pairs(pairs.noisy[-count:], pairs.clean[-count:])
            name = Path(data).resolve().name
        batches = [self._feeds(spec, noisy) for noisy in pairs.noisy]
        (odd,) = simulate_pairs([HELD_OUT_SEED + 1_000_000], _ODD_SCAN).noisy
        channels = () if spec.colour == "grey" else (3,)
        random = np.random.default_rng(0)
        noise = random.integers(0, 256, (3, 64, 96, *channels), dtype=np.uint8)
        others = [self._feeds(spec, images.colour(odd, spec.colour)), {spec.input.name: noise}]
        return HeldOut(name, [*batches, *others], len(batches), _score(pairs.clean))

    def has_held_out(self, spec: ModelSpec, origin: Mapping[str, Any]) -> bool:
        """What it was trained on is here, or something of its kind."""
        try:
            return bool(_trained_on(origin, spec))
        except UsageError:
            return False

    def calibration(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None, multiply_adds: int
    ) -> Calibration:
        """Scans that training saw: of a folder of pairs, or simulated by the training's seeds."""
        recipe = origin.get("recipe", {})
        wanted = data or _trained_on(origin, spec, exactly=True)
        if wanted == SIMULATED:
            seed = int(recipe.get("seed", 0))
            first = seed * SEEDS_PER_TRAINING
            if first + _RANGE_SCANS + _INT8_SCANS > HELD_OUT_SEED:
                raise UsageError(
                    f"the recipe's seed is {seed}: from {HELD_OUT_SEED // SEEDS_PER_TRAINING} on "
                    "its training scans are held-out ones",
                    "Train with a smaller seed, or give --data FOLDER",
                )
            seeds = range(first, first + _RANGE_SCANS + _INT8_SCANS)
            pairs = simulate_pairs(seeds, SCAN, workers=1)
            return self._calibration(spec, pairs, "simulated scans, training seeds")
        pairs = load_pairs(Path(wanted), spec.colour, spec.scale, _values(origin))
        # The last ones by name are what training keeps out.
        end = len(pairs.noisy) - _kept_out(origin, pairs)
        if end < 2:
            raise UsageError(
                f"{wanted} has {len(pairs.noisy)} pairs, int8 needs 4 or more: one for ranges, one "
                "for the loss, half kept out",
                f"Use --data {SIMULATED}",
            )
        start = max(0, end - _RANGE_SCANS - _INT8_SCANS)
        chosen = Pairs(pairs.noisy[start:end], pairs.clean[start:end])
        return self._calibration(spec, chosen, f"{Path(wanted).resolve().name}, training pairs")

    def agreement(self, expected: Outputs, outputs: Outputs) -> float:
        """Mean PSNR in dB against the reference's images, at most 100."""
        pairs = zip(single(expected), single(outputs), strict=True)
        return float(np.mean([psnr(a[0], b[0]) for a, b in pairs]))

    def least_agreement(
        self, spec: ModelSpec, tolerance: Tolerance, data: HeldOut, before: Mapping[str, float]
    ) -> float:
        """On few scans a change gains as often as it loses, so it must be so small that the loss
        would be allowed, too, if it were unrelated to the error that is there: squared errors then
        add. An output that is worse than the scan itself is an untrained network's: nothing is
        known."""
        if spec.scale != 1:
            return super().least_agreement(spec, tolerance, data, before)
        untouched = data.score([dict(feeds) for feeds in data.batches[: data.scored]])
        if before["psnr"] <= untouched["psnr"]:
            return super().least_agreement(spec, tolerance, data, before)
        return float(before["psnr"] - 10 * np.log10(10 ** (tolerance.loss["psnr"] / 10) - 1))

    def describe(self, config: Any, meaning: Mapping[str, Any], multiple_of: int) -> ModelSpec:
        """Images of any size in and out, in the channels of the training pairs."""
        coloured = int(meaning.get("channels", 1)) == 3
        shape = ("n", "height", "width", *((3,) if coloured else ()))
        scale = int(meaning.get("scale", 1))
        larger = ("n", "height", "width") if scale == 1 else ("n", "out_height", "out_width")
        return ModelSpec(
            name="",
            task=self.name,
            precision="fp32",
            inputs=(TensorSpec(_INPUT, "uint8", shape),),
            outputs=(TensorSpec(_OUTPUT, "uint8", (*larger, *shape[3:])),),
            colour="rgb" if coloured else "grey",
            multiple_of=multiple_of,
            scale=scale,
        )

    def wrap(self, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
        """Scaling to 0 to 1 before the network, rounding to pixels behind it."""
        from dlkit.tasks.denoise.pixels import PixelDenoiser

        return PixelDenoiser(network.eval(), int(meaning.get("channels", 1))).eval()

    def _feeds(self, spec: ModelSpec, noisy: UInt8) -> Feeds:
        return {spec.input.name: images.pad(noisy, spec.multiple_of)[None]}

    def _calibration(self, spec: ModelSpec, pairs: Pairs, name: str) -> Calibration:
        batches = [self._feeds(spec, noisy) for noisy in pairs.noisy]
        cut = max(1, len(batches) * _RANGE_SCANS // (_RANGE_SCANS + _INT8_SCANS))
        score = _score(pairs.clean[cut:])
        checked = HeldOut(name, batches[cut:], len(batches) - cut, score)
        return Calibration(name, batches[:cut], checked)


def _values(origin: Mapping[str, Any]) -> ValueRange | None:
    """The range of the files that a network was trained on, where it is not their type's."""
    return ValueRange.parse(str(origin.get("recipe", {}).get("range", "")))


def _trained_on(origin: Mapping[str, Any], spec: ModelSpec, exactly: bool = False) -> str:
    """Data that a network was trained on, where it is here; else simulated scans.

    Args:
        exactly: other images of the same kind will not do.
    """
    wanted = str(origin.get("recipe", {}).get("data", ""))
    if wanted and wanted != SIMULATED and Path(wanted).is_dir():
        return wanted
    named = origin.get("dataset", wanted)
    if spec.scale == 1 and (not exactly or named in ("", SIMULATED)):
        return SIMULATED
    raise UsageError(
        f"{spec.name} was trained on '{named}', which is not here",
        "Name a folder with noisy/ and clean/ with --data",
    )


def _kept_out(origin: Mapping[str, Any], pairs: Pairs) -> int:
    """So many of a folder's last pairs training keeps out."""
    wanted = int(origin.get("recipe", {}).get("held_out", _HELD_OUT_PAIRS))
    return min(wanted, len(pairs.noisy) // 2)


def _score(clean: Sequence[UInt8]) -> Score:
    """Mean PSNR in dB and SSIM of images, uint8 (1, H, W) each, cropped to their clean ones."""

    def score(outputs: Outputs) -> dict[str, float]:
        restored = [
            images.crop(output[0], *one.shape[:2])
            for output, one in zip(single(outputs), clean, strict=True)
        ]
        psnr, ssim = mean_psnr_ssim(clean, restored)
        return {"psnr": psnr, "ssim": ssim}

    return score


TASK = Denoise()
