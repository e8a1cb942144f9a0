"""A run, a bundle or a module in torch into a bundle; ``foreign`` takes ONNX files."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from dlkit.bundle import Bundle, sha256, shipped
from dlkit.bundle.own import own_files
from dlkit.errors import BundleError, UsageError
from dlkit.export.bundles import Wanted, check_apart, lowered_bundle, named_source
from dlkit.export.modules import Example, Images, describe
from dlkit.export.trace import opset_for, trace, wrapped
from dlkit.export.weights import state_sha256
from dlkit.graph.read import read_graph
from dlkit.spec import ModelSpec
from dlkit.tasks import Task
from dlkit.training.engine.run import Run


def from_run(run: Run, wanted: Wanted) -> Bundle:
    """A trained run as a bundle, inside the run by default.

    Raises:
        TrainingError: no run, or a damaged one.
        UsageError: the plug-in that it came from is not here.
        ExportError: the graph cannot be made, or int8 loses too much.
    """
    wanted.check()
    precision = wanted.precision or "fp32"
    trained = run.load_network()
    recipe, meaning = run.load_recipe(), run.load_meaning()
    name, network = run.path.resolve().name, recipe.network
    task, config = recipe.task, network.config
    spec = task.describe(config, meaning, network.architecture.multiple_of)
    spec = replace(spec, name=name, precision=precision)
    model = wrapped(task, trained, config, meaning)
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
    source: Mapping[str, str] | None = None,
) -> Bundle:
    """A module in torch as a bundle, in the working directory by default.

    Args:
        example, images: as ``modules.describe`` takes them.
        source: for the bundle's origin: ``module`` that it was named by, ``weights`` that it got.

    Raises:
        ExportError: the graph cannot be made, or int8 loses too much.
        UsageError: settings that do not fit.
    """
    wanted.check()
    precision = wanted.precision or "fp32"
    found = describe(module, name, task, example, images)
    spec = replace(found.spec, precision=precision)
    origin = {
        "module": f"{type(module).__module__}:{type(module).__qualname__}",
        **(source or {}),
        "module_sha256": state_sha256(module),
        **found.origin,
    }
    return _from_torch(found.model, spec, origin, wanted, wanted.out or Path(f"{name}-{precision}"))


def from_bundle(bundle: Bundle, wanted: Wanted) -> Bundle:
    """A bundle in another precision; or itself, copied where ``out`` says so.

    Raises:
        UsageError: it is not float32 and should become something else; or would be replaced.
        ExportError: as ``lower``; or int8 loses too much.
    """
    wanted.check()
    precision = wanted.precision or bundle.spec.precision
    if precision == bundle.spec.precision and not wanted.keep:
        return bundle if wanted.out is None else bundle.copy(wanted.out)
    beside = Path(bundle.spec.name) if bundle.shipped else bundle.path
    stem = beside.name.removesuffix(f"-{bundle.spec.precision}")
    target = wanted.out or beside.with_name(f"{stem}-{precision}")
    if bundle.spec.precision != "fp32":
        raise UsageError(
            f"{bundle.path} is {bundle.spec.precision}: only fp32 can be converted to {precision}",
            "Give the run, or the fp32 bundle, that it came from",
        )
    check_apart(bundle.path, target)
    origin = {
        **bundle.origin,
        "converted_from_sha256": bundle.sha256,
        "source": "" if bundle.shipped else named_source(bundle.path, target),
    }
    spec = replace(bundle.spec, precision=precision)
    return lowered_bundle(read_graph(bundle.onnx), spec, origin, wanted, target)


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
    own_files(target)  # what is no bundle is refused before the work
    wanted.say("tracing")
    graph = trace(model, spec, opset_for(spec.precision))
    origin |= {
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "opset": graph.opset_imports[""],
        "date": datetime.date.today().isoformat(),
    }
    return lowered_bundle(graph, spec, origin, wanted, target)
