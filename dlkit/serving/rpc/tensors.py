"""Tensors in messages of gRPC."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.serving.binary import raw_values, read_tensor
from dlkit.serving.datatypes import BYTES, DTYPES, RAW_ONLY
from dlkit.serving.json_tensors import classes_of
from dlkit.serving.messages import (
    Answered,
    Asked,
    Inference,
    Tensor,
    Values,
    check_datatype,
    check_names,
    check_parameters,
    check_shape,
    elements,
    seconds,
    shown,
)
from dlkit.serving.refused import invalid

_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def read_request(request: Any, most_tensors: int) -> Inference:
    """A request from its message.

    Raises:
        RefusedError: something in it cannot be.
    """
    parameters = _parameters(request.parameters, "the request")
    if max(len(request.inputs), len(request.outputs)) > most_tensors:
        raise invalid(f"at most {most_tensors} inputs and outputs are taken")
    if not request.inputs:
        raise invalid("inputs is missing or empty")
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(f"{len(raw)} raw_input_contents came for {len(request.inputs)} inputs")
    inputs = [_input(one, raw[at] if raw else None) for at, one in enumerate(request.inputs)]
    outputs = [
        Asked(one.name, classes=classes_of(one.name, _parameters(one.parameters, shown(one.name))))
        for one in request.outputs
    ]
    check_names(inputs, outputs)
    return Inference(inputs, outputs, request.id, timeout=seconds(parameters))


def _input(one: Any, raw: bytes | None) -> Tensor:
    label = f"input {shown(one.name)}"
    datatype = check_datatype(label, one.datatype)
    shape = check_shape(label, list(one.shape))
    _parameters(one.parameters, label)
    contents = one.contents.ListFields() if one.HasField("contents") else []
    if raw is not None:
        if contents:
            raise invalid(f"{label}: it has both contents and raw_input_contents")
        return Tensor(
            one.name, datatype, shape, read_tensor(label, datatype, shape, memoryview(raw))
        )
    return Tensor(one.name, datatype, shape, _contents(label, datatype, shape, contents))


def _contents(
    label: str, datatype: str, shape: tuple[int, ...], contents: list[tuple[Any, Any]]
) -> Values:
    if datatype in RAW_ONLY:
        raise invalid(f"{label}: {datatype} comes in raw_input_contents alone")
    named = {field.name: values for field, values in contents}
    if set(named) - {_CONTENTS[datatype]}:
        raise invalid(f"{label}: {datatype} comes in {_CONTENTS[datatype]}")
    values = list(named.get(_CONTENTS[datatype], ()))
    if len(values) != elements(shape):
        raise invalid(f"{label}: {len(values)} elements came, its shape says {elements(shape)}")
    if datatype == BYTES:
        return values
    try:
        found = np.array(values, DTYPES[datatype]).reshape(shape)
    except OverflowError:
        raise invalid(f"{label}: its contents are beyond {datatype}") from None
    return found


def _parameters(given: Any, where: str) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        kind = value.WhichOneof("parameter_choice")
        found[name] = None if kind is None else getattr(value, kind)
    return check_parameters(found, where)


def fill_answer(message: Any, answered: Answered, inference: Inference) -> Any:
    """The answer as a message; values are raw, as every client takes them."""
    message.model_name, message.model_version = answered.model, answered.version
    message.id = inference.id or ""
    for tensor in answered.outputs:
        row = message.outputs.add()
        row.name, row.datatype = tensor.name, tensor.datatype
        row.shape.extend(tensor.shape)
        message.raw_output_contents.append(raw_values(tensor))
    return message
