"""Judge ONNX files beside the float32 graph that they were made from.

Steps: valid, shares, rounded, onnxruntime, openvino, engine, and again.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import foreign_inputs
import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

Calls = Sequence[Mapping[str, NDArray[Any]]]
# One kind of GPU: builds for all of them say the same and take four times as long.
_COMPUTE = ("8.9",)
AGAIN = 120  # calls
_REASON = 400  # characters of an error


def valid(file: Path, _: Path, __: Calls) -> dict[str, Any]:
    """ONNX's checker, with types and shapes."""
    onnx.checker.check_model(str(file), full_check=True)
    return {}


def shares(file: Path, _: Path, calls: Calls) -> dict[str, Any]:
    """Share of the multiply-adds and of the weights in each type, counted on the graph."""
    import onnx_ir as ir

    from dlkit.graph.measure import measure
    from dlkit.graph.tidy import tidied

    graph = tidied(ir.from_proto(onnx.load(file)))  # read_graph refuses what is not valid
    found = measure(graph, {name: one.shape for name, one in calls[0].items()})
    work = found.multiply_adds if found.multiply_adds.total() else found.operations
    return {
        "multiply_adds": _shares(work), "weights": _shares(found.elements),
        "gmac": found.multiply_adds.total() / 1e9, "parameters": found.elements.total(),
    }  # fmt: skip


def _shares(counted: Mapping[str, int]) -> dict[str, float]:
    whole = sum(counted.values())
    return {kind: count / whole for kind, count in counted.items()} if whole else {}


def rounded(file: Path, source: Path, calls: Calls) -> dict[str, Any]:
    """Differences where every value of 16 bits is rounded: what a GPU does and a CPU hides."""
    return compare(reference(source, calls), _run(_rounded(file), calls, optimise=False))


def again(file: Path, source: Path, before: Calls) -> dict[str, Any]:
    """Mean differences of each of many further calls: what is chance, and what is not."""
    inputs = json.loads(source.with_name("about.json").read_text())["inputs"]
    numbers = foreign_inputs.numbers(len(before) + AGAIN)[len(before) :]
    calls = [foreign_inputs.call(inputs, number) for number in numbers]
    both = zip(_run(source, calls), _run(_rounded(file), calls, optimise=False), strict=True)
    return {"means": [compare([wanted], [got])["mean"] for wanted, got in both]}


def _rounded(file: Path) -> bytes:
    from dlkit.export.proof.rounding import rounded as rounding

    model = onnx.load(file)
    _cast_constants(model.graph)
    return bytes(ir.to_proto(rounding(ir.from_proto(model))).SerializeToString())


def _cast_constants(graph: Any) -> None:
    """Fill in float32 and cast what peers fill in float16: rounding looks for casts."""
    for node in list(graph.node):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _cast_constants(attribute.g)
            elif node.op_type == "ConstantOfShape" and (
                attribute.t.data_type == onnx.TensorProto.FLOAT16
            ):
                wide = onnx.numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(wide))
                name, node.output[0] = node.output[0], f"{node.output[0]}_filled"
                cast = onnx.helper.make_node(
                    "Cast", [node.output[0]], [name], to=onnx.TensorProto.FLOAT16
                )
                graph.node.insert(list(graph.node).index(node) + 1, cast)


def onnxruntime(file: Path, source: Path, calls: Calls) -> dict[str, Any]:
    """Differences as ONNX Runtime runs it on the CPU."""
    return compare(reference(source, calls), _run(file, calls))


