"""An ONNX file as a graph, with all its weights in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
import onnx.external_data_helper
import onnx_ir as ir
from google.protobuf.message import DecodeError

from dlkit.bundle import sha256
from dlkit.errors import ExportError
from dlkit.graph.sparse import make_dense, sparse_parts

_AGAIN = "Export it again from its framework"
# Bytes of weights: protocol buffers end at 2 GiB; the graph itself needs some of that.
LARGEST = 1_900_000_000
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def read_graph(path: Path) -> ir.Model:
    """Read an ONNX file, and the weights that lie in files beside it; sparse ones become dense.

    External data (ONNX specification, ExternalData) are looked for beside the file, never in the
    working directory, and never outside its folder.

    Raises:
        ExportError: it is no ONNX file, is cut, breaks ONNX's rules, or its weights are missing,
            too short, or outside its folder.
    """
    proto = read_proto(path)
    for value in (*proto.graph.input, *proto.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise ExportError(
                f"{path}: {value.name} is a {str(kind).removesuffix('_type')}, expected a tensor",
                "Export it so that it takes and gives tensors (of scikit-learn: zipmap off)",
            )
    try:
        return ir.from_proto(proto)
    except ir.serde.SerdeError as error:
        raise ExportError(f"{path} cannot be read: {_one_line(error)}", _AGAIN) from error


def read_proto(path: Path) -> onnx.ModelProto:
    """As ``read_graph``, as a ``ModelProto``."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ExportError(f"{path} is no ONNX file, or it is cut: {error}", _AGAIN) from error
    if not model.opset_import or not model.graph.output:
        raise ExportError(f"{path} is no ONNX file: it has no graph with outputs", _AGAIN)
    inputs = {value.name for value in model.graph.input}
    if model.ir_version < 4 and any(one.name not in inputs for one in model.graph.initializer):
        model.ir_version = 4  # older ones want weights among the inputs; many writers forget it
    external = [one for one in _tensors(model) if _outside(one)]
    for tensor in external:
        _check_external(path, tensor)
    try:
        for tensor in external:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT
        for tensor in _tensors(model):
            _check_size(path, tensor)
        onnx.checker.check_model(model if is_one_message(model) else str(path))
    except (OSError, ValueError) as error:  # ValueError: among others what ONNX's own checks raise
        raise ExportError(f"{path} cannot be used: {_one_line(error)}", _AGAIN) from error
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{path} breaks ONNX's rules: {_one_line(error)}", _AGAIN) from error
    try:
        make_dense(model.graph)
    except ValueError as error:
        raise ExportError(f"{path} cannot be used: {_one_line(error)}", _AGAIN) from error
    return model


def is_one_message(model: onnx.ModelProto) -> bool:
    """Whether a graph and its weights are small enough to be the bytes of one ONNX file."""
    return sum(len(one.raw_data) for one in _tensors(model)) <= LARGEST


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold weights of it, by name; they may not exist."""
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    names = {str(_place(path, tensor).location) for tensor in _tensors(model) if _outside(tensor)}
    return [path.parent / name for name in sorted(names)]


def holds_all(path: Path) -> bool:
    """Whether an ONNX file holds its weights itself, and as every backend reads them."""
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    return not any(map(_outside, _tensors(model))) and not any(sparse_parts(model.graph))


def file_sha256(path: Path) -> str:
    """Hash of an ONNX file and of the weights beside it, hexadecimal."""
    return sha256(path, *external_files(path))


def _check_external(path: Path, tensor: Any) -> None:
    """Refuse weights that lie elsewhere, or are not there."""
    info = _place(path, tensor)
    place = PurePosixPath(str(info.location).replace("\\", "/"))
    file = path.parent / place
    inside = path.parent.resolve()
    if place.is_absolute() or ".." in place.parts or inside not in file.resolve().parents:
        raise ExportError(
            f"{path}: the weight {tensor.name} is said to lie in {info.location}, outside of the "
            "file's folder",
            "Save it anew with its weights beside it",
        )
    if not file.is_file():
        raise ExportError(
            f"{path}: its weights in {place} are not there", f"Put {place.name} beside {path.name}"
        )
    if info.length is None:  # ONNX leaves it open; all that lies behind would be read else
        info.length = _bytes(path, tensor)
        tensor.external_data.add(key="length", value=str(info.length))
    size, end = file.stat().st_size, (info.offset or 0) + info.length
    if end > size:
        raise ExportError(
            f"{path}: {place} has {size} bytes, the weight {tensor.name} ends at {end}: it is cut",
            "Copy it again",
        )


def _check_size(path: Path, tensor: Any) -> None:
    """Refuse a weight that holds more or fewer bytes than its shape says."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return
    held, needed, what = len(tensor.raw_data), _bytes(path, tensor), "bytes"
    if not tensor.HasField("raw_data"):  # ONNX's checker sees too few of them
        held, what = max(len(getattr(tensor, field)) for field in _FIELDS), "values"
        kind = ir.DataType(tensor.data_type)
        one = 2 if "COMPLEX" in kind.name else min(kind.itemsize, 1)  # two of four bits in one
        needed = math.ceil(math.prod(tensor.dims) * one)
        held = max(held, needed)
    if held != needed:
        raise ExportError(
            f"{path}: the weight {tensor.name} has {held} {what}, its type and its shape "
            f"{list(tensor.dims)} need {needed}",
            _AGAIN,
        )


def _bytes(path: Path, tensor: Any) -> int:
    """What a type and a shape need."""
    try:
        size: int = math.ceil(math.prod(tensor.dims) * ir.DataType(tensor.data_type).itemsize)
    except (TypeError, ValueError) as error:
        raise ExportError(f"{path}: the weight {tensor.name} has no type of numbers") from error
    if min(tensor.dims, default=0) < 0:
        raise ExportError(f"{path}: the weight {tensor.name} is {list(tensor.dims)}", _AGAIN)
    return size


def _place(path: Path, tensor: Any) -> Any:
    """Where the data of a weight lie.

    Raises:
        ExportError: what says so is none.
    """
    try:
        return onnx.external_data_helper.ExternalDataInfo(tensor)
    except ValueError as error:
        raise ExportError(
            f"{path}: where the weight {tensor.name} lies is no place: {_one_line(error)}", _AGAIN
        ) from error


def _tensors(model: onnx.ModelProto) -> Iterator[Any]:
    """All weights of a file, those of subgraphs, functions and sparse tensors included."""
    yield from onnx.external_data_helper._get_all_tensors(model)
    yield from sparse_parts(model.graph)


def _outside(tensor: Any) -> bool:
    return bool(onnx.external_data_helper.uses_external_data(tensor))


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300]
