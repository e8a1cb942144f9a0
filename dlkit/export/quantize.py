"""int8: quantise all layers, measure the task metric, leave out what loses it, or refuse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime

from dlkit.bundle import Bundle
from dlkit.errors import BackendError, ExportError
from dlkit.export.calibration import Calibration, calibration_images
from dlkit.export.held_out import Batch, Outputs
from dlkit.export.proof import REQUIRED
from dlkit.export.qdq import QdqGraph, run
from dlkit.export.verify import TOLERANCES, Difference, Tolerance, compare
from dlkit.runtime.session import open_session, runnable
from dlkit.spec import ModelSpec

Progress = Callable[[str], None]

_BLANK = 96  # rows and columns of a scan on which arithmetic is counted, about
_RANKED_BATCHES = 2  # on which the damage of single layers is compared
_NAMED = 5  # layers that an error names
_MARGIN = 0.5


@dataclass(frozen=True)
class Quantised:
    """An int8 graph inside the stated loss.

    Attributes:
        graph: bytes of the ONNX file.
        report: how it was made and what it lost, for a bundle's origin: ``library``,
            ``calibration`` and ``validation`` (name, images and hash; metrics of float32, and of
            int8 by backend), ``tolerance``, ``left_fp32`` (layers that the search left out) and
            ``share`` (of multiply-adds in int8, 0 to 1).
    """

    graph: bytes
    report: dict[str, Any]


def quantize(
    graph: bytes,
    spec: ModelSpec,
    origin: Mapping[str, Any],
    keep: Collection[str] = (),
    data: str | None = None,
    progress: Progress | None = None,
) -> Quantised:
    """Quantise a float32 graph, within the tolerance of int8 for its task.

    All layers first. When that loses too much, the layers are ranked by the damage that each does
    alone, and the fewest from the top of that list stay float32 with which the loss is allowed.
    Measured on every backend that this machine has for the CPU: they need not agree, since each
    moves the rounding to where it likes. At least ``REQUIRED["int8"]`` of the multiply-adds must
    remain in eight bits.

    Training images are not held-out ones, so the metric may fall by ``_MARGIN`` of the tolerance
    here; and the change of an image must be so small that it would be inside the tolerance, too, if
    it were unrelated to the error that is there: on few scans, int8 gains as often as it loses.

    Args:
        graph: bytes of an ONNX file.
        origin: of the bundle: its ``recipe`` and ``dataset`` say what the network was trained on.
        keep: names of nodes that stay float32 in any case.
        data: as ``calibration_images`` takes it.
        progress: called with what is done next.

    Raises:
        ExportError: a name in ``keep`` is no node's; nothing is left to quantise; or int8 loses
            more than is allowed.
        InputError, UsageError: no training images.
    """
    say = progress or (lambda _: None)
    qdq = QdqGraph(graph, _blank(spec))
    if unknown := sorted(set(keep) - qdq.names):
        raise ExportError(
            f"to keep in fp32: the graph has no node {', '.join(unknown[:_NAMED])}. Was the list "
            f"made for another network? Its layers are {', '.join(qdq.layers[:_NAMED])}, ..."
        )
    layers = [name for name in qdq.layers if name not in keep]
    if not layers:
        raise ExportError(f"{spec.name}: every layer is to stay in fp32. Use --precision fp32")
    say("reading training images")
    images = calibration_images(
        spec, origin.get("recipe"), origin.get("dataset"), data, sum(qdq.multiply_adds.values())
    )
    say(f"calibrating on {images.ranges.images} images")
    qdq.calibrate(images.batches)
    search = _Search(qdq, spec, layers, images, say)
    best = search.fewest()
    try:
        onnx.checker.check_model(onnx.load_from_string(best.graph), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{spec.name}: the int8 graph is invalid: {error}") from error
    return Quantised(best.graph, _report(images, search, best))


@dataclass(frozen=True)
class Tried:
    """One choice of layers.

    Attributes:
        left: layers in float32.
        ways: what was measured, one a backend.
        within: inside the tolerance on every backend.
    """

    left: list[str]
    graph: bytes
    ways: list[Difference]
    within: bool

    def __str__(self) -> str:
        return ", ".join(
            f"{_metrics(way.metrics)}, mean difference {way.mean:.3g} ({way.backend})"
            for way in self.ways
        )


class _Search:
    """One graph, and what it loses when some of its layers are in eight bits."""

    def __init__(
        self, qdq: QdqGraph, spec: ModelSpec, layers: list[str], images: Calibration, say: Progress
    ) -> None:
        self.qdq, self.spec, self.layers, self.images, self.say = qdq, spec, layers, images, say
        stated = TOLERANCES[spec.task, "int8"]
        ssim = None if stated.ssim is None else stated.ssim * _MARGIN
        self.stated = stated
        self.tolerance = replace(stated, loss=stated.loss * _MARGIN, ssim=ssim)
        say(f"float32 on {images.validation.images} other images")
        validation = images.validation
        self.expected = run(qdq.quantised([]), validation.batches)
        self.before = validation.score(self.expected)
        # An output that is worse than the scan itself is an untrained network's.
        self.cleans = (
            spec.task == "denoise"
            and self.before["psnr"] > validation.score(list(validation.batches))["psnr"]
        )

    def fewest(self) -> Tried:
        """With the fewest layers in float32.

        Raises:
            ExportError: too much is lost with as many as may stay float32.
        """
        self.say(f"int8 in all {len(self.layers)} layers")
        everything = self._try([])
        if everything.within:
            return everything
        order = self._droppable(self._ranked())
        low, high = 0, len(order)  # so many from the top: too few, enough
        best = self._try(order) if order else everything
        if not best.within:
            raise self._refusal(everything, best)
        while high - low > 1:
            middle = (low + high) // 2
            self.say(f"int8 without {middle} of {len(self.layers)} layers")
            tried = self._try(order[:middle])
            if tried.within:
                high, best = middle, tried
            else:
                low = middle
        return best

    def share(self, left: Collection[str]) -> float:
        """Of the multiply-adds of all layers that may be quantised, how much is."""
        whole = sum(self.qdq.multiply_adds[name] for name in self.layers)
        return 1 - sum(self.qdq.multiply_adds[name] for name in left) / whole

    def _try(self, left: list[str]) -> Tried:
        graph = self.qdq.quantised([name for name in self.layers if name not in left])
        validation = replace(self.images.validation, score=self._score)
        ways = [
            compare(validation, self.tolerance, self.expected, outputs, backend, "cpu", "", "int8")
            for backend, outputs in self._outputs(graph, validation.batches).items()
        ]
        return Tried(left, graph, ways, all(map(self._accepts, ways)))

    def _score(self, outputs: Outputs) -> dict[str, float]:
        """Task metrics; those of float32 are known, and SSIM takes its time."""
        if all(one is other for one, other in zip(outputs, self.expected, strict=True)):
            return self.before
        return self.images.validation.score(outputs)

    def _accepts(self, way: Difference) -> bool:
        if not self.cleans:
            return way.within
        # Squared errors add when they are unrelated; agreement is the PSNR of int8 to float32.
        added = 10 * np.log10(1 + 10 ** ((self.before["psnr"] - way.agreement) / 10))
        return way.within and bool(added <= self.stated.loss)

    def _outputs(self, graph: bytes, batches: list[Batch]) -> dict[str, Outputs]:
        """By backend."""
        found = {}
        with TemporaryDirectory() as folder:
            spec = replace(self.spec, precision="int8")
            bundle = Bundle.create(Path(folder) / "bundle", graph, spec, {})
            for backend, device in runnable(bundle):
                if device == "cpu":
                    session = open_session(bundle, backend, device).session
                    found[backend] = [session(batch) for batch in batches]
        if not found:
            raise BackendError("int8 is measured where it is made: install onnxruntime or openvino")
        return found

    def _ranked(self) -> list[str]:
        """Layers by the mean difference of the output when each alone is in eight bits."""
        few = self.images.validation.batches[:_RANKED_BATCHES]
        damage = {}
        for index, name in enumerate(self.layers):
            self.say(f"layer {index + 1} of {len(self.layers)} alone in int8: {name}")
            ways = self._outputs(self.qdq.quantised([name]), few).values()
            damage[name] = max(_mean_gap(self.expected, outputs) for outputs in ways)
        return sorted(self.layers, key=lambda name: -damage[name])

    def _droppable(self, order: list[str]) -> list[str]:
        """From the top of the list, as many as may stay float32."""
        chosen: list[str] = []
        for name in order:
            if self.share([*chosen, name]) >= REQUIRED["int8"]:
                chosen.append(name)
        return chosen

    def _refusal(self, everything: Tried, least: Tried) -> ExportError:
        validation = self.images.validation
        named = ", ".join(least.left[:_NAMED]) + (", ..." if len(least.left) > _NAMED else "")
        with_some = f"; with {named} in fp32: {least}" if least.left else ""
        return ExportError(
            f"{self.spec.name}: int8 loses too much: fp32 has {_metrics(self.before)}; all layers "
            f"in int8: {everything}{with_some}; on {validation.images} images of "
            f"{validation.name}. Allowed: {_allowed(self.tolerance, self.before)}, mean difference "
            f"{self.tolerance.mean:g}, and half of the multiply-adds in int8. Use --precision "
            "fp16, or --data with images like those that it will see"
        )


def _report(images: Calibration, search: _Search, best: Tried) -> dict[str, Any]:
    def described(part: Any) -> dict[str, Any]:
        return {"name": part.name, "images": part.images, "sha256": part.fingerprint()}

    return {
        "library": f"onnxruntime {onnxruntime.__version__}",
        "calibration": described(images.ranges),
        "validation": {
            **described(images.validation),
            "fp32": search.before,
            "int8": {way.backend: way.metrics for way in best.ways},
        },
        "tolerance": asdict(search.stated),
        "left_fp32": sorted(best.left),
        "share": round(search.share(best.left), 4),
    }


def _blank(spec: ModelSpec) -> Batch:
    size = -(-_BLANK // spec.multiple_of) * spec.multiple_of
    shape = [axis if isinstance(axis, int) else size for axis in spec.input.shape[1:]]
    return np.zeros((1, *shape), np.uint8)


def _mean_gap(expected: Outputs, outputs: Outputs) -> float:
    """Mean absolute difference, over as many batches as there are outputs."""
    pairs = zip(expected[: len(outputs)], outputs, strict=True)
    gaps = [np.abs(a.astype(np.float64) - b.astype(np.float64)).ravel() for a, b in pairs]
    return float(np.concatenate(gaps).mean())


def _metrics(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.5g}" for name, value in values.items())


def _allowed(tolerance: Tolerance, metrics: Collection[str]) -> str:
    losses = dict.fromkeys(metrics, tolerance.loss)
    if "ssim" in losses and tolerance.ssim is not None:
        losses["ssim"] = tolerance.ssim
    return ", ".join(f"{name} lower by {loss:g}" for name, loss in losses.items())
