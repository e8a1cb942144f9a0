"""What an ONNX graph computes with, whatever file it lies in: to see that two are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import onnx
from onnx.numpy_helper import to_array


def content_sha256(model: onnx.ModelProto) -> str:
    """Hash of opsets, functions, inputs, outputs, nodes and weights, hexadecimal.

    Of no account are where weights lie and how they are stored, in which order they and the nodes
    stand, who wrote the file, what it notes of shapes inside, and all that is there for people.

    Args:
        model: with its weights in memory, as ``read_proto`` gives it.
    """
    return _hash(
        [_opsets(model.opset_import), *sorted(map(_function, model.functions)), _graph(model.graph)]
    ).decode()


def _graph(graph: onnx.GraphProto) -> bytes:
    """Nodes know each other by the names of tensors, so their order says nothing."""
    ends = [_plain(value) for value in (*graph.input, *graph.output)]
    held = [_tensor(one, one.name) for one in graph.initializer]
    sparse = sorted(map(_plain, graph.sparse_initializer))
    return _hash([*ends, *sparse, *sorted([*held, *map(_node, graph.node)])])


def _function(one: onnx.FunctionProto) -> bytes:
    where = [_domain(one.domain), one.name, *one.input, "->", *one.output, *one.attribute]
    rest = [*map(_attribute, one.attribute_proto), *map(_node, one.node)]
    return _hash([repr(where).encode(), _opsets(one.opset_import), *sorted(rest)])


def _node(node: onnx.NodeProto) -> bytes:
    if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
        return _tensor(node.attribute[0].t, node.output[0])  # a weight in another place
    where = [_domain(node.domain), node.op_type, *node.input, "->", *node.output]
    return _hash([repr(where).encode(), *sorted(map(_attribute, node.attribute))])


def _attribute(one: onnx.AttributeProto) -> bytes:
    tensors = [*([one.t] if one.HasField("t") else []), *one.tensors]
    graphs = [*([one.g] if one.HasField("g") else []), *one.graphs]
    rest = onnx.AttributeProto()
    rest.CopyFrom(one)
    for name in ("t", "tensors", "g", "graphs"):
        rest.ClearField(name)
    return _hash([_plain(rest), *(_tensor(t, "") for t in tensors), *map(_graph, graphs)])


def _tensor(tensor: onnx.TensorProto, name: str) -> bytes:
    about = f"{name} {tensor.data_type} {list(tensor.dims)}".encode()
    if tensor.data_type == onnx.TensorProto.STRING:
        return _hash([about, repr(list(tensor.string_data)).encode()])
    return _hash([about, tensor.raw_data or to_array(tensor).tobytes()])


def _plain(message: Any) -> bytes:
    """A message without what is there for people."""
    copy = type(message)()
    copy.CopyFrom(message)
    for field in ("doc_string", "metadata_props"):
        if field in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(field)
    return bytes(copy.SerializeToString(deterministic=True))


def _opsets(opsets: Iterable[onnx.OperatorSetIdProto]) -> bytes:
    return repr(sorted((_domain(one.domain), one.version) for one in opsets)).encode()


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _hash(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest().encode()
