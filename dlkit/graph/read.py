"""An ONNX file as a graph, with all its weights in memory."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import onnx
import onnx.external_data_helper
import onnx_ir as ir
from google.protobuf.message import DecodeError

from dlkit.bundle import sha256
from dlkit.errors import ExportError

_AGAIN = "Export it again from its framework"


def read_graph(path: Path) -> ir.Model:
    """Read an ONNX file, and the weights that lie in files beside it.

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
    external = [
        tensor
        for tensor in onnx.external_data_helper._get_all_tensors(model)
        if onnx.external_data_helper.uses_external_data(tensor)
    ]
    for tensor in external:
        _check_external(path, tensor)
    try:
        for tensor in external:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT
        onnx.checker.check_model(model)
    except (OSError, ValueError) as error:  # ValueError: among others what ONNX's own checks raise
        if external and "2GB" in str(error):
            return model  # too large to be checked in memory
        raise ExportError(f"{path} cannot be used: {_one_line(error)}", _AGAIN) from error
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{path} breaks ONNX's rules: {_one_line(error)}", _AGAIN) from error
    return model


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold weights of it, by name; they may not exist."""
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    names = {
        onnx.external_data_helper.ExternalDataInfo(tensor).location
        for tensor in onnx.external_data_helper._get_all_tensors(model)
        if onnx.external_data_helper.uses_external_data(tensor)
    }
    return [path.parent / name for name in sorted(names)]


def file_sha256(path: Path) -> str:
    """Hash of an ONNX file and of the weights beside it, hexadecimal."""
    return sha256(path, *external_files(path))


def _check_external(path: Path, tensor: Any) -> None:
    """Refuse weights that lie elsewhere, or are not there."""
    info = onnx.external_data_helper.ExternalDataInfo(tensor)
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
    size, begin = file.stat().st_size, info.offset or 0
    if begin + (info.length or 0) > size:
        raise ExportError(
            f"{path}: {place} has {size} bytes, the weight {tensor.name} ends at "
            f"{begin + (info.length or 0)}: it is cut",
            "Copy it again",
        )


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300]
