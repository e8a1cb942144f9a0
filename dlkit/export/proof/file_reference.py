"""An ONNX file as what a bundle is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from dlkit.bundle import Bundle
from dlkit.errors import ExportError, InputError, UsageError
from dlkit.export.pixels import Around, put_around
from dlkit.export.proof.around import feeds_within, outputs_without
from dlkit.export.proof.independent import Independent
from dlkit.export.proof.layers import REQUIRED
from dlkit.export.run_graph import run_graph
from dlkit.export.sample import Sizes, measured
from dlkit.export.trace import same_tensors
from dlkit.graph.content import content_sha256
from dlkit.graph.read import file_sha256, read_graph
from dlkit.graph.tidy import tidied
from dlkit.tasks import Feeds, Outputs


def same_graph(bundle: Bundle, path: Path) -> bool:
    """Whether an ONNX file computes what the bundle's own graph does, with the same nodes and
    weights, whatever those are called and wherever they lie.

    Raises:
        ExportError: the file cannot be read.
    """
    if file_sha256(path) == bundle.sha256:
        return True
    if bundle.spec.precision != "fp32":
        return False  # a reference is float32
    file, own = (content_sha256(tidied(read_graph(one))) for one in (path, bundle.onnx))
    return file == own


def from_file(bundle: Bundle, path: Path, name: str = "") -> Independent:
    """A float32 graph in ONNX Runtime; what dlkit put around the bundle's is done in numpy.

    Raises:
        UsageError: it is no graph, is not float32, does not take what the bundle takes, or is the
            bundle's own graph, as ``same_graph`` has it.
    """
    try:
        graph, same = tidied(read_graph(path)), same_graph(bundle, path)
    except ExportError as error:
        raise UsageError(error.what, error.mend) from error
    if same:
        raise UsageError(
            f"{path} holds the very graph that is verified: nothing is compared with itself",
            "Compare it with the module in torch that it was made from: "
            f"dlkit verify {path} --against MODULE",
        )
    digest = file_sha256(path)
    around, names = Around(), {}
    if bundle.origin.get("around_sha256") == digest:
        around = Around.from_json(bundle.origin["around"])
    if around == Around():
        names = same_tensors(graph, bundle.spec)

    def within(sizes: Sizes) -> Sizes:
        blank = {name: np.zeros(shape, np.uint8) for name, shape in sizes.items()}
        inside = {name: array.shape for name, array in feeds_within(blank, around).items()}
        return _renamed(inside, names)

    counted = measured(graph, bundle.spec, within)
    if sum(counted.shares(kind)[0] for kind in ("fp32", "fp64")) < REQUIRED["fp32"]:
        raise UsageError(
            f"{path} is {counted.precision}, not float32: a reference is", "Name the float32 file"
        )

    def run(batches: Sequence[Feeds]) -> Outputs:
        given = [_renamed(feeds_within(feeds, around), names) for feeds in batches]
        ours = {theirs: name for name, theirs in names.items()}
        try:
            answers = run_graph(path, given)
        except Exception as error:  # ONNX Runtime's exceptions have no common public base
            line = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{path} does not take these inputs: {line}",
                "Give inputs that it was made for, with --data FILE.npz",
            ) from error
        found = [_renamed(outputs, ours) for outputs in answers]
        return [outputs_without(outputs, around) for outputs in found]

    def whole() -> ir.Model:
        return put_around(tidied(read_graph(path)), around)

    origins = (bundle.origin.get(one) for one in ("converted_from_sha256", "around_sha256"))
    named = digest in origins
    return Independent(f"onnxruntime fp32, {name or path.name}", digest, run, whole, named)


def _renamed(arrays: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): array for name, array in arrays.items()}