def openvino(file: Path, source: Path, calls: Calls) -> dict[str, Any]:
    """Differences as OpenVINO runs it on the CPU."""
    import openvino as ov

    core = ov.Core()
    model = core.compile_model(core.read_model(file), "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})
    names = [one.any_name for one in model.inputs]
    called = {name: next((known for known in one.names if known in calls[0]), name)
              for name, one in zip(names, model.inputs, strict=True)}  # fmt: skip
    wanted = reference(source, calls)
    outputs = []
    for feeds in calls:
        found = model({name: feeds[called[name]] for name in names if called[name] in feeds})
        outputs.append(dict(zip(wanted[0], found.values(), strict=True)))
    return compare(wanted, outputs)


def engine(file: Path, _: Path, calls: Calls) -> dict[str, Any]:
    """Build an engine with TensorRT for RTX, strongly typed, for the shapes of the inputs.

    Of a bundle as dlkit does, which also proves the precision of what TensorRT makes of it.
    """
    if (file.parent / "model.json").is_file():
        return _dlkit_engine(file.parent, calls)
    import tensorrt_rtx as trt

    log = _Log(trt)
    builder = trt.Builder(log.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse_from_file(str(file)):
        errors = [parser.get_error(place) for place in range(parser.num_errors)]
        said = "; ".join(f"{one.node_operator() or ''} {one.desc()}".strip() for one in errors)
        raise RuntimeError(f"cannot be parsed: {said or log.last}")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        if tensor.is_shape_tensor:
            whole = [int(one) for one in np.atleast_1d(calls[0][tensor.name])]
            profile.set_shape_input(tensor.name, whole, whole, whole)
        elif -1 in tuple(tensor.shape):
            profile.set_shape(tensor.name, *[calls[0][tensor.name].shape] * 3)
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError(f"cannot be built: {log.last}")
    return {"bytes": plan.nbytes}


def _dlkit_engine(folder: Path, calls: Calls) -> dict[str, Any]:
    import dlkit

    bundle = dlkit.Bundle.open(folder)
    axes = {axis: (size, size, size) for one in bundle.spec.inputs
            for axis, size in zip(one.shape, calls[0][one.name].shape, strict=True)
            if isinstance(axis, str)}  # fmt: skip
    built = dlkit.build_engine(
        bundle, axes=axes, flavor="tensorrt_rtx", compute=_COMPUTE, rebuild=True
    )
    found = {"bytes": built.path.stat().st_size, "proof": dict(built.proof["multiply_adds"])}
    built.path.unlink()  # some are large, and all that is asked is whether it can be built
    return found


class _Log:
    """TensorRT's last error."""

    def __init__(self, trt: Any) -> None:
        self.last = ""
        holder = self

        class Logger(trt.ILogger):  # type: ignore[misc]
            def log(self, severity: Any, message: str) -> None:
                if severity <= trt.Logger.ERROR:
                    holder.last = message

        self.logger = Logger()


def reference(source: Path, calls: Calls) -> list[dict[str, NDArray[Any]]]:
    """Outputs of the float32 graph, kept beside it."""
    kept = source.parent / "reference.npz"
    if not kept.is_file():
        outputs = _run(source, calls)
        np.savez(kept, **{f"{n}/{name}": array for n, one in enumerate(outputs)
                          for name, array in one.items()})  # fmt: skip
    return foreign_inputs.read(kept)


def _run(file: Path | bytes, calls: Calls, optimise: bool = True) -> list[dict[str, NDArray[Any]]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return [dict(zip(names, map(np.asarray, session.run(None, dict(feeds))), strict=True))
            for feeds in calls]  # fmt: skip


def compare(
    wanted: Sequence[Mapping[str, NDArray[Any]]], got: Sequence[Mapping[str, NDArray[Any]]]
) -> dict[str, Any]:
    """Mean and largest difference over all calls, of the output where each is largest.

    Numbers of floating point are divided by the output's scale, its largest finite magnitude; of
    others the mean is the share that differs. NaN and infinity where the reference has none (or
    other ones) count as a whole scale.
    """
    mean = largest = 0.0
    broken = 0
    for name in wanted[0]:
        gaps = []
        finite = [
            one[name][np.isfinite(one[name])] for one in wanted if one[name].dtype.kind == "f"
        ]
        scale = max((float(np.abs(one).max(initial=0)) for one in finite), default=1.0) or 1.0
        for one, other in zip(wanted, got, strict=True):
            left, right = one[name], np.asarray(other[name])
            if left.shape != right.shape:
                return {
                    "mean": None,
                    "largest": None,
                    "shapes": f"{name} {left.shape} {right.shape}",
                }
            if left.dtype.kind != "f":
                gaps.append((left != right).astype(np.float64).ravel())
                continue
            a, b = left.astype(np.float64), right.astype(np.float64)
            with np.errstate(invalid="ignore"):
                gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b) / scale)
            broken += int((~np.isfinite(gap)).sum())
            gaps.append(np.nan_to_num(gap, nan=1.0, posinf=1.0).ravel())
        whole = np.concatenate(gaps)
        if whole.size:
            mean, largest = max(mean, float(whole.mean())), max(largest, float(whole.max()))
    return {"mean": mean, "largest": largest, "broken": broken}


STEPS: dict[str, Callable[[Path, Path, Calls], dict[str, Any]]] = {
    "valid": valid, "shares": shares, "rounded": rounded, "onnxruntime": onnxruntime,
    "openvino": openvino, "engine": engine, "again": again,
}  # fmt: skip


def judge(folder: Path, jobs: Sequence[tuple[str, str, Path]], found: Any) -> None:
    """Take steps and send what each gives, as it is done, so that a crash leaves what was found.

    Args:
        folder: with the float32 graph and its inputs.
        jobs: name of the conversion, step, and file.
        found: the end of a pipe that takes (name, step, result).
    """
    calls = foreign_inputs.read(folder / "inputs.npz")
    for name, step, file in jobs:
        begun = time.perf_counter()
        try:
            one = {"ok": True, **STEPS[step](file, folder / "model.onnx", calls)}
        except Exception as error:  # what a library says of a file is the result
            said = " ".join(str(error).split()) or repr(error)
            one = {"ok": False, "why": f"{type(error).__name__}: {said}"[:_REASON]}
        one["seconds"] = round(time.perf_counter() - begun, 1)
        found.send((name, step, one))


def convert(source: Path, target: Path, precision: str, data: Path | None, found: Any) -> None:
    """dlkit's conversion, into a bundle at ``target``; sends its result."""
    import dlkit

    begun = time.perf_counter()
    one: dict[str, Any] = {"ok": True}
    try:
        options = {} if data is None else {"data": str(data)}
        dlkit.export(source, precision, target, **options)
    except dlkit.DlkitError as error:
        one = {"ok": False, "why": f"{error.what}"[:_REASON], "mend": error.mend}
    except Exception as error:  # a bug of dlkit: the table says so
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        one = {"ok": False, "why": f"BUG {type(error).__name__}: {error} ({where})"[:_REASON],
               "log": traceback.format_exc()[-3000:]}  # fmt: skip
    found.send({**one, "seconds": round(time.perf_counter() - begun, 1)})
