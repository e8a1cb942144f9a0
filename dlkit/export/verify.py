"""Does a bundle still compute what the network computes? What was measured is its certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlkit.bundle import Bundle
from dlkit.errors import BackendError
from dlkit.export.held_out import HeldOut, Outputs, held_out
from dlkit.export.reference import find_network, pixels_of, torch_reference
from dlkit.export.rounding import run_rounded
from dlkit.runtime.session import open_session, own_arithmetic, runnable


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change.

    Attributes:
        largest, mean: absolute difference from the reference: probability, or grey levels.
        loss: by how much each task metric may fall: accuracy (0 to 1) and SSIM, or dB of PSNR.
        ssim: by how much SSIM may fall, where that is not ``loss``.
        answers: recognize: right answers that may be lost in any case. Few images cannot show a
            small loss: one answer of 1,000 is 0.001.
    """

    largest: float
    mean: float
    loss: float
    ssim: float | None = None
    answers: int = 0

    def exceeded(
        self, before: Mapping[str, float], after: Mapping[str, float], images: int, classes: int
    ) -> list[str]:
        """Task metrics that fell by more than is allowed.

        Args:
            images: on which they were measured.
            classes: recognize: how many there are. A network that is right less than
                ``_TRAINED`` times as often as guessing is untrained: it has no accuracy to lose.
        """
        found = []
        for name, best in before.items():
            allowed = self.loss if name != "ssim" or self.ssim is None else self.ssim
            if name == "accuracy":
                if best * classes < _TRAINED:
                    continue
                allowed = max(allowed, self.answers / images)
            if best - after[name] > allowed + _ROUNDING:
                found.append(name)
        return found


_TRAINED = 3.0
_ROUNDING = 1e-9  # 0.991 - 0.99 is a little more than 0.001


# float32 sums in another order differ by about 1e-6 relative, which can move a rounded pixel by
# one level. float16 keeps 11 bits (2^-11 = 0.0005 relative an operation), bfloat16 8 (0.004),
# eight-bit integers 256 steps of a range. A deep network and a steep softmax or levels curve
# enlarge that at single places, hence a wide largest and a narrow mean; what counts for the user
# is the metric, whose loss is small for each.
TOLERANCES = {
    ("recognize", "fp32"): Tolerance(1e-4, 1e-5, 0.001),
    ("recognize", "fp16"): Tolerance(0.05, 2e-3, 0.002),
    ("recognize", "bf16"): Tolerance(0.3, 0.01, 0.004),
    ("recognize", "int8"): Tolerance(1.0, 0.02, 0.0005, answers=1),
    ("denoise", "fp32"): Tolerance(1.0, 0.01, 0.01),
    ("denoise", "fp16"): Tolerance(8.0, 0.5, 0.05),
    ("denoise", "bf16"): Tolerance(64.0, 2.0, 0.2),
    ("denoise", "int8"): Tolerance(255.0, 32.0, 0.1, ssim=0.002),
}


@dataclass(frozen=True)
class Difference:
    """How far one way to run the bundle is from the reference.

    Attributes:
        backend: its name; ``rounded`` is ONNX Runtime on the graph that rounds after each node.
        precision: type that it computes in: the graph's, or the backend's own.
        sha256: hash of the file that was run: model.onnx or an engine.
        largest, mean: absolute difference of outputs (probabilities, or grey levels).
        finite: no NaN and no infinity.
        agreement: recognize: share of images with the reference's answer; denoise: mean PSNR in dB
            against the reference's images, at most 100.
        metrics: task metrics on the held-out images: ``accuracy``, or ``psnr`` (dB) and ``ssim``.
        within: inside the tolerance.
    """

    backend: str
    device: str
    precision: str
    sha256: str
    largest: float
    mean: float
    finite: bool
    agreement: float
    metrics: dict[str, float]
    within: bool


@dataclass(frozen=True)
class Verification:
    """What ``verify`` measured.

    Attributes:
        reference: what the bundle was compared with.
        reference_metrics: its own task metrics.
        data: the held-out images.
        tolerances: by precision, the graph's first.
        ways: one a backend and device.
    """

    reference: str
    reference_metrics: dict[str, float]
    data: HeldOut
    tolerances: dict[str, Tolerance]
    ways: list[Difference]

    @property
    def within(self) -> bool:
        """All ways are inside their tolerance that compute in the graph's precision.

        The certificate has a backend's own arithmetic too; outside it is not used by itself.
        """
        own = next(iter(self.tolerances))
        return all(way.within for way in self.ways if way.precision == own)


