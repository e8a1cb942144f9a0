"""An ONNX file that somebody wrote, as a bundle: what it takes is read from it, not asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dlkit.bundle import Bundle
from dlkit.errors import BundleError, DlkitError, ExportError, UsageError
from dlkit.export.bundles import Wanted, check_apart, check_weights, lowered_bundle, named_source
from dlkit.export.doubles import without_doubles
from dlkit.export.pixels import Around, Pixels, plan, put_around
from dlkit.export.proof.layers import REQUIRED
from dlkit.export.proof.precision import check_precision
from dlkit.export.sample import measured
from dlkit.export.schemas import check_known
from dlkit.export.trace import check_graph, graph_tensors
from dlkit.export.write import serialised
from dlkit.graph.draws import random_nodes
from dlkit.graph.read import file_sha256, holds_all, read_graph, read_proto
from dlkit.graph.tidy import every_node, infer, tidied
from dlkit.spec import PRECISIONS, ModelSpec
from dlkit.tasks import TASKS, Task


@dataclass(frozen=True)
class Meaning:
    """What a person knows of an ONNX file that it does not say itself.

    Attributes:
        name: of the bundle, for people.
        task: that it serves; ``tensors`` by default.
        labels: of its classes, in their order.
        pixels: how uint8 pixels become what it takes; None: it takes them, or arrays, as they are.
        sizes: of the axes behind the first of its only or its image input, where it leaves them
            free.
        resize, multiple_of: as ``ModelSpec`` has them.
        spec: all of it, or a JSON file that says so, instead; checked against the graph.
    """

    name: str
    task: Task | None = None
    labels: Sequence[str] = ()
    pixels: Pixels | None = None
    sizes: Sequence[int] = ()
    resize: str = "stretch"
    multiple_of: int = 1
    spec: ModelSpec | Path | str | None = None


def from_onnx(path: Path, meaning: Meaning, wanted: Wanted) -> Bundle:
    """An ONNX file as a bundle, beside it by default.

    Raises:
        UsageError: the spec cannot be read; settings that do not fit; or it would be replaced.
        ExportError: it is no ONNX file, does not fit the spec, has operators that nobody knows, is
            not in its precision, or cannot be converted.
    """
    wanted.check()
    graph = tidied(read_graph(path))
    opsets = dict(graph.graph.opset_imports)
    for node in every_node(graph):
        check_known(node, opsets)
    check_weights(graph, path.name)
    _fix_sizes(graph, meaning.sizes)
    given = _spec(meaning.spec, graph, meaning.name)
    task = TASKS.load(given.task) if given else meaning.task or TASKS.load("tensors")
    around = plan(graph, meaning.pixels, task.gives)
    graph = put_around(graph, around)
    found = replace(given or _described(graph, task, meaning, around), precision="fp32")
    check_graph(graph, found)
    _check_task(path, task, found)
    own = own_precision(path, graph, found, wanted)
    if given and given.precision not in ("", own):
        raise ExportError(
            f"{path} is {own}, its spec says {given.precision}",
            f"Say {own} there, and convert it: --precision {given.precision}",
        )
    precision = wanted.precision or own
    spec = replace(found, precision=precision)
    check_apart(path, target := wanted.target(path.stem, precision, path.parent))
    origin: dict[str, Any] = {
        "onnx_file": path.name,
        "source": named_source(path, target),
        "converted_from_sha256": file_sha256(path),
        "around": around.to_json(),
        "around_sha256": file_sha256(path),
    }
    if draws := random_nodes(graph):
        origin["random"] = draws
    wide = precision == "fp32" and measured(graph, spec).work["fp64"]
    if wide:  # float64 is no precision that anything here computes in
        graph = without_doubles(graph)
    if precision == own:
        check_precision(graph, spec, wanted.keep)
        origin["kept_fp32"] = sorted(wanted.keep)
        same = around == Around() and not meaning.sizes and not wide
        origin["as_it_was"] = same
        if same and holds_all(path):
            return Bundle.create(target, path.read_bytes(), spec, origin)
        onnx, weights = serialised(read_proto(path) if same else graph)
        return Bundle.create(target, onnx, spec, origin, weights)
    if own != "fp32":
        raise UsageError(
            f"{path} is {own}: only fp32 can be converted to {precision}",
            "Give the float32 file that it came from",
        )
    return lowered_bundle(graph, spec, origin, wanted, target)


def own_precision(path: Path, graph: ir.Model, spec: ModelSpec, wanted: Wanted) -> str:
    """The type that enough of a graph's arithmetic and weights is in.

    Raises:
        ExportError: none is: it is a mixture.
    """
    counted = measured(graph, spec).without(wanted.keep)
    work = counted.work
    if work["fp32"] + work["fp64"] >= REQUIRED["fp32"] * work.total():
        return "fp32"
    for name in PRECISIONS[1:]:
        products, weights = counted.shares(name)
        if products >= REQUIRED[name] and (name == "int8" or weights >= REQUIRED[name]):
            return name
    shares = ", ".join(f"{kind} {amount / work.total():.0%}" for kind, amount in work.items())
    raise ExportError(
        f"{path} is a mixture ({shares} of its multiply-adds): no precision has enough of it",
        "Give the float32 file that it came from; or name the nodes that are not in the precision "
        "that you mean with --keep-fp32",
    )


def _described(graph: ir.Model, task: Task, meaning: Meaning, around: Around) -> ModelSpec:
    inputs, outputs = graph_tensors(graph)
    colour = "grey"
    if around.pixels is not None and around.pixels.colour is not None:
        colour = around.pixels.colour
    elif task.images and len(inputs[0].shape) == 4:
        colour = "rgb"
    scale = 1
    if task.gives == "pixels" and isinstance(outputs[0].shape[1], int):
        height = inputs[0].shape[1]
        scale = max(outputs[0].shape[1] // height, 1) if isinstance(height, int) else 1
    return ModelSpec(
        name=meaning.name,
        task=task.name,
        precision="fp32",
        inputs=inputs,
        outputs=outputs,
        labels=tuple(meaning.labels),
        colour=colour,
        resize=meaning.resize,
        multiple_of=meaning.multiple_of,
        scale=scale,
    )


def _check_task(path: Path, task: Task, spec: ModelSpec) -> None:
    try:
        spec.check()
        if task.images and len(spec.inputs) == 1 and spec.input.dtype != "uint8":
            raise BundleError(
                f"input is {spec.input}, expected uint8 pixels",
                "Say how pixels become that: --colour rgb --mean 0.485,0.456,0.406 --std "
                "0.229,0.224,0.225, or --scale 1 where it takes 0 to 255",
            )
        task.check(spec)
    except BundleError as error:
        raise ExportError(f"{path}: {error.what}", error.mend) from error


def _fix_sizes(graph: ir.Model, sizes: Sequence[int]) -> None:
    """Free axes of the image input, or of the only one, as the example says."""
    if not sizes:
        return
    fitting = [one for one in graph.graph.inputs
               if one.shape is not None and len(one.shape) == len(sizes) + 1]  # fmt: skip
    if len(fitting) != 1:
        raise UsageError(
            f"the example has {len(sizes)} axes, and {len(fitting)} inputs of the graph have one "
            "more, expected one",
            "Give the sizes behind the batch axis, e.g. 3x224x224",
        )
    shape = fitting[0].shape
    assert shape is not None
    for place, (size, axis) in enumerate(zip(sizes, shape[1:], strict=True), start=1):
        if isinstance(axis, int) and axis != size:
            raise UsageError(
                f"the example is {'x'.join(map(str, sizes))}, the graph's {fitting[0].name} is "
                f"{shape}"
            )
        shape = ir.Shape([*shape[:place], size, *shape[place + 1 :]])
    fitting[0].shape = shape
    for output in graph.graph.outputs:
        output.shape = None
    infer(graph)


def _spec(given: ModelSpec | Path | str | None, graph: ir.Model, name: str) -> ModelSpec | None:
    """A spec, or a JSON file that says all of it or what the graph does not: then names, types and
    shapes are read from it. ``input`` and ``output`` are those of a graph with one each.

    Raises:
        UsageError: it cannot be read.
    """
    if given is None or isinstance(given, ModelSpec):
        return given
    path = Path(given)
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds {type(data).__name__}, expected an object")
    data = data.get("spec", data)
    inputs, outputs = graph_tensors(graph)
    found: dict[str, Any] = {"name": name, "task": "tensors", "precision": ""}
    found |= {
        "inputs": [asdict(one) for one in inputs],
        "outputs": [asdict(one) for one in outputs],
    }
    for key, value in data.items() if isinstance(data, dict) else ():
        found |= {f"{key}s": [value]} if key in ("input", "output") else {key: value}
    unsaid = not found["precision"]
    if unsaid:
        found["precision"] = "fp32"
    try:
        spec = ModelSpec.from_json(found)
    except DlkitError as error:
        raise UsageError(f"{path}: {error.what}", error.mend) from error
    return replace(spec, precision="") if unsaid else spec
