"""What a bundle is compared with: never itself.

Independent are the torch network that it was exported from, and the float32 graph that it was
converted from. A float32 bundle of dlkit's own recipes holds its weights by name: its network is
built anew in torch, which is another runtime and another graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import onnx_ir as ir
import torch
from google.protobuf.message import DecodeError
from torch import nn

from dlkit.bundle import Bundle, sha256, shipped
from dlkit.errors import DlkitError, UsageError, VerifyError
from dlkit.export.load_module import load_module, names_module
from dlkit.export.proof.file_reference import from_file, same_graph
from dlkit.export.proof.independent import Independent
from dlkit.export.trace import opset_for, trace, wrapped
from dlkit.export.weights import describe_module, network_in, state_sha256
from dlkit.given import path_of
from dlkit.graph.read import file_sha256
from dlkit.spec import ModelSpec
from dlkit.tasks import TASKS, Feeds, Outputs
from dlkit.training.engine.run import Run, is_run

# What may be named to compare with: a run or its folder, a bundle or its folder or name, an ONNX
# file, a module in torch or where one is made (package.module:factory).
Against: TypeAlias = "str | Path | Run | Bundle | nn.Module"


def find_reference(
    bundle: Bundle, against: Against | None = None, weights: Path | str | None = None
) -> Independent:
    """What is named; else the run around the bundle, the network in its own float32 graph, or the
    float32 graph that it was converted from, beside it or shipped.

    Args:
        weights: of the module, where ``against`` names one that is made without.

    Raises:
        UsageError: what was named does not fit; or the plug-in that it needs is not here.
        VerifyError: there is nothing independent; says where was looked.
    """
    if against is not None:
        return _named(bundle, against, weights)
    tried: list[str] = []
    for look in (_run_around, _own_network, _converted_from):
        found = look(bundle, tried)
        if found is not None:
            return found
    raise VerifyError(
        f"there is nothing independent to compare {bundle.path} with: {'; '.join(tried)}",
        "Say what it was made from: --against RUN, a float32 BUNDLE, FILE.onnx, or "
        "package.module:factory with --weights FILE",
    )


def _named(bundle: Bundle, against: Against, weights: Path | str | None) -> Independent:
    if isinstance(against, nn.Module):
        return _module(bundle, against, type(against).__name__)
    if isinstance(against, Run):
        return _run(bundle, against)
    if isinstance(against, Bundle):
        return _bundle(bundle, against)
    path = path_of(against, "the reference")
    if is_run(against):
        return _run(bundle, Run(path))
    if path.is_file():
        return from_file(bundle, path)
    if names_module(str(against)) and not path.exists():
        return _module(bundle, load_module(str(against), weights), str(against))
    if not path.exists() and str(against) not in shipped():
        raise UsageError(
            f"there is no run, bundle or ONNX file at {path}", "Name what the bundle was made from"
        )
    return _bundle(bundle, Bundle.open(against))


def _run_around(bundle: Bundle, tried: list[str]) -> Independent | None:
    run = Run(bundle.path.resolve().parent)
    wanted = bundle.origin.get("checkpoint_sha256")
    if wanted is None or not run.checkpoint.is_file() or sha256(run.checkpoint) != wanted:
        tried.append("no run around it that it was exported from")
        return None
    return _run(bundle, run)


def _own_network(bundle: Bundle, tried: list[str]) -> Independent | None:
    try:
        return _in_graph(bundle, bundle, "torch fp32, the bundle's weights")
    except DlkitError as error:
        tried.append(f"no network of its own ({error.what})")
        return None


def _converted_from(bundle: Bundle, tried: list[str]) -> Independent | None:
    wanted = bundle.origin.get("converted_from_sha256")
    if wanted == bundle.sha256:
        tried.append("the file that it was made from is the same graph")
        return None
    for original in _originals(bundle, wanted):
        return _bundle(bundle, original)
    for file in _source_files(bundle):
        if wanted is not None and file.is_file() and _hash_of(file) == wanted:
            if same_graph(bundle, file):
                tried.append(f"{file.name}, which it was made from, is the same graph")
                return None
            return from_file(bundle, file)
    tried.append("no float32 graph beside it, or shipped with dlkit, that it was converted from")
    return None


def _source_files(bundle: Bundle) -> Iterable[Path]:
    """Where the file may be that a bundle was made from."""
    folder = bundle.path.resolve()
    if source := bundle.origin.get("source"):
        yield folder / str(source)
    if name := bundle.origin.get("onnx_file"):
        yield folder.parent / str(name)


def _hash_of(file: Path) -> str | None:
    try:
        return file_sha256(file)
    except (OSError, ValueError, DecodeError):
        return None


def _originals(bundle: Bundle, wanted: str | None) -> Iterable[Bundle]:
    """Float32 bundles beside it, and shipped ones, that it was made from."""
    near = [*sorted(bundle.path.resolve().parent.glob("*/model.json"))]
    if source := bundle.origin.get("source"):
        near.insert(0, bundle.path.resolve() / str(source) / "model.json")
    for file in near:
        try:
            found = json.loads(file.read_bytes())["onnx"]["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not ours, or damaged: nobody asked for it
        if found == wanted != bundle.sha256:
            yield Bundle.open(file.parent)
    for name in shipped():
        original = Bundle.open(name)
        kin = original.sha256 == wanted or _same_training(bundle, original)
        if kin and original.sha256 != bundle.sha256:
            yield original


def _run(bundle: Bundle, run: Run) -> Independent:
    recipe = run.load_recipe()
    network = run.load_network()
    found = sha256(run.checkpoint)
    if (wanted := bundle.origin.get("checkpoint_sha256")) != found:
        said = f"its origin says {wanted[:12]}" if wanted else "it was made of no run"
        raise UsageError(
            f"{bundle.path} was not exported from the checkpoint in {run.path}, whose SHA-256 "
            f"begins {found[:12]}: {said}",
            "Export it again, or name another run",
        )
    model = wrapped(recipe.task, network, recipe.network.config, run.load_meaning())
    return _torch(bundle.spec, model, "torch fp32, the run's weights", found)


def _bundle(bundle: Bundle, original: Bundle) -> Independent:
    if original.spec.precision != "fp32":
        raise UsageError(
            f"{original.path} is {original.spec.precision}: a reference is float32",
            "Name the bundle, or the run, that it was made from",
        )
    ours, theirs = (one.origin.get("checkpoint_sha256") for one in (bundle, original))
    if ours and theirs and ours != theirs:
        raise UsageError(f"{original.path} does not hold the float32 weights of {bundle.path}")
    name = original.path.name
    try:
        found = _in_graph(bundle, original, f"torch fp32, the weights of {name}")
    except DlkitError:
        found = from_file(bundle, original.onnx, name)
    return replace(found, named=_kin(bundle, original))


def _kin(bundle: Bundle, original: Bundle) -> bool:
    """Whether they say that one was made of the other, or both of the same."""
    if bundle.origin.get("converted_from_sha256") == original.sha256:
        return True
    hashes = "checkpoint_sha256", "module_sha256", "around_sha256"
    return any(bundle.origin.get(one, "") == original.origin.get(one) for one in hashes)


def _in_graph(bundle: Bundle, original: Bundle, name: str) -> Independent:
    network, built = network_in(original)
    task = TASKS.load(original.spec.task)
    model = wrapped(task, built, network.config, original.origin.get("meaning", {}))
    return _torch(bundle.spec, model, name, original.sha256)


def _module(bundle: Bundle, module: nn.Module, name: str) -> Independent:
    digest = state_sha256(module)
    config, meaning = describe_module(bundle)
    model = wrapped(TASKS.load(bundle.spec.task), module.eval(), config, meaning)
    found = _torch(bundle.spec, model, f"torch fp32, {name}", digest)
    return replace(found, named=bundle.origin.get("module_sha256") == digest)


def _torch(spec: ModelSpec, model: nn.Module, name: str, digest: str) -> Independent:
    names = [one.name for one in spec.outputs]

    def run(batches: Sequence[Feeds]) -> Outputs:
        found = []
        with torch.inference_mode():
            for feeds in batches:
                given = [torch.from_numpy(feeds[one.name].copy()) for one in spec.inputs]
                outputs: Any = model(*given)
                several = outputs if isinstance(outputs, tuple | list) else (outputs,)
                arrays = [one.numpy() for one in several]
                found.append(dict(zip(names, arrays, strict=True)))
        return found

    def graph() -> ir.Model:
        return trace(model, spec, opset_for(spec.precision))

    return Independent(name, digest, run, graph)


def _same_training(one: Bundle, other: Bundle) -> bool:
    checkpoint = one.origin.get("checkpoint_sha256")
    return checkpoint is not None and checkpoint == other.origin.get("checkpoint_sha256")
