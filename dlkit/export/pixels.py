"""Pixels in, answers out: what is put around a graph that takes images as floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from dlkit.errors import UsageError
from dlkit.export.ends import ends_of
from dlkit.export.opsets import raised
from dlkit.graph.tidy import FLOATS, infer
from dlkit.spec import COLOURS

_OPSET = 13  # axes of Unsqueeze and Squeeze are inputs


@dataclass(frozen=True)
class Pixels:
    """How uint8 pixels, 0 to 255, become what a network takes: (pixel x scale - mean) / std.

    Attributes:
        colour: order of the channels that the network takes: ``rgb``, ``bgr`` or ``grey``; by
            default grey for one channel, rgb for three.
        mean, std: of each channel, after ``scale``; one value counts for all.
        scale: factor of a pixel; 1 for networks that take 0 to 255.
    """

    colour: str | None = None
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    scale: float = 1 / 255

    def of(self, channels: int) -> Pixels:
        """The same with a value for each channel, and the colour that is meant.

        Raises:
            UsageError: it does not fit the channels.
        """
        colour = self.colour or ("grey" if channels == 1 else "rgb")
        if colour not in COLOURS or (colour == "grey") != (channels == 1):
            raise UsageError(
                f"colour is '{colour}', the network takes {channels} channel(s)",
                "Use grey for one channel, rgb or bgr for three",
            )
        mean, std = (
            tuple(map(float, values)) * (channels if len(values) == 1 else 1)
            for values in (self.mean, self.std)
        )
        if len(mean) != channels or len(std) != channels or not all(value > 0 for value in std):
            raise UsageError(
                f"mean is {list(mean)} and std {list(std)}, expected {channels} value(s) each, "
                "std above 0"
            )
        if not 0 < self.scale < float("inf"):
            raise UsageError(f"scale is {self.scale}, expected a factor above 0, e.g. 1/255")
        return Pixels(colour, mean, std, float(self.scale))

    def unit(self) -> tuple[list[float], list[float]]:
        """Mean and std for pixels from 0 to 1."""
        whole = 255 * self.scale
        return [value / whole for value in self.mean], [value / whole for value in self.std]


@dataclass(frozen=True)
class Around:
    """What was put around a graph, as its bundle remembers it.

    Attributes:
        pixels: what was put before it; None where it takes what it took.
        name: of the input that takes pixels.
        dtype: that the graph itself takes there, a numpy name.
        last: channels are the last axis of what it takes there, not the second.
        ends: what was put behind it, in order: ``flatten``, ``softmax``, ``exp``,
            ``percent``, ``pixels``.
    """

    pixels: Pixels | None = None
    name: str = ""
    dtype: str = "float32"
    last: bool = False
    ends: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives the same back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Around:
        """Read what ``to_json`` wrote."""
        pixels = None if data["pixels"] is None else Pixels(**data["pixels"])
        return cls(pixels, data["name"], data["dtype"], data["last"], tuple(data["ends"]))


def plan(model: ir.Model, pixels: Pixels | None, gives: str) -> Around:
    """What must be put around a tidied graph.

    Args:
        pixels: how pixels become what it takes; None: it takes them as they are.
        gives: what its task wants of it, see ``Task.gives``.

    Raises:
        UsageError: it has no image input; or takes pixels already.
        ExportError: what it gives cannot become what is wanted.
    """
    ends = ends_of(model, gives)
    if pixels is None:
        return Around(ends=ends)
    images = [one for one in model.graph.inputs if one.shape is not None and len(one.shape) == 4]
    if len(images) != 1:
        raise UsageError(
            f"the graph has {len(images)} inputs with four axes, expected one image input "
            "(N, C, H, W)",
            "Leave --colour, --mean, --std and --scale out, and give it arrays",
        )
    image = images[0]
    assert image.shape is not None
    sides = [image.shape[place] for place in (1, 3)]
    if image.dtype not in FLOATS or not {1, 3} & {side for side in sides if isinstance(side, int)}:
        raise UsageError(
            f"{image.name} is {image.dtype and image.dtype.numpy().name} {image.shape}, expected "
            "floating point (N, C, H, W) or (N, H, W, C) with 1 or 3 channels",
            "Leave --colour, --mean, --std and --scale out where it takes pixels already",
        )
    last = sides[0] not in (1, 3)
    channels = sides[1] if last else sides[0]
    assert isinstance(channels, int)
    assert image.dtype is not None
    return Around(pixels.of(channels), str(image.name), image.dtype.numpy().name, last, ends)


def put_around(model: ir.Model, around: Around) -> ir.Model:
    """Put it there, in place; gives the graph back, tidied, with types and shapes."""
    if around == Around():
        return model
    model = raised(model, _OPSET, "what is put around it")
    builder = _Builder(model.graph)
    if around.pixels is not None:
        _before(builder, around, around.pixels)
    for end in around.ends:
        _behind(builder, end, around)
    infer(model)
    return model


class _Builder:
    """Nodes with names of their own."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph, self.count = graph, 0

    def node(self, operator: str, *inputs: ir.Value, **attributes: Any) -> ir.Node:
        self.count += 1
        node = ir.node(operator, list(inputs), attributes, name=f"dlkit_{operator}_{self.count}")
        node.outputs[0].name = node.name
        return node

    def constant(self, array: Any) -> ir.Value:
        self.count += 1
        name = f"dlkit_constant_{self.count}"
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype),
                         const_value=tensor)  # fmt: skip
        self.graph.register_initializer(value)
        return value


