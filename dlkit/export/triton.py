"""A bundle as a model of Triton Inference Server: REPO/NAME/config.pbtxt, the file that runs, its
labels and an image to warm up with.

The text follows ``model_config.proto`` of Triton's common repository. What Triton would refuse to
load, or would load and answer wrongly, is refused here.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.atomic import atomic_folder
from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine
from dlkit.bundle.own import WEIGHTS
from dlkit.errors import DlkitError, ExportError, InputError, UsageError
from dlkit.kept import check_outside
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks import TASKS

CONFIG = "config.pbtxt"
_MARK = "# made by dlkit"
_WARM = "sample"  # of the warm-up, and its folder's file names
# model_config.proto, enum DataType, by numpy's names.
_TYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
    "float32": "FP32", "float64": "FP64", "bfloat16": "BF16",
}  # fmt: skip


@dataclass(frozen=True)
class Batching:
    """How Triton gathers requests.

    Attributes:
        largest: batch.
        preferred: a batch that is run at once; None where nobody measured one.
        delay: microseconds that a request may wait for others.
    """

    largest: int
    preferred: int | None = None
    delay: int = 0


def to_triton(
    bundle: Bundle,
    repository: Path | str,
    engine: Engine | None = None,
    largest: int | None = None,
    report: Path | None = None,
    response_cache: bool = False,
) -> Path:
    """Write a bundle into a model repository, as version 1 of a model of its name.

    Args:
        repository: its folder; others' models in it stay, and other files and versions of this one.
        engine: to run in the place of the graph.
        largest: batch of the graph; the task's largest by default. An engine has its own.
        report: of ``dlkit bench --json``, for the best batch and how long to wait for it.
        response_cache: answers are kept; the server needs ``--cache-config`` for that.

    Returns:
        The model's folder.

    Raises:
        ExportError: Triton could not load it, or not run it right.
        UsageError: something that dlkit did not write is in the way; or it is dlkit's own package.
        InputError: the report is none, or does not know the bundle.
    """
    spec = bundle.spec
    check_outside(Path(repository), "--triton")
    _check(bundle, engine)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", spec.name)
    target = Path(repository) / name
    if target.exists() and not _is_ours(target):
        raise UsageError(
            f"{target} is there already, and dlkit did not write it", "Choose another repository"
        )
    batching = _batching(bundle, engine, largest, report)
    sample = _sample(spec, bundle.origin)
    with atomic_folder(target, _own(target)) as part:
        version = part / "1"
        version.mkdir(parents=True)
        if engine is not None:
            (version / "model.plan").write_bytes(engine.read())
        else:
            shutil.copyfile(bundle.onnx, version / "model.onnx")
            if bundle.weights is not None:
                shutil.copyfile(bundle.weights, version / bundle.weights.name)
        if _classes(spec) is not None:
            (part / "labels.txt").write_text(
                "".join(f"{one}\n" for one in spec.labels), encoding="utf-8"
            )
        (part / "warmup").mkdir()
        for number, one in enumerate(spec.inputs if sample else ()):
            data = np.ascontiguousarray(sample[one.name])
            (part / "warmup" / f"{_WARM}-{number}").write_bytes(data.tobytes())
        text = config(spec, name, engine is not None, batching, sample, response_cache)
        (part / CONFIG).write_text(text, encoding="utf-8")
    return target


def config(
    spec: ModelSpec,
    name: str,
    engine: bool,
    batching: Batching,
    sample: Mapping[str, NDArray[Any]],
    response_cache: bool = False,
) -> str:
    """The text of config.pbtxt.

    Args:
        engine: a TensorRT engine runs, else the graph on ONNX Runtime.
        sample: an array for every input, without its batch axis, whose bytes are in ``warmup/``;
            empty where nobody has one: the shapes' smallest then, with random values.
    """
    classes = _classes(spec)
    lines = [
        f"{_MARK}",
        f'name: "{name}"',
        f'backend: "{"tensorrt" if engine else "onnxruntime"}"',
        f"max_batch_size: {batching.largest}",
    ]
    for one in spec.inputs:
        lines += ["input [{", *_tensor(one), "}]"]
    for one in spec.outputs:
        label = ['  label_filename: "labels.txt"'] if one is classes else []
        lines += ["output [{", *_tensor(one), *label, "}]"]
    preferred = f"  preferred_batch_size: [ {batching.preferred} ]"
    lines += [
        "dynamic_batching {",
        *([preferred] if batching.preferred is not None else []),
        f"  max_queue_delay_microseconds: {batching.delay}",
        "  default_queue_policy {",
        "    timeout_action: REJECT",
        "    allow_timeout_override: true",
        # some batches' worth: who comes later is told so, and waits no longer than for these
        f"    max_queue_size: {16 * batching.largest}",
        "  }",
        "}",
    ]
    kind = ["  kind: KIND_GPU", '  profile: [ "0" ]'] if engine else ["  kind: KIND_AUTO"]
    lines += ["instance_group [{", "  count: 1", *kind, "}]"]
    lines += ["model_warmup [{", f'  name: "{_WARM}"', "  batch_size: 1"]
    for number, one in enumerate(spec.inputs):
        lines += ["  inputs {", f"    key: {_quoted(one.name)}", "    value {"]
        shape = sample[one.name].shape if sample else tuple(_smallest(spec, one))
        data = f'input_data_file: "{_WARM}-{number}"' if sample else "random_data: true"
        lines += [f"      {_type(one)}", f"      {_dims(shape or (1,))}", f"      {data}"]
        lines += ["    }", "  }"]
    lines += ["}]"]
    if response_cache:
        lines += ["response_cache { enable: true }"]
    return "\n".join(lines) + "\n"


def _tensor(one: TensorSpec) -> list[str]:
    dims = [axis if isinstance(axis, int) else -1 for axis in one.shape[1:]]
    # "dims" may not be empty; one value a sample is an axis of one, which reshape takes away
    flat = [] if dims else ["  reshape { shape: [ ] }"]
    return [
        f"  name: {_quoted(one.name)}", f"  {_type(one)}", f"  {_dims(dims or [1])}", *flat,
    ]  # fmt: skip


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _type(one: TensorSpec) -> str:
    return f"data_type: TYPE_{_TYPES[one.dtype]}"


def _dims(sizes: Sequence[int]) -> str:
    return f"dims: [ {', '.join(map(str, sizes))} ]"


def _smallest(spec: ModelSpec, one: TensorSpec) -> list[int]:
    return [axis if isinstance(axis, int) else spec.multiple_of for axis in one.shape[1:]]


def _classes(spec: ModelSpec) -> TensorSpec | None:
    """The output that has a probability for every label."""
    for one in spec.outputs:
        if spec.labels and len(one.shape) == 2 and one.shape[1] == len(spec.labels):
            return one
    return None


def _check(bundle: Bundle, engine: Engine | None) -> None:
    """Refuse what Triton cannot load, or would cut into wrong batches."""
    spec = bundle.spec
    if engine is not None and engine.key.flavor != "tensorrt":
        raise ExportError(
            f"{engine.path.name} is an engine of {engine.key.flavor}, and Triton has no backend "
            "for those",
            "Export the graph, without --trt, or build it with --flavor tensorrt",
        )
    for one in (*spec.inputs, *spec.outputs):
        if one.dtype not in _TYPES:
            raise ExportError(f"{one} is of a type that Triton does not know")
        if not one.shape or isinstance(one.shape[0], int):
            what = f"a batch of {one.shape[0]}" if one.shape else "no axis at all"
            raise ExportError(
                f"{bundle.path}: {one} has {what}, and Triton's batches are of any size: it would "
                "not load",
                "Export the network with a free first axis",
            )
    firsts = {one.shape[0] for one in spec.inputs}
    if len(firsts) > 1:
        raise ExportError(
            f"{bundle.path}: the inputs' first axes are {', '.join(sorted(map(str, firsts)))}, so "
            "they do not all count samples, and Triton's batches would mix requests",
            "Export the network with one name for the first axis of all inputs",
        )


def _is_ours(target: Path) -> bool:
    try:
        return (target / CONFIG).read_text(encoding="utf-8").startswith(_MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _own(target: Path) -> set[Path]:
    """What of a model's folder is written anew."""
    version, warmup = target / "1", target / "warmup"
    files = {version / name for name in ("model.plan", "model.onnx", WEIGHTS)}
    return {version, warmup, target / CONFIG, target / "labels.txt", *files,
            *warmup.glob(f"{_WARM}-*")}  # fmt: skip


