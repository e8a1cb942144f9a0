"""What an ONNX graph computes, whatever file it lies in: to see that two are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir as ir
from onnx.numpy_helper import to_array


def content_sha256(model: ir.Model) -> str:
    """Hash of opsets, of the ends' names and types, and of how outputs follow from inputs,
    hexadecimal.

    Of no account are names inside, where weights lie and how they are stored, in which order they,
    the nodes and the ends stand, what no output needs, who wrote the file, sizes that it notes, and
    all that is there for people.

    Args:
        model: as ``tidied`` gives it.
    """
    proto = ir.to_proto(model)
    opsets = sorted((_domain(one.domain), one.version) for one in proto.opset_import)
    graph = proto.graph
    held = {one.name for one in graph.initializer}
    known = {one.name: _hash([_end(one)], "input") for one in graph.input if one.name not in held}
    inputs = sorted(known.values())
    given = _Scope(known).given(graph)
    outputs = [_hash(both) for both in zip(map(_end, graph.output), given, strict=True)]
    return _hash([repr(opsets).encode(), *inputs, *sorted(outputs)]).hex()


@dataclass(frozen=True)
class _Scope:
    """Where nodes stand.

    Attributes:
        known: of each tensor by its name: a hash of all that it is computed from.
        depth: bodies and branches around them.
    """

    known: dict[str, bytes]
    depth: int = 0

    def given(self, graph: onnx.GraphProto) -> list[bytes]:
        """The outputs of a graph, whose inputs are known."""
        self.known.update({one.name: _tensor(one) for one in graph.initializer})
        for node in graph.node:  # in order: each stands behind what it takes
            made = self._node(node)
            found = {name: _hash([made], str(at)) for at, name in enumerate(node.output) if name}
            self.known.update(found)
        return [self.known[one.name] for one in graph.output]

    def _node(self, node: onnx.NodeProto) -> bytes:
        about = repr((_domain(node.domain), node.op_type, node.overload, len(node.output)))
        taken = [self.known[name] if name else b"" for name in node.input]
        return _hash([*taken, b"->", *sorted(map(self._attribute, node.attribute))], about)

    def _attribute(self, one: onnx.AttributeProto) -> bytes:
        tensors = [*([one.t] if one.HasField("t") else []), *one.tensors]
        graphs = [*([one.g] if one.HasField("g") else []), *one.graphs]
        rest = onnx.AttributeProto()
        rest.CopyFrom(one)
        for name in ("t", "tensors", "g", "graphs"):
            rest.ClearField(name)
        return _hash([_plain(rest), *map(_tensor, tensors), *map(self._inside, graphs)])

    def _inside(self, graph: onnx.GraphProto) -> bytes:
        """A body or branch; its inputs are told by their places."""
        own = {one.name: f"{self.depth} {place}".encode() for place, one in enumerate(graph.input)}
        return _hash(_Scope({**self.known, **own}, self.depth + 1).given(graph))


def _tensor(tensor: onnx.TensorProto) -> bytes:
    about = f"{tensor.data_type} {list(tensor.dims)}"
    if tensor.data_type == onnx.TensorProto.STRING:
        return _hash([repr(list(tensor.string_data)).encode()], about)
    return _hash([tensor.raw_data or to_array(tensor).tobytes()], about)


def _end(value: onnx.ValueInfoProto) -> bytes:
    return f"{value.name} {value.type.tensor_type.elem_type}".encode()


def _plain(message: Any) -> bytes:
    """A message without what is there for people."""
    copy = type(message)()
    copy.CopyFrom(message)
    for field in ("doc_string", "metadata_props"):
        if field in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(field)
    return bytes(copy.SerializeToString(deterministic=True))


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _hash(parts: Iterable[bytes], about: str = "") -> bytes:
    digest = hashlib.sha256(hashlib.sha256(about.encode()).digest())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()