def verify(
    bundle: Bundle,
    run: Path | None = None,
    data: str | None = None,
    limit: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Compare every way to run the bundle here with the reference, on held-out images.

    The reference is torch in float32 where the weights are known, else ONNX Runtime on the CPU.

    Args:
        data, limit: as ``held_out`` takes them.
        progress: called with what is measured next.

    Raises:
        TrainingError: the run that was named does not fit.
        InputError: the data cannot be read.
        BackendError: no backend runs here.
    """
    say = progress or (lambda _: None)
    say("reading held-out images")
    images = held_out(bundle.spec, data, limit)
    ways = runnable(bundle)
    if not ways:
        raise BackendError(f"nothing on this machine can run {bundle.path}")
    found = find_network(bundle, run)
    if found is not None:
        recipe, network, name = found
        say(name)
        expected = torch_reference(recipe, network, pixels_of(bundle))(images.batches)
    else:
        name = " on ".join(ways[0])
        say(name)
        expected = _outputs(bundle, *ways[0], images)[0]
    task, own = bundle.spec.task, bundle.spec.precision
    tolerances = {own: TOLERANCES[task, own]}
    reference_metrics = images.score(expected[: images.scored])
    differences = []

    def measure(
        backend: str, device: str, sha256: str, outputs: Outputs, precision: str = own
    ) -> None:
        tolerance = tolerances.setdefault(precision, TOLERANCES[task, precision])
        differences.append(
            compare(images, tolerance, expected, outputs, backend, device, sha256, precision)
        )

    for backend, device in ways:
        say(f"{backend} on {device}")
        outputs, sha256 = _outputs(bundle, backend, device, images)
        measure(backend, device, sha256, outputs, own_arithmetic(backend) or own)
    if own in ("fp16", "bf16"):
        say("rounded after each node")
        outputs = run_rounded(bundle.onnx.read_bytes(), images.batches)
        measure("rounded", "cpu", bundle.sha256, outputs)
    return Verification(name, reference_metrics, images, tolerances, differences)


def compare(
    images: HeldOut,
    tolerance: Tolerance,
    expected: Outputs,
    outputs: Outputs,
    backend: str,
    device: str,
    sha256: str,
    precision: str,
) -> Difference:
    """Outputs beside the expected ones.

    Raises:
        BackendError: other shapes or types than expected.
    """
    for one, other in zip(expected, outputs, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise BackendError(
                f"{backend} gave {other.dtype} {other.shape}, expected {one.dtype} {one.shape}"
            )
    gaps = np.concatenate(
        [
            np.abs(one.astype(np.float64) - other.astype(np.float64)).ravel()
            for one, other in zip(expected, outputs, strict=True)
        ]
    )
    finite = all(bool(np.isfinite(output).all()) for output in outputs)
    # NaN is no number to compare or to write as JSON: count it as the largest value there is.
    worst = 1.0 if outputs[0].dtype.kind == "f" else 255.0
    gaps = np.nan_to_num(gaps, nan=worst, posinf=worst)
    metrics = images.score(outputs[: images.scored])
    before = images.score(expected[: images.scored])
    classes = expected[0].shape[1] if expected[0].dtype.kind == "f" else 0
    lost = tolerance.exceeded(before, metrics, images.images, classes)
    largest, mean = float(gaps.max()), float(gaps.mean())
    return Difference(
        backend=backend,
        device=device,
        precision=precision,
        sha256=sha256,
        largest=largest,
        mean=mean,
        finite=finite,
        agreement=_agreement(expected[: images.scored], outputs[: images.scored]),
        metrics=metrics,
        within=finite and largest <= tolerance.largest and mean <= tolerance.mean and not lost,
    )


def _agreement(expected: Outputs, outputs: Outputs) -> float:
    if expected[0].dtype.kind == "f":
        same = [
            a.argmax(axis=1) == b.argmax(axis=1) for a, b in zip(expected, outputs, strict=True)
        ]
        return float(np.concatenate(same).mean())
    from dlkit.training.metrics import psnr

    return float(np.mean([psnr(a[0], b[0]) for a, b in zip(expected, outputs, strict=True)]))


def _outputs(bundle: Bundle, backend: str, device: str, images: HeldOut) -> tuple[Outputs, str]:
    session = open_session(bundle, backend, device).session
    return [session(batch) for batch in images.batches], session.sha256