def _batching(
    bundle: Bundle, engine: Engine | None, largest: int | None, report: Path | None
) -> Batching:
    if engine is not None:
        # a larger batch than the profile's would be accepted and then fail
        largest = min(shapes[2][0] for shapes in engine.key.shapes.values())
    elif largest is None:
        largest = TASKS.load(bundle.spec.task).engine_batch[2]
    if report is None:
        return Batching(largest)
    sha256 = engine.sha256 if engine is not None else bundle.sha256
    rows = [row for row in _rows(report) if row["sha256"] == sha256 and row["batch"] <= largest]
    if not rows:
        raise InputError(
            f"{report}: has no batch up to {largest} of the file that would run",
            f"Measure it: dlkit bench {bundle.path} --json {report}",
        )
    best = max(rows, key=lambda row: row["samples_per_s"]["median"])
    call = best["latency_s"].get("p50") or best["batch"] / best["samples_per_s"]["median"]
    # Who comes first waits for others no longer than half a call takes: the queue fills meanwhile
    # where there is load, and where there is none an answer takes half as long again at most.
    delay = round(1e6 * call / 2) if best["batch"] > 1 else 0
    return Batching(largest, best["batch"] if best["batch"] > 1 else None, delay)


def _rows(report: Path) -> list[Any]:
    try:
        rows = json.loads(report.read_text())["inference"]
        assert isinstance(rows, list)
        for row in rows:
            row["sha256"], int(row["batch"]), row["latency_s"].get
            float(row["samples_per_s"]["median"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(
            f"{report}: is no result of dlkit bench ({type(error).__name__})",
            "Make one: dlkit bench BUNDLE --json FILE",
        ) from error
    return rows


def _sample(spec: ModelSpec, origin: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """A real input of the task, as Triton's warm-up takes it; nothing where the task has none."""
    try:
        (feeds, *_) = TASKS.load(spec.task).held_out(spec, origin, count=1).batches
    except DlkitError:
        return {}
    return {name: array[0] for name, array in feeds.items()}