def _before(builder: _Builder, around: Around, pixels: Pixels) -> None:
    graph = builder.graph
    image = next(one for one in graph.inputs if one.name == around.name)
    dtype, shape = image.dtype, image.shape
    assert dtype is not None
    assert shape is not None
    sizes = [shape[0], *(shape[1:3] if around.last else shape[2:4])]
    grey = len(pixels.mean) == 1
    taken = list(image.uses())
    image.type = ir.TensorType(ir.DataType.UINT8)
    image.shape = ir.Shape(list(sizes) if grey else [*sizes, 3])
    nodes = [builder.node("Cast", image, to=int(ir.DataType.FLOAT))]  # pixels first: see TensorRT
    if grey:
        axis = builder.constant(np.array([3 if around.last else 1], np.int64))
        nodes.append(builder.node("Unsqueeze", nodes[-1].outputs[0], axis))
    elif not around.last:
        nodes.append(builder.node("Transpose", nodes[-1].outputs[0], perm=[0, 3, 1, 2]))
    form = (1, 1, 1, -1) if around.last else (1, -1, 1, 1)
    mean, std = (np.array(values).reshape(form) for values in (pixels.mean, pixels.std))
    factor = builder.constant((pixels.scale / std).astype(np.float32))
    nodes.append(builder.node("Mul", nodes[-1].outputs[0], factor))
    if mean.any():
        offset = builder.constant((mean / std).astype(np.float32))
        nodes.append(builder.node("Sub", nodes[-1].outputs[0], offset))
    if dtype != ir.DataType.FLOAT:
        nodes.append(builder.node("Cast", nodes[-1].outputs[0], to=int(dtype)))
    first = next(iter(graph), None)
    if first is None:
        graph.extend(nodes)
    else:
        graph.insert_before(first, nodes)
    for user, place in taken:
        user.replace_input_with(place, nodes[-1].outputs[0])


def _behind(builder: _Builder, end: str, around: Around) -> None:
    graph = builder.graph
    value = graph.outputs[0]
    name, kind = value.name, value.dtype
    value.name = f"{name}_raw"
    nodes: list[ir.Node] = []
    if kind != ir.DataType.FLOAT:
        nodes.append(builder.node("Cast", value, to=int(ir.DataType.FLOAT)))
        value = nodes[-1].outputs[0]
    if end == "flatten":
        nodes.append(builder.node("Flatten", value, axis=1))
    elif end == "softmax":
        nodes.append(builder.node("Softmax", value, axis=1))
    elif end == "exp":
        nodes.append(builder.node("Exp", value))
    elif end == "percent":
        hundred = builder.constant(np.array(100, np.float32))
        nodes.append(builder.node("Div", value, hundred))
    else:
        nodes += _to_pixels(builder, value, around)
    graph.extend(nodes)
    nodes[-1].outputs[0].name = name
    graph.outputs[0] = nodes[-1].outputs[0]


def _to_pixels(builder: _Builder, value: ir.Value, around: Around) -> list[ir.Node]:
    """The way back: (y x std + mean) / scale, rounded, uint8."""
    pixels = around.pixels or Pixels().of(1)
    form = (1, 1, 1, -1) if around.last else (1, -1, 1, 1)
    factor, offset = (
        builder.constant((np.array(one).reshape(form) / pixels.scale).astype(np.float32))
        for one in (pixels.std, pixels.mean)
    )
    nodes = [builder.node("Mul", value, factor)]
    nodes.append(builder.node("Add", nodes[-1].outputs[0], offset))
    for operator, bound in (("Max", 0.0), ("Min", 255.0)):
        limit = builder.constant(np.array(bound, np.float32))
        nodes.append(builder.node(operator, nodes[-1].outputs[0], limit))
    nodes.append(builder.node("Round", nodes[-1].outputs[0]))
    if len(pixels.mean) == 1:
        axis = builder.constant(np.array([3 if around.last else 1], np.int64))
        nodes.append(builder.node("Squeeze", nodes[-1].outputs[0], axis))
    elif not around.last:
        nodes.append(builder.node("Transpose", nodes[-1].outputs[0], perm=[0, 2, 3, 1]))
    nodes.append(builder.node("Cast", nodes[-1].outputs[0], to=int(ir.DataType.UINT8)))
    return nodes
