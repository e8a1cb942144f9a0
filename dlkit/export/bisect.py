"""Which nodes must stay float32? The smallest set with which a half-precision graph is right again.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
TSE 2002) on the set of nodes that stay float32, after a first guess from the activations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from dlkit.bundle import Bundle
from dlkit.errors import ExportError, UsageError, VerifyError
from dlkit.export.held_out import Batch, HeldOut, Outputs, held_out
from dlkit.export.onnx import lower, trace
from dlkit.export.precision import lowered, module_of
from dlkit.export.reference import find_network, pixels_of, torch_reference
from dlkit.export.rounding import run_rounded
from dlkit.export.verify import TOLERANCES, Difference, compare
from dlkit.spec import ModelSpec

_LARGEST = {"fp16": float(np.finfo(np.float16).max), "bf16": float(np.finfo(np.float32).max)}
# Few images are enough to see what overflows, and each test runs all of them.
IMAGES = {"recognize": 64, "denoise": 2}

Runner = Callable[[bytes, list[Batch]], Outputs]


@dataclass(frozen=True)
class Culprit:
    """A node that must stay float32.

    Attributes:
        node, operator: its name and type in the graph.
        module: dotted name of the module of the network that it came from; may be empty.
        largest: its largest absolute output in float32, on the held-out images.
    """

    node: str
    operator: str
    module: str
    largest: float


@dataclass(frozen=True)
class Bisection:
    """What a bisection found.

    Attributes:
        culprits: in the graph's order; empty when the graph is within tolerance as it is.
        before, after: the graph's difference without and with the culprits in float32.
        low: nodes that half precision takes without a list.
        tests: graphs that were run.
    """

    culprits: list[Culprit]
    before: Difference
    after: Difference
    low: int
    tests: int


def bisect(
    bundle: Bundle,
    run: Path | None = None,
    data: str | None = None,
    limit: int | None = None,
    runner: Runner = run_rounded,
    progress: Callable[[str], None] | None = None,
) -> Bisection:
    """Find the smallest set of nodes of a half-precision bundle that must stay float32.

    Smallest means that none of them can be left out.

    Args:
        run: the run that the bundle was exported from; the folder around it by default.
        data, limit: as ``held_out`` takes them; ``IMAGES`` by default.
        runner: runs a graph; ONNX Runtime on the CPU, rounding after every node, by default.
        progress: called with what is tried next.

    Raises:
        UsageError: the bundle is not half precision.
        VerifyError: the run is not known, or keeping all nodes in float32 does not help either.
    """
    precision = bundle.spec.precision
    if precision not in _LARGEST:
        raise UsageError(
            f"{bundle.path} is {precision}: bisect looks for the nodes that fp16 or bf16 spoil"
        )
    found = find_network(bundle, run)
    if found is None:
        raise VerifyError(
            f"the run that {bundle.path} was exported from is not known, and bisect needs its "
            "float32 weights: give --run RUN"
        )
    recipe, network, _ = found
    pixels = pixels_of(bundle)
    graph, spec = trace(recipe, network, bundle.spec.name, precision, pixels)
    full = bytes(ir.to_proto(graph).SerializeToString())
    images = held_out(spec, data, limit or IMAGES[spec.task])
    expected = torch_reference(recipe, network, pixels)(images.batches)
    search = _Search(full, spec, images, expected, runner, progress)
    before = search.measure(bundle.onnx.read_bytes())
    if before.within:
        return Bisection([], before, before, len(search.low), search.tests)
    if search.passes(bundle.origin.get("kept_fp32", ())):
        raise VerifyError(
            f"{bundle.path} is out of tolerance and a fresh export is not: it holds another graph "
            "than its run gives. Export it again"
        )
    everything = [node.name or "" for node in search.low]
    peaks = largest_outputs(full, everything, images.batches)
    start = search.overflowing(peaks, _LARGEST[precision])
    if not start or not search.passes(start):
        start = everything
        if not search.passes(start):
            raise VerifyError(
                f"{bundle.path} stays out of tolerance with every node in float32: "
                "precision is not what is wrong. Compare with dlkit verify RUN/bundle-fp32"
            )
    names = search.minimise(start)
    culprits = [
        Culprit(node.name or "", node.op_type, module_of(node), peaks[node.name or ""])
        for node in search.low
        if node.name in names
    ]
    return Bisection(culprits, before, search.difference(names), len(search.low), search.tests)


def write_list(path: Path, bundle: Bundle, bisection: Bisection) -> None:
    """The file that ``dlkit export --keep-fp32`` takes."""
    nodes = [
        {"node": one.node, "operator": one.operator, "module": one.module}
        for one in bisection.culprits
    ]
    data = {"keep_fp32": nodes, "network": bundle.spec.name, "precision": bundle.spec.precision}
    path.write_text(json.dumps(data, indent=2) + "\n")


def read_list(path: Path) -> list[str]:
    """Names of nodes from what ``write_list`` wrote.

    Raises:
        UsageError: missing, or no such list.
    """
    try:
        return [str(entry["node"]) for entry in json.loads(path.read_text())["keep_fp32"]]
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no {path}. Make it: dlkit verify BUNDLE --bisect --out {path}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f'{path} is no list of nodes: expected {{"keep_fp32": [{{"node": "..."}}]}}, as '
            "dlkit verify BUNDLE --bisect writes it"
        ) from error


def largest_outputs(graph: bytes, nodes: Sequence[str], batches: list[Batch]) -> dict[str, float]:
    """Largest absolute output of each named node of a float32 graph, over all batches."""
    model = onnx.load_from_string(graph)
    outputs = {node.name: node.output[0] for node in model.graph.node if node.name in nodes}
    there = {output.name for output in model.graph.output}
    for name in outputs.values():
        if name not in there:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (source,) = (item.name for item in session.get_inputs())
    peaks = dict.fromkeys(outputs, 0.0)
    for batch in batches:
        values = session.run(list(outputs.values()), {source: batch})
        for node, value in zip(outputs, values, strict=True):
            peaks[node] = max(peaks[node], float(np.abs(value).max(initial=0)))
    return peaks


class _Search:
    """One graph, and what happens to it when some of its nodes stay float32."""

    def __init__(
        self,
        full: bytes,
        spec: ModelSpec,
        images: HeldOut,
        expected: Outputs,
        runner: Runner,
        progress: Callable[[str], None] | None,
    ) -> None:
        self.full, self.precision, self.name = full, spec.precision, spec.name
        self.images, self.expected, self.runner = images, expected, runner
        self.progress = progress or (lambda _: None)
        self.tolerance = TOLERANCES[spec.task, spec.precision]
        self.low = lowered(list(self._graph().graph))
        self.tests = 0
        self._known: dict[frozenset[str], bool] = {}

    def _graph(self) -> ir.Model:
        return ir.from_proto(onnx.load_from_string(self.full))

    def difference(self, keep: Collection[str]) -> Difference:
        """Run the graph with ``keep`` in float32."""
        self.progress(f"graph {self.tests + 1}: {len(keep)} nodes in fp32")
        return self.measure(lower(self._graph(), self.name, self.precision, keep))

    def measure(self, graph: bytes) -> Difference:
        """Run a graph and compare."""
        self.tests += 1
        outputs = self.runner(graph, self.images.batches)
        way = ("rounded", "cpu", "", self.precision)
        return compare(self.images, self.tolerance, self.expected, outputs, *way)

    def passes(self, keep: Collection[str]) -> bool:
        """Whether it is then within tolerance. A weight that float16 cannot hold is not."""
        key = frozenset(keep)
        if key not in self._known:
            try:
                self._known[key] = self.difference(keep).within
            except ExportError:
                self._known[key] = False
        return self._known[key]

    def overflowing(self, peaks: dict[str, float], most: float) -> list[str]:
        """Nodes whose output does not fit, and the nodes that read such outputs."""
        guess = []
        for node in self.low:
            makers = [value.producer() for value in node.inputs if value is not None]
            values = [node, *(maker for maker in makers if maker is not None)]
            if any(peaks.get(value.name or "", 0.0) > most for value in values):
                guess.append(node.name or "")
        return guess

    def minimise(self, keep: Sequence[str]) -> list[str]:
        """ddmin: a set that passes, from which nothing can be left out."""
        current, parts = list(keep), 2
        while len(current) >= 2:
            size = -(-len(current) // parts)
            chunks = [current[at : at + size] for at in range(0, len(current), size)]
            smaller = next((chunk for chunk in chunks if self.passes(chunk)), None)
            if smaller is not None:
                current, parts = smaller, 2
                continue
            rests = ([n for n in current if n not in chunk] for chunk in chunks)
            rest = next((rest for rest in rests if self.passes(rest)), None)
            if rest is not None:
                current, parts = rest, max(parts - 1, 2)
            elif size == 1:
                break
            else:
                parts = min(parts * 2, len(current))
        return current
