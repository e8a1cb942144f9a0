"""The task of detecting: what goes in and comes out, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from dlkit.bundle import Bundle
from dlkit.errors import BundleError, UsageError
from dlkit.mmwave.concealment import Observed, observe
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks._data import Calibration, Feeds, HeldOut, Outputs, Score
from dlkit.tasks._model import Answers
from dlkit.tasks._task import Task, Tolerance, single
from dlkit.tasks.detect.decode import decode
from dlkit.tasks.detect.model import Detector, check_sensitivity
from dlkit.tasks.detect.scans import (
    PROOF_SEED,
    SIMULATED,
    boxes_of,
    first_seed,
    held_out_scans,
    padded,
)
from dlkit.tasks.detect.score import at_false_alarms, average_precision, match

if TYPE_CHECKING:
    from torch import nn

Name: TypeAlias = Literal["detect"]  # tells type checkers what ``dlkit.load`` gives

_INPUT, _OUTPUT = "pixels", "found"
_CHANNELS = 6
_SCANS, _INT8_SCANS, _RANGE_SCANS = 60, 120, 16
_ODD = (170, 101)  # rows and columns of a small scan that needs padding; it is not scored
_FALSE_ALARMS = 0.1  # a scan: recall is said there


class Detect(Task):
    """A scan in; concealed objects out, with boxes, chances and masks."""

    name = "detect"
    about = "scans in, concealed objects out: boxes, chances, masks"
    command = "detect"
    folder = "detected"
    default_bundle = "objects"
    pipeline = "object-detection"
    model = Detector
    batch: ClassVar[Mapping[str, int]] = {"cpu": 1, "cuda": 16}
    engine_batch = (1, 4, 16)
    unit = "chance, or logarithm of a distance"
    agreement_name = "agreement of chances"
    # Where nothing is, nobody asked for a box, and distances mean nothing: they may differ much.
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": Tolerance(1e-3, 1e-5, {"ap50": 0.002, "recall": 0.005}),
        "fp16": Tolerance(0.1, 2e-3, {"ap50": 0.005, "recall": 0.01}),
        "bf16": Tolerance(4.0, 0.1, {"ap50": 0.01, "recall": 0.02}),
        "int8": Tolerance(8.0, 0.5, {"ap50": 0.01, "recall": 0.02}),
    }
    images = True
    least_inputs = 4
    evaluation = "dlkit.evaluation.objects"

    def open(self, bundle: Bundle, opened: Answers) -> Detector:
        """A model that detects."""
        return Detector(bundle, opened)

    def check(self, spec: ModelSpec) -> None:
        """uint8 grey scans in, six maps out, a quarter as high and wide."""
        pixels, found = spec.input, spec.output
        if pixels.dtype != "uint8" or len(pixels.shape) != 3 or spec.colour != "grey":
            raise BundleError(f"input is {pixels}, expected uint8 (N, H, W) (grey)")
        if found.dtype != "float32" or len(found.shape) != 4 or found.shape[1] != _CHANNELS:
            raise BundleError(f"output is {found}, expected float32 (N, {_CHANNELS}, H/4, W/4)")
        try:
            check_sensitivity(spec.options.get("sensitivity", {}))
        except UsageError as error:
            raise BundleError(error.what, error.mend) from error

    def held_out(
        self,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        data: str | None = None,
        count: int | None = None,
    ) -> HeldOut:
        """Simulated scans that no training sees, then a small one and noise.

        Scored by average precision at an intersection over union of 0.5, and by recall at one false
        alarm in ten scans.
        """
        if data not in (None, SIMULATED):
            raise UsageError(
                f"--data is '{data}', and where objects are is known of simulated scans alone",
                f"Leave it out, or say {SIMULATED}",
            )
        count = count or (_INT8_SCANS if spec.precision == "int8" else _SCANS)
        scans = held_out_scans(PROOF_SEED, count)
        noise = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
        odd = padded(observe(PROOF_SEED - 1, _ODD).noisy, spec.multiple_of)
        batches = self._feeds(spec, scans)
        others: list[Feeds] = [{spec.input.name: odd}, {spec.input.name: noise}]
        return HeldOut("simulated scans", [*batches, *others], len(batches), _score(scans))

    def calibration(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None, multiply_adds: int
    ) -> Calibration:
        """Scans of the training's seeds."""
        seed = int(origin.get("recipe", {}).get("seed", 0))
        scans = held_out_scans(first_seed(seed, _RANGE_SCANS + _INT8_SCANS),
                               _RANGE_SCANS + _INT8_SCANS)  # fmt: skip
        batches = self._feeds(spec, scans)
        name = "simulated scans, training seeds"
        checked = HeldOut(name, batches[_RANGE_SCANS:], _INT8_SCANS, _score(scans[_RANGE_SCANS:]))
        return Calibration(name, batches[:_RANGE_SCANS], checked)

    def agreement(self, expected: Outputs, outputs: Outputs) -> float:
        """1 minus the mean difference of the chances, as a share of their sum."""
        gap = whole = 0.0
        for one, other in zip(single(expected), single(outputs), strict=True):
            gap += float(np.abs(one[:, :2].astype(np.float64) - other[:, :2]).sum())
            whole += float(one[:, :2].sum())
        return 1 - gap / max(whole, 1.0)

    def describe(self, config: Any, meaning: Mapping[str, Any], multiple_of: int) -> ModelSpec:
        """Grey scans of any size in, maps out; the thresholds that training found."""
        known = meaning.get("sensitivity")
        return ModelSpec(
            name="",
            task=self.name,
            precision="fp32",
            inputs=(TensorSpec(_INPUT, "uint8", ("n", "height", "width")),),
            outputs=(TensorSpec(_OUTPUT, "float32", ("n", _CHANNELS, "rows", "columns")),),
            multiple_of=multiple_of,
            options={} if known is None else {"sensitivity": known},
        )

    def wrap(self, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
        """Scaling to 0 to 1 before the network, chances behind it."""
        from dlkit.tasks.detect.pixels import PixelDetector

        return PixelDetector(network.eval()).eval()

    def _feeds(self, spec: ModelSpec, scans: Sequence[Observed]) -> list[Feeds]:
        return [{spec.input.name: padded(one.noisy, spec.multiple_of)} for one in scans]


def _score(scans: Sequence[Observed]) -> Score:
    """Metrics of maps, float32 (1, 6, rows, columns) each."""
    truth = [boxes_of(one) for one in scans]
    sizes = [(one.noisy.shape[0], one.noisy.shape[1]) for one in scans]

    def score(outputs: Outputs) -> dict[str, float]:
        found = [decode(one[0], size) for one, size in zip(single(outputs), sizes, strict=True)]
        matched = match(found, truth)
        recall = at_false_alarms(matched, _FALSE_ALARMS).recall
        return {"ap50": average_precision(matched), "recall": recall}

    return score


TASK = Detect()
