"""What can be exported: a run, a bundle, an ONNX file, a module in torch; always into a bundle."""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import nn

from dlkit.bundle import Bundle, sha256, shipped
from dlkit.errors import BundleError, ExportError, UsageError
from dlkit.export.int8.search import quantize
from dlkit.export.lower import Say, lower, silent
from dlkit.export.modules import Example, Images, describe
from dlkit.export.proof.precision import check_precision
from dlkit.export.trace import (
    OPSET_BFLOAT16,
    check_graph,
    graph_tensors,
    opset_for,
    trace,
    wrapped,
)
from dlkit.export.weights import state_sha256
from dlkit.plugins import unknown
from dlkit.spec import PRECISIONS, ModelSpec
from dlkit.tasks import TASKS, Task
from dlkit.training.engine.run import Run


@dataclass(frozen=True)
class Wanted:
    """What the bundle is to be.

    Attributes:
        precision: one of ``PRECISIONS``; None: float32 of what torch holds, else as it is.
        out: its folder; a folder beside what it is made from by default.
        keep: names of nodes that stay float32, for all but ``fp32``.
        data: int8: what is calibrated on, as ``Task.calibration`` takes it.
        say: called with what is done next.
    """

    precision: str | None = None
    out: Path | None = None
    keep: Collection[str] = ()
    data: str | None = None
    say: Say = silent

    def check(self) -> None:
        """Refuse what cannot be, before anything is computed.

        Raises:
            UsageError: an unknown precision, or data that nobody needs.
        """
        if self.precision is not None and self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, list(PRECISIONS))
        if self.data is not None and self.precision != "int8":
            raise UsageError(
                "--data has the inputs that int8 is calibrated on; the other precisions need none",
                "Leave it out",
            )


def from_run(run: Run, wanted: Wanted) -> Bundle:
    """A trained run as a bundle, inside the run by default.

    Raises:
        TrainingError: no run, or a damaged one.
        UsageError: the plug-in that it came from is not here.
        ExportError: the graph cannot be made, or int8 loses too much.
    """
    wanted.check()
    precision = wanted.precision or "fp32"
    recipe, meaning = run.load_recipe(), run.load_meaning()
    name, network = run.path.resolve().name, recipe.network
    task, config = recipe.task, network.config
    spec = task.describe(config, meaning, network.architecture.multiple_of)
    spec = replace(spec, name=name, precision=precision)
    model = wrapped(task, run.load_network(), config, meaning)
    origin = {
        "run": name,
        "checkpoint_sha256": sha256(run.checkpoint),
        "recipe": recipe.to_json(),
        "dataset": run.load_checkpoint().get("dataset"),
        "meaning": meaning,
    }
    target = wanted.out or run.path / f"bundle-{precision}"
    return _from_torch(model, spec, origin, wanted, target)


def from_module(
    module: nn.Module,
    name: str,
    task: Task,
    example: Example,
    images: Images,
    wanted: Wanted,
    source: str = "",
) -> Bundle:
    """A module in torch as a bundle, in the working directory by default.

    Args:
        example, images: as ``modules.describe`` takes them.
        source: where the module was made, for the bundle's origin.

    Raises:
        ExportError: the graph cannot be made, or int8 loses too much.
        UsageError: settings that do not fit.
    """
    wanted.check()
    precision = wanted.precision or "fp32"
    found = describe(module, name, task, example, images)
    spec = replace(found.spec, precision=precision)
    origin = {
        "module": source or f"{type(module).__module__}:{type(module).__qualname__}",
        "module_sha256": state_sha256(module),
        **found.origin,
    }
    return _from_torch(found.model, spec, origin, wanted, wanted.out or Path(f"{name}-{precision}"))


def from_bundle(bundle: Bundle, wanted: Wanted) -> Bundle:
    """A bundle in another precision; or itself, copied where ``out`` says so.

    Raises:
        UsageError: it is not float32 and should become something else.
        ExportError: as ``lower``; or int8 loses too much.
    """
    wanted.check()
    precision = wanted.precision or bundle.spec.precision
    if precision == bundle.spec.precision and not wanted.keep:
        return bundle if wanted.out is None else bundle.copy(wanted.out)
    beside = Path(bundle.spec.name) if bundle.shipped else bundle.path
    stem = beside.name.removesuffix(f"-{bundle.spec.precision}")
    target = wanted.out or beside.with_name(f"{stem}-{precision}")
    origin = {**bundle.origin, "converted_from_sha256": bundle.sha256}
    return _converted(bundle.onnx, bundle.spec, precision, origin, wanted, target)


