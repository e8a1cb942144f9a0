"""A float32 graph with eight-bit weights and activations: QuantizeLinear and DequantizeLinear pairs
around convolutions and matrix products, by ONNX Runtime's static quantiser.

The form is the one that ONNX Runtime, OpenVINO and TensorRT all read: weights signed and symmetric,
one scale a channel, stored as int8; activations signed and symmetric, one scale a tensor, every
zero point 0; biases float32; outputs of convolutions not rounded by themselves, so that a bias,
an addition and a ReLU still happen before the next eight bits. All else stays float32, the scaling
of pixels included. NNCF 3.4 was measured too (docs/int8.md): it makes activations after a ReLU
unsigned, which TensorRT reads as signed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
)

from dlkit.errors import ExportError
from dlkit.graph import node_multiply_adds
from dlkit.processors import cpu_count
from dlkit.runtime.backends._onnx_session import onnx_session
from dlkit.tasks import Feeds, Outputs

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FIRST_OPSET = 13  # DequantizeLinear by channel


class QdqGraph:
    """A float32 graph whose layers can be quantised in any choice.

    Attributes:
        layers: names of the nodes that can be: convolutions and matrix products with constant
            weights, in the graph's order.
        multiply_adds: of each of them, for the inputs given.
    """

    def __init__(self, graph: bytes, blank: Feeds) -> None:
        """Read a graph.

        Args:
            blank: one sample, to count arithmetic on.

        Raises:
            ExportError: too old an opset, or no layer that can be quantised.
        """
        self._model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
        opset = next(one.version for one in self._model.opset_import if one.domain == "")
        if opset < _FIRST_OPSET:
            raise ExportError(
                f"the graph has opset {opset}, int8 needs {_FIRST_OPSET} or later", "Export it anew"
            )
        constant = {tensor.name for tensor in self._model.graph.initializer}
        names: set[str] = set()
        for index, node in enumerate(self._model.graph.node):
            if not node.name or node.name in names:
                node.name = f"{node.op_type}_{index}"
            names.add(node.name)
        found = [
            node
            for node in self._model.graph.node
            if node.op_type in OPERATORS and node.input[1] in constant
        ]
        if not found:
            raise ExportError("the graph has no convolution or matrix product to quantise")
        self.names = names
        self.layers = [node.name for node in found]
        self.multiply_adds = self._count(found, blank)
        self._ranges: Any = None

    def calibrate(self, batches: Iterable[Feeds]) -> None:
        """Take the ranges of activations: their minimum and maximum over all inputs."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model.onnx"
            onnx.save(self._model, source)
            calibrator = create_calibrator(
                source,
                list(OPERATORS),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Reader(batches))
            self._ranges = calibrator.compute_data()

    def quantised(self, layers: Collection[str]) -> bytes:
        """The graph with these layers in eight bits."""
        assert self._ranges is not None, "calibrate first"
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        if not layers:  # an empty list would mean all of them
            return bytes(model.SerializeToString())
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=list(layers),
            nodes_to_exclude=[],
            op_types_to_quantize=list(OPERATORS),
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "QDQDisableWeightAdjustForInt32Bias": True,
                "OpTypesToExcludeOutputQuantization": list(OPERATORS),
                "QDQKeepRemovableActivations": True,
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        return bytes(quantizer.model.model.SerializeToString())

    def _count(self, nodes: list[onnx.NodeProto], blank: Feeds) -> dict[str, int]:
        """Multiply-adds, from the shapes that tensors have when it runs."""
        shapes = {one.name: list(one.dims) for one in self._model.graph.initializer}
        wanted = {name for node in nodes for name in (node.input[0], node.output[0])} - set(shapes)
        shapes |= {name: list(array.shape) for name, array in values(self._model, wanted, blank)}
        return {node.name: node_multiply_adds(node, shapes) or 0 for node in nodes}


def values(
    model: onnx.ModelProto, names: Collection[str], feeds: Feeds
) -> list[tuple[str, NDArray[Any]]]:
    """What tensors inside a graph hold when ONNX Runtime runs it once on the CPU."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    there = {one.name for one in (*copy.graph.output, *copy.graph.input)}
    wanted = sorted(names)
    for name in wanted:
        if name not in there:
            copy.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    inside = [name for name in wanted if name not in feeds]
    session = onnx_session(copy.SerializeToString(), cpu_count())
    found = dict(zip(inside, session.run(inside, dict(feeds)), strict=True)) if inside else {}
    return [(name, np.asarray(feeds[name] if name in feeds else found[name])) for name in wanted]


def run(graph: bytes, batches: Iterable[Feeds]) -> Outputs:
    """Outputs of a graph in ONNX Runtime on the CPU, by their names."""
    session = onnx_session(graph, cpu_count())
    names = [one.name for one in session.get_outputs()]
    return [
        dict(zip(names, map(np.asarray, session.run(None, dict(feeds))), strict=True))
        for feeds in batches
    ]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """What ONNX Runtime's calibrator reads."""

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._feeds = iter([dict(feeds) for feeds in batches])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch; None at the end."""
        return next(self._feeds, None)
