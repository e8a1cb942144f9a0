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
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
)

from dlkit.errors import ExportError
from dlkit.export.held_out import Batch, Outputs
from dlkit.runtime.processors import cpu_count

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FIRST_OPSET = 13  # DequantizeLinear by channel
_ERRORS_ONLY = 3  # ONNX Runtime's logging severity: error


class QdqGraph:
    """A float32 graph whose layers can be quantised in any choice.

    Attributes:
        layers: names of the nodes that can be: convolutions and matrix products with constant
            weights, in the graph's order.
        multiply_adds: of each of them, for one image of the size given.
    """

    def __init__(self, graph: bytes, blank: Batch) -> None:
        """Read a graph.

        Args:
            blank: uint8 (1, H, W), to count arithmetic on.

        Raises:
            ExportError: too old an opset, or no layer that can be quantised.
        """
        self._model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
        opset = next(one.version for one in self._model.opset_import if one.domain == "")
        if opset < _FIRST_OPSET:
            raise ExportError(
                f"the graph has opset {opset}, int8 needs {_FIRST_OPSET} or later: export it anew"
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

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Take the ranges of activations: their minimum and maximum over all images."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model.onnx"
            onnx.save(self._model, source)
            calibrator = create_calibrator(
                source,
                list(OPERATORS),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Reader(self._model.graph.input[0].name, batches))
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

    def _count(self, nodes: list[onnx.NodeProto], blank: Batch) -> dict[str, int]:
        """Multiply-adds, from the shapes that tensors have when it runs."""
        weights = {one.name: list(one.dims) for one in self._model.graph.initializer}
        wanted = sorted({name for node in nodes for name in (node.input[0], node.output[0])})
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        there = {one.name for one in (*model.graph.output, *model.graph.input)}
        for name in wanted:
            if name not in there:
                model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        wanted = [name for name in wanted if name not in weights]
        session = _session(model.SerializeToString())
        values = session.run(wanted, {self._model.graph.input[0].name: blank})
        shapes = dict(zip(wanted, (value.shape for value in values), strict=True))
        counted = {}
        for node in nodes:
            weight = weights[node.input[1]]
            if node.op_type == "Conv":
                counted[node.name] = prod(shapes[node.output[0]]) * prod(weight[1:])
            elif node.op_type == "ConvTranspose":
                counted[node.name] = prod(shapes[node.input[0]]) * prod(weight[1:])
            else:  # every element of the weight once for each row
                rows = prod(shapes[node.output[0]][:-1])
                counted[node.name] = rows * prod(weight[-2:])
        return counted


def run(graph: bytes, batches: list[Batch]) -> Outputs:
    """Outputs of a graph in ONNX Runtime on the CPU."""
    session = _session(graph)
    (name,) = (item.name for item in session.get_inputs())
    return [np.asarray(session.run(None, {name: batch})[0]) for batch in batches]


def _session(graph: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = cpu_count()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """What ONNX Runtime's calibrator reads."""

    def __init__(self, name: str, batches: Iterable[Batch]) -> None:
        self._feeds = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, Batch] | None:
        """The next batch; None at the end."""
        return next(self._feeds, None)
