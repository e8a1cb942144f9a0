"""What is verified: a bundle; or, for a comparison alone, an ONNX file, a run or a module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from dlkit.bundle import Bundle, shipped
from dlkit.errors import UsageError
from dlkit.export.bundles import Wanted
from dlkit.export.load_module import load_module, names_module
from dlkit.export.proof.reference import Against
from dlkit.export.sample import measured
from dlkit.export.source import from_run
from dlkit.export.trace import graph_tensors, opset_for, trace
from dlkit.export.write import serialised
from dlkit.given import path_of
from dlkit.graph.read import file_sha256, read_graph, read_proto
from dlkit.graph.tidy import tidied
from dlkit.spec import PRECISIONS, ModelSpec
from dlkit.training.engine.run import Run, is_run


def subject(
    what: str | Path | Bundle | Run | nn.Module,
    against: Against | None,
    folder: Path,
    weights: Path | str | None = None,
) -> Bundle:
    """A bundle of it in ``folder``, which is the caller's; or the bundle that it is.

    Args:
        what: a bundle, its folder, or the name of a shipped one; an ONNX file; a run or its folder;
            a module in torch, or where one is made (package.module:factory).
        against: of a module: the ONNX file or bundle that says what it takes.
        weights: of a module that is named.

    Raises:
        UsageError: it is nothing; or a module, and nobody says what it takes.
    """
    if isinstance(what, Bundle):
        return what
    if isinstance(what, Run):
        return from_run(what, Wanted(out=folder / "run"))
    if isinstance(what, nn.Module):
        return _of_module(what, against, folder)
    path = path_of(what, "what is verified")
    if path.is_file():
        return of_file(path, folder)
    if is_run(what):
        return from_run(Run(path), Wanted(out=folder / "run"))
    if not path.exists() and str(what) not in shipped() and names_module(str(what)):
        return _of_module(load_module(str(what), weights), against, folder)
    return Bundle.open(what)


def of_file(path: Path, folder: Path) -> Bundle:
    """An ONNX file as it is, called by the type of most of its arithmetic."""
    graph = tidied(read_graph(path))
    inputs, outputs = graph_tensors(graph)
    spec = ModelSpec(path.stem, "tensors", "fp32", inputs, outputs)
    kind = measured(graph, spec).precision
    spec = replace(spec, precision=kind if kind in PRECISIONS else "fp32")
    onnx, held = serialised(read_proto(path))
    origin = {"onnx_file": path.name, "converted_from_sha256": file_sha256(path)}
    return Bundle.create(folder / "file", onnx, spec, origin, held)


def _of_module(module: nn.Module, against: Against | None, folder: Path) -> Bundle:
    if isinstance(against, str | Path) and Path(against).is_file():
        inputs, outputs = graph_tensors(tidied(read_graph(Path(against))))
    elif isinstance(against, Bundle | str | Path):
        spec = (against if isinstance(against, Bundle) else Bundle.open(against)).spec
        inputs, outputs = spec.inputs, spec.outputs
    else:
        raise UsageError(
            "nobody says what the module takes",
            "Name an ONNX file or a bundle with --against; or export it first: dlkit export",
        )
    spec = ModelSpec(type(module).__name__.lower(), "tensors", "fp32", inputs, outputs)
    graph = trace(module.eval(), spec, opset_for("fp32"))
    onnx, held = serialised(graph)
    return Bundle.create(folder / "module", onnx, spec, {}, held)
