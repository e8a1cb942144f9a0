"""Which nodes must stay float32? The smallest set with which a half-precision graph is right again.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
TSE 2002) on the set of nodes that stay float32, after a first guess from the activations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from dlkit.atomic import check_file, write_bytes
from dlkit.bundle import Bundle, Measured
from dlkit.errors import UsageError, VerifyError
from dlkit.export.half import lowered, module_of, to_half
from dlkit.export.inside import look
from dlkit.export.lower import Say, prepared, silent
from dlkit.export.proof.compare import Expected
from dlkit.export.proof.inputs import Data, held_out
from dlkit.export.proof.reference import Against, find_reference
from dlkit.export.proof.rounding import ROUNDED, run_rounded
from dlkit.export.ranges import see_ranges
from dlkit.graph.read import read_graph
from dlkit.graph.tidy import every_node
from dlkit.tasks import TASKS, Feeds, Outputs

# So many batches of one sample on a CPU are enough to see what overflows, and each test runs all.
_BATCHES = 2

GraphRunner: TypeAlias = Callable[[ir.Model, list[Feeds]], Outputs]  # may change the graph


@dataclass(frozen=True)
class Culprit:
    """A node that must stay float32.

    Attributes:
        node, operator: its name and type in the graph.
        module: dotted name of the module of the network that it came from; may be empty.
        largest: its largest absolute output in float32, on the held-out inputs.
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
    before: Measured
    after: Measured
    low: int
    tests: int


def bisect(
    bundle: Bundle,
    against: Against | None = None,
    data: Data | None = None,
    count: int | None = None,
    weights: Path | str | None = None,
    runner: GraphRunner = run_rounded,
    say: Say = silent,
) -> Bisection:
    """Find the smallest set of nodes of a half-precision bundle that must stay float32.

    Smallest means that none of them can be left out.

    Args:
        against, weights: as ``find_reference`` takes them.
        data, count: as ``held_out`` takes them; a few inputs by default.
        runner: runs a graph; ONNX Runtime on the CPU, rounding after every node, by default.
        say: called with what is tried next.

    Raises:
        UsageError: the bundle is not half precision, or what was named does not fit.
        VerifyError: its float32 network is not known, or keeping all nodes in float32 does not help
            either.
    """
    precision = bundle.spec.precision
    if precision not in ROUNDED:
        raise UsageError(
            f"{bundle.path} is {precision}: bisect looks for the nodes that fp16 or bf16 spoil"
        )
    task = TASKS.load(bundle.spec.task)
    reference = find_reference(bundle, against, weights)
    full = reference.graph()
    inputs = held_out(bundle, data, count or _BATCHES * task.batch["cpu"])
    expected = Expected.of(task, inputs, reference.run(inputs.batches))
    search = _Search(full, bundle, expected, runner, say)
    before = search.measure(read_graph(bundle.onnx))
    if before.within:
        return Bisection([], before, before, len(search.low), search.tests)
    kept = {*bundle.origin.get("kept_fp32", ()), *bundle.origin.get("left_fp32", ())}
    if search.passes(kept):
        raise VerifyError(
            f"{bundle.path} is out of tolerance and a fresh export is not: it holds another graph "
            "than its network gives",
            "Export it again",
        )
    everything = [node.name or "" for node in search.low]
    start = search.losing(inputs.batches)
    if not start or not search.passes(start):
        start = everything
        if not search.passes(start):
            raise VerifyError(
                f"{bundle.path} stays out of tolerance with every node in float32: precision is "
                "not what is wrong",
                "Look at the fp32 bundle first: dlkit verify",
            )
    names = search.minimise(start)
    peaks = largest_outputs(search.full, names, inputs.batches)
    culprits = [
        Culprit(node.name or "", node.op_type, module_of(node), peaks.get(node.name or "", 0.0))
        for node in search.low
        if node.name in names
    ]
    return Bisection(culprits, before, search.difference(names), len(search.low), search.tests)


def check_list(path: Path) -> None:
    """Refuse to put a list in the place of something else.

    Raises:
        UsageError: something else is there.
    """
    check_file(path)
    if path.exists():
        try:
            own = "keep_fp32" in json.loads(path.read_bytes())
        except (ValueError, TypeError, OSError, RecursionError):
            own = False
        if not own:
            raise UsageError(
                f"{path} is no list of nodes, and is not replaced", "Choose another --out"
            )


def write_list(path: Path, bundle: Bundle, bisection: Bisection) -> None:
    """The file that ``dlkit export --keep-fp32`` takes."""
    nodes = [
        {"node": one.node, "operator": one.operator, "module": one.module}
        for one in bisection.culprits
    ]
    data = {"keep_fp32": nodes, "network": bundle.spec.name, "precision": bundle.spec.precision}
    write_bytes(path, (json.dumps(data, indent=2) + "\n").encode())


def read_list(path: Path) -> list[str]:
    """Names of nodes from what ``write_list`` wrote.

    Raises:
        UsageError: missing, or no such list.
    """
    try:
        return [str(entry["node"]) for entry in json.loads(path.read_text())["keep_fp32"]]
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no {path}", f"Make it: dlkit verify BUNDLE --bisect --out {path}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f'{path} is no list of nodes: expected {{"keep_fp32": [{{"node": "..."}}]}}',
            "Make it: dlkit verify BUNDLE --bisect",
        ) from error


def largest_outputs(
    graph: ir.Model, nodes: Sequence[str], batches: list[Feeds]
) -> dict[str, float]:
    """Largest absolute output of each named node of a float32 graph, over all batches."""
    makers = {str(node.outputs[0].name): str(node.name) for node in every_node(graph)
              if node.name in nodes}  # fmt: skip
    seen = look(graph, makers, batches, "fp16")
    return {node: seen.extents[tensor].largest if tensor in seen.extents else 0.0
            for tensor, node in makers.items()}  # fmt: skip


class _Search:
    """One graph, and what happens to it when some of its nodes stay float32."""

    def __init__(
        self, full: ir.Model, bundle: Bundle, expected: Expected, runner: GraphRunner, say: Say
    ) -> None:
        self.precision = bundle.spec.precision
        self.full = prepared(full, self.precision)
        self.expected, self.runner, self.say = expected, runner, say
        self.tolerance = expected.task.tolerances[self.precision]
        self.low = lowered(self.full, self.precision)
        self.tests = 0
        self._known: dict[frozenset[str], bool] = {}

    def difference(self, keep: Collection[str]) -> Measured:
        """Run the graph with ``keep`` in float32."""
        self.say(f"graph {self.tests + 1}: {len(keep)} nodes in fp32")
        return self.measure(to_half(self.full.clone(), self.precision, keep))

    def measure(self, graph: ir.Model) -> Measured:
        """Run a graph and compare."""
        self.tests += 1
        outputs = self.runner(graph, self.expected.data.batches)
        return self.expected.beside(outputs, self.tolerance, "rounded", self.precision)

    def passes(self, keep: Collection[str]) -> bool:
        """Whether it is then within tolerance. A weight that float16 cannot hold is not."""
        key = frozenset(keep)
        if key not in self._known:
            self._known[key] = self.difference(keep).within
        return self._known[key]

    def losing(self, batches: Sequence[Feeds]) -> list[str]:
        """Nodes that take or give what half precision cannot hold on these inputs."""
        lost = see_ranges(self.full, self.precision, batches).lost
        without = {node.name for node in lowered(self.full, self.precision, (), lost)}
        return [node.name or "" for node in self.low if node.name not in without]

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
