"""Requests as JSON, and answers as JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.serving.datatypes import BYTES, DTYPES, RAW_ONLY
from dlkit.serving.messages import (
    Answered,
    Asked,
    Inference,
    Tensor,
    check_datatype,
    check_names,
    check_parameters,
    check_shape,
    elements,
    seconds,
    shown,
)
from dlkit.serving.refused import RefusedError, invalid

# What takes an input's values from behind the head: name, datatype, shape, size in bytes.
Behind = Callable[[str, str, tuple[int, ...], int], Any]
_BASE64 = {"content_type": "base64"}


def read_inference(head: dict[str, Any], behind: Behind, most_tensors: int) -> Inference:
    """A request from its JSON.

    Args:
        behind: takes the next input that lies behind the head.
        most_tensors: inputs, and outputs.

    Raises:
        RefusedError: something in it cannot be.
    """
    parameters = check_parameters(head.get("parameters", {}), "the request")
    inputs = [_input(one, behind) for one in _list(head, "inputs", most_tensors, needed=True)]
    outputs = [_asked(one) for one in _list(head, "outputs", most_tensors)]
    check_names(inputs, outputs)
    name = head.get("id")
    if name is not None and not isinstance(name, str):
        raise invalid("the id is no string")
    binary = parameters.get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise invalid("binary_data_output is neither true nor false")
    return Inference(inputs, outputs, name, binary, seconds(parameters))


def _list(head: dict[str, Any], name: str, most: int, needed: bool = False) -> list[dict[str, Any]]:
    found = head.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise invalid(f"{name} is no list of objects")
    if needed and not found:
        raise invalid(f"{name} is missing or empty")
    if len(found) > most:
        raise invalid(f"there are {len(found)} {name}, at most {most} are taken")
    return found


def _name(one: dict[str, Any], kind: str) -> str:
    name = one.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(f"an {kind} has no name")
    return name


def _input(one: dict[str, Any], behind: Behind) -> Tensor:
    name = _name(one, "input")
    label = f"input {shown(name)}"
    datatype = check_datatype(label, one.get("datatype"))
    shape = check_shape(label, one.get("shape"))
    parameters = check_parameters(one.get("parameters", {}), label)
    size = parameters.get("binary_data_size")
    if size is not None:
        if type(size) is not int or size < 0:
            raise invalid(f"{label}: binary_data_size is no whole number from 0")
        if "data" in one:
            raise invalid(f"{label}: it has both data and binary_data_size")
        return Tensor(name, datatype, shape, behind(label, datatype, shape, size))
    if not isinstance(one.get("data"), list):
        raise invalid(f"{label}: it has neither a list of data nor binary_data_size")
    if datatype == BYTES:
        coded = parameters.get("content_type") == "base64"
        return Tensor(name, datatype, shape, _bytes(label, one["data"], shape, coded))
    return Tensor(name, datatype, shape, _array(label, one["data"], datatype, shape))


def _asked(one: dict[str, Any]) -> Asked:
    name = _name(one, "output")
    parameters = check_parameters(one.get("parameters", {}), f"output {shown(name)}")
    binary = parameters.get("binary_data")
    if binary is not None and not isinstance(binary, bool):
        raise invalid(f"output {shown(name)}: binary_data is neither true nor false")
    return Asked(name, binary, classes_of(name, parameters))


def classes_of(name: str, parameters: dict[str, Any]) -> int:
    """How many classes of an output are asked for instead of its values.

    Raises:
        RefusedError: no whole number from 0.
    """
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise invalid(f"output {shown(name)}: classification is no whole number from 0")
    return classes


def _array(label: str, data: list[Any], datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Numbers, nested as the shape has it or in one flat list."""
    if datatype in RAW_ONLY:
        raise invalid(f"{label}: {datatype} cannot be in JSON", "Send it as a binary tensor")
    dtype = DTYPES[datatype]
    try:
        found = np.asarray(data) if data else np.empty(0, dtype)
        if dtype.kind in "iu" and found.dtype.kind == "f":  # beyond 2 ** 63 numpy takes floats
            found = np.asarray(data, object)
            if not all(type(one) is int for one in found.flat):
                raise invalid(f"{label}: its data are not all whole numbers")
        if found.dtype.kind not in {"b": "b", "f": "iuf"}.get(dtype.kind, "iuO"):
            raise invalid(f"{label}: its data are not all {datatype}")
        if found.shape not in (shape, (elements(shape),)):
            raise invalid(f"{label}: its data have another shape than it says")
        if dtype.kind in "iu" and found.dtype != object and found.size:
            limits = np.iinfo(dtype)
            if int(found.min()) < limits.min or int(found.max()) > limits.max:
                raise invalid(f"{label}: its data are beyond {datatype}")
        with np.errstate(over="ignore"):
            values = found.astype(dtype)
    except (ValueError, TypeError, OverflowError):
        raise invalid(f"{label}: its data are no regular list of {datatype}") from None
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise invalid(f"{label}: its data have NaN, infinity, or numbers beyond {datatype}")
    return values.reshape(shape)


def _bytes(label: str, data: list[Any], shape: tuple[int, ...], coded: bool) -> list[bytes]:
    flat = data
    for _ in shape[1:]:
        if all(isinstance(one, list) for one in flat):
            flat = [one for row in flat for one in row]
    if len(flat) != elements(shape) or not all(isinstance(one, str) for one in flat):
        raise invalid(f"{label}: its data are not as many strings as its shape says")
    try:
        if coded:
            return [base64.b64decode(one, validate=True) for one in flat]
        return [one.encode() for one in flat]
    except (binascii.Error, ValueError):  # no base64; half a surrogate pair
        what = "base64" if coded else "UTF-8"
        raise invalid(f"{label}: its data are no {what}") from None


def head_of(answered: Answered, id_: str | None) -> dict[str, Any]:
    """What every answer begins with."""
    head: dict[str, Any] = {"model_name": answered.model, "model_version": answered.version}
    if id_ is not None:
        head["id"] = id_
    return head


def row_of(tensor: Tensor) -> dict[str, Any]:
    """An output but for its values."""
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def with_data(tensor: Tensor) -> dict[str, Any]:
    """An output with its values in JSON.

    Raises:
        RefusedError: JSON cannot hold them.
    """
    row = row_of(tensor)
    if isinstance(tensor.values, list):
        row["parameters"] = _BASE64
        row["data"] = [base64.b64encode(one).decode() for one in tensor.values]
        return row
    if tensor.datatype in RAW_ONLY:
        raise invalid(
            f"output {tensor.name} is {tensor.datatype}, which cannot be in JSON",
            "Ask for binary_data",
        )
    if tensor.values.dtype.kind == "f" and not np.isfinite(tensor.values).all():
        raise RefusedError(
            500, f"the model gave NaN or infinity in {tensor.name}, which JSON cannot hold"
        )
    row["data"] = tensor.values.ravel().tolist()
    return row


def dump(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
