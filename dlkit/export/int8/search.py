"""int8: quantise all layers, measure the task metric, leave out what loses it, or refuse."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime

from dlkit.bundle import Bundle, Measured
from dlkit.errors import BackendError, ExportError
from dlkit.export.int8.inputs import check_inputs
from dlkit.export.int8.qdq import QdqGraph
from dlkit.export.lower import Say, check_model, silent
from dlkit.export.proof.compare import Expected, said
from dlkit.export.proof.layers import REQUIRED
from dlkit.export.run_graph import run_graph
from dlkit.export.sample import measured
from dlkit.runtime.session import open_session, runnable
from dlkit.spec import ModelSpec
from dlkit.tasks import TASKS, Calibration, Feeds, HeldOut, Outputs, Tolerance

_RANKED_BATCHES = 2  # on which the damage of single layers is compared
_NAMED = 5  # layers that an error names
_MARGIN = 0.5


@dataclass(frozen=True)
class Quantised:
    """An int8 graph inside the stated loss.

    Attributes:
        graph: bytes of the ONNX file.
        report: how it was made and what it lost, for a bundle's origin: ``library``,
            ``calibration`` and ``validation`` (name, inputs, hash, and short hashes of the samples
            in one string; metrics of float32, and of int8 by backend), ``all_of_it`` (the data has
            no part that neither saw), ``tolerance``, ``left_fp32`` (layers that the search left
            out) and ``share`` (of multiply-adds in int8, 0 to 1).
    """

    graph: bytes
    report: dict[str, Any]


def quantize(
    graph: bytes,
    spec: ModelSpec,
    origin: Mapping[str, Any],
    keep: Collection[str] = (),
    data: str | None = None,
    say: Say = silent,
) -> Quantised:
    """Quantise a float32 graph, within the tolerance of int8 for its task.

    All layers first. When that loses too much, the layers are ranked by the damage that each does
    alone, and the fewest from the top of that list stay float32 with which the loss is allowed.
    Measured on every backend that this machine has for the CPU: they need not agree, since each
    moves the rounding to where it likes. At least ``REQUIRED["int8"]`` of the multiply-adds must
    remain in eight bits.

    Training inputs are not held-out ones, so metrics may fall by ``_MARGIN`` of the tolerance here,
    and outputs must be as alike as ``Task.least_agreement`` demands.

    Args:
        graph: bytes of an ONNX file.
        origin: of the bundle: its ``recipe`` and ``dataset`` say what the network was trained on.
        keep: names of nodes that stay float32 in any case.
        data: as ``Task.calibration`` takes it.
        say: called with what is done next.

    Raises:
        ExportError: a name in ``keep`` is no node's; nothing is left to quantise; or int8 loses
            more than is allowed.
        InputError, UsageError: no training inputs.
    """
    qdq = QdqGraph(graph, measured(graph, spec).sizes)
    if unknown := sorted(set(keep) - qdq.names):
        raise ExportError(
            f"to keep in fp32: the graph has no node {', '.join(unknown[:_NAMED])}; its layers are "
            f"{', '.join(qdq.layers[:_NAMED])}, ...",
            "Was the list made for another network?",
        )
    if not sum(qdq.multiply_adds.values()):
        raise ExportError(
            f"{spec.name}: its layers multiply nothing on inputs of this size: there is nothing to "
            "quantise",
            "Use --precision fp32",
        )
    layers = [name for name in qdq.layers if name not in keep]
    if not layers:
        raise ExportError(f"{spec.name}: every layer is to stay in fp32", "Use --precision fp32")
    say("reading training inputs")
    task = TASKS.load(spec.task)
    inputs = task.calibration(spec, origin, data, sum(qdq.multiply_adds.values()))
    check_inputs(inputs)
    say(f"calibrating on {inputs.ranges.count} inputs")
    qdq.calibrate(inputs.batches)
    search = _Search(qdq, spec, layers, inputs, say)
    best = search.fewest()
    check_model(onnx.load_from_string(best.graph), spec.name)
    return Quantised(best.graph, _report(inputs, search, best))


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
    ways: list[Measured]
    within: bool
    tolerance: Tolerance

    def __str__(self) -> str:
        found = []
        for way in self.ways:
            off = said(way, self.tolerance.channel)
            parts = _metrics(way.metrics), f"mean difference {way.mean:.3g}", off
            found.append(f"{', '.join(filter(None, parts))} ({way.backend})")
        return ", ".join(found)


class _Search:
    """One graph, and what it loses when some of its layers are in eight bits."""

    def __init__(
        self, qdq: QdqGraph, spec: ModelSpec, layers: list[str], inputs: Calibration, say: Say
    ) -> None:
        self.qdq, self.spec, self.layers, self.say = qdq, spec, layers, say
        self.validation = inputs.validation
        task = TASKS.load(spec.task)
        self.stated = task.tolerances["int8"]
        loss = {name: most * _MARGIN for name, most in self.stated.loss.items()}
        self.tolerance = replace(self.stated, loss=loss)
        say(f"float32 on {self.validation.count} other inputs")
        outputs = run_graph(qdq.quantised([]), self.validation.batches)
        self.expected = Expected.of(task, self.validation, outputs)
        self.least_agreement = task.least_agreement(
            spec, self.stated, self.validation, self.expected.metrics
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
        ways = [
            self.expected.beside(outputs, self.tolerance, backend, "int8")
            for backend, outputs in self._outputs(graph, self.validation.batches).items()
        ]
        return Tried(left, graph, ways, all(map(self._accepts, ways)), self.tolerance)

    def _accepts(self, way: Measured) -> bool:
        return way.within and way.agreement >= self.least_agreement

    def _outputs(self, graph: bytes, batches: list[Feeds]) -> dict[str, Outputs]:
        """By backend."""
        found = {}
        with TemporaryDirectory() as folder:
            spec = replace(self.spec, precision="int8")
            bundle = Bundle.create(Path(folder) / "bundle", graph, spec, {})
            for backend, device in runnable(bundle):
                if device != "cpu":
                    continue
                with suppress(BackendError):  # it does not run the float32 graph either
                    session = open_session(bundle, backend, device).session
                    found[backend] = [session.run(feeds) for feeds in batches]
                    session.close()
        if not found:
            raise BackendError(
                "int8 is measured where it is made, and nothing here can run it",
                "Install onnxruntime or openvino",
            )
        return found

    def _ranked(self) -> list[str]:
        """Layers by the mean difference of the output when each alone is in eight bits."""
        few = self.validation.batches[:_RANKED_BATCHES]
        damage = {}
        for index, name in enumerate(self.layers):
            self.say(f"layer {index + 1} of {len(self.layers)} alone in int8: {name}")
            ways = self._outputs(self.qdq.quantised([name]), few).values()
            damage[name] = max(_mean_gap(self.expected.outputs, outputs) for outputs in ways)
        return sorted(self.layers, key=lambda name: -damage[name])

    def _droppable(self, order: list[str]) -> list[str]:
        """From the top of the list, as many as may stay float32."""
        chosen: list[str] = []
        for name in order:
            if self.share([*chosen, name]) >= REQUIRED["int8"]:
                chosen.append(name)
        return chosen

    def _refusal(self, everything: Tried, least: Tried) -> ExportError:
        metrics = self.expected.metrics
        before = f"fp32 has {_metrics(metrics)}; " if metrics else ""
        allowed = _allowed(self.tolerance, metrics)
        named = ", ".join(least.left[:_NAMED]) + (", ..." if len(least.left) > _NAMED else "")
        with_some = f"; with {named} in fp32: {least}" if least.left else ""
        return ExportError(
            f"{self.spec.name}: int8 loses too much: {before}"
            f"all layers in int8: {everything}{with_some}; on {self.validation.count} inputs of "
            f"{self.validation.name}; allowed: {allowed}{', ' if allowed else ''}"
            f"mean difference {self.tolerance.mean:g}, and half of the multiply-adds in int8",
            "Use --precision fp16, or --data with inputs like those that it will see",
        )


def _report(inputs: Calibration, search: _Search, best: Tried) -> dict[str, Any]:
    def described(part: HeldOut) -> dict[str, Any]:
        return {
            "name": part.name,
            "count": part.count,
            "sha256": part.fingerprint(),
            "samples": "".join(part.samples()),
        }

    return {
        "library": f"onnxruntime {onnxruntime.__version__}",
        "calibration": described(inputs.ranges),
        "validation": {
            **described(inputs.validation),
            "fp32": dict(search.expected.metrics),
            "int8": {way.backend: dict(way.metrics) for way in best.ways},
        },
        "all_of_it": inputs.all_of_it,
        "tolerance": asdict(search.stated),
        "left_fp32": sorted(best.left),
        "share": round(search.share(best.left), 4),
    }


def _mean_gap(expected: Outputs, outputs: Outputs) -> float:
    """Mean absolute difference, over as many batches as there are outputs."""
    pairs = list(zip(expected[: len(outputs)], outputs, strict=True))
    if any(one[name].shape != other[name].shape for one, other in pairs for name in one):
        return np.inf  # a size depends on the data: not even that is the same
    gaps = [
        np.abs(one[name].astype(np.float64) - other[name].astype(np.float64)).ravel()
        for one, other in pairs
        for name in one
    ]
    return float(np.concatenate(gaps).mean())


def _metrics(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.5g}" for name, value in values.items())


def _allowed(tolerance: Tolerance, metrics: Collection[str]) -> str:
    return ", ".join(f"{name} lower by {tolerance.loss.get(name, 0):g}" for name in metrics)