def from_onnx(path: Path, spec: ModelSpec | Path | str | None, name: str, wanted: Wanted) -> Bundle:
    """An ONNX file as a bundle, beside it by default.

    Args:
        spec: what it means, or a JSON file that says so. None: arrays in and out, as the graph
            says.
        name: for people, where no spec has one.

    Raises:
        UsageError: the spec cannot be read.
        ExportError: it is no ONNX file, does not fit the spec, or cannot be converted.
    """
    wanted.check()
    graph = _load(path)
    if spec is None:
        inputs, outputs = graph_tensors(graph)
        found = ModelSpec(name, "tensors", "fp32", inputs, outputs)
    else:
        found = spec if isinstance(spec, ModelSpec) else _read_spec(Path(spec))
    check_graph(graph, found)
    try:
        TASKS.load(found.task).check(found)
    except BundleError as error:
        raise ExportError(f"{path}: {error.what}", error.mend) from error
    precision = wanted.precision or found.precision
    origin = {"onnx_file": path.name, "converted_from_sha256": sha256(path)}
    target = wanted.out or path.with_name(f"{path.stem}-bundle-{precision}")
    if precision == found.precision and not wanted.keep:
        whole = path.read_bytes()
        check_precision(whole, found)
        return Bundle.create(target, whole, found, origin)
    return _converted(path, found, precision, origin, wanted, target)


def own_copy(bundle: Bundle, out: Path | None = None) -> Bundle:
    """The bundle to write into: itself; a copy at ``out``; of a shipped one, which is read-only, a
    copy in the working directory.

    Raises:
        BundleError: another bundle is there already.
    """
    if out is None and not bundle.shipped:
        return bundle
    target = out or Path(f"{bundle.spec.name}-{bundle.spec.precision}")
    if not (target / "model.json").is_file():
        return bundle.copy(target)
    there = Bundle.open(target)
    if (there.sha256, there.spec_sha256) != (bundle.sha256, bundle.spec_sha256):
        raise BundleError(f"{target} holds another bundle", "Choose another folder with --out")
    return there


def no_source(source: str) -> UsageError:
    """The error of a source that is nothing."""
    return UsageError(
        f"there is no run, bundle or ONNX file at {source}",
        "Train a run: dlkit train lenet_relu; name a module: package.module:factory; or a bundle "
        f"that ships with dlkit: {', '.join(shipped())}",
    )


def _from_torch(
    model: nn.Module, spec: ModelSpec, origin: dict[str, Any], wanted: Wanted, target: Path
) -> Bundle:
    wanted.say("tracing")
    graph = trace(model, spec, opset_for(spec.precision))
    origin |= {
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "opset": graph.opset_imports[""],
        "date": datetime.date.today().isoformat(),
    }
    return _lowered(graph, spec, origin, wanted, target)


def _converted(
    path: Path,
    spec: ModelSpec,
    precision: str,
    origin: dict[str, Any],
    wanted: Wanted,
    target: Path,
) -> Bundle:
    if spec.precision != "fp32":
        raise UsageError(
            f"{path} is {spec.precision}: only fp32 can be converted to {precision}",
            "Give the run, or the fp32 bundle, that it came from",
        )
    graph = _load(path)
    opset = graph.opset_imports.get("", 0)
    if precision == "bf16" and opset < OPSET_BFLOAT16:
        raise ExportError(
            f"{path} has opset {opset}, bfloat16 convolutions need {OPSET_BFLOAT16}",
            "Export the run with --precision bf16",
        )
    return _lowered(graph, replace(spec, precision=precision), origin, wanted, target)


def _lowered(
    graph: ir.Model, spec: ModelSpec, origin: dict[str, Any], wanted: Wanted, target: Path
) -> Bundle:
    """The bundle of a float32 graph, in the precision of its spec."""
    origin["kept_fp32"] = sorted(wanted.keep)
    if spec.precision == "int8":
        whole = lower(graph, spec.name, "fp32")
        found = quantize(whole, spec, origin, wanted.keep, wanted.data, wanted.say)
        whole, origin["int8"] = found.graph, found.report
    else:
        whole = lower(graph, spec.name, spec.precision, wanted.keep)
        check_precision(whole, spec, wanted.keep)
    return Bundle.create(target, whole, spec, origin)


def _load(path: Path) -> ir.Model:
    try:
        # shapes that the file does not note are found where they can be
        return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.load(path)))
    except Exception as error:  # protobuf's and onnx's errors have no common public base
        raise ExportError(f"{path} is no ONNX file that can be read: {error}") from error


def _read_spec(path: Path) -> ModelSpec:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, Mapping):
        raise UsageError(f"{path} holds {type(data).__name__}, expected an object")
    return ModelSpec.from_json(data.get("spec", data))
