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
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
)

from dlkit.errors import ExportError
from dlkit.export.run_graph import GraphSession
from dlkit.graph.measure import measure
from dlkit.graph.tidy import tidied
from dlkit.tasks import Feeds, batch_of

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class QdqGraph:
    """A float32 graph whose layers can be quantised in any choice.

    Attributes:
        layers: names of the nodes that can be: convolutions and matrix products with constant
            weights, in the graph's order.
        multiply_adds: of each of them, for the inputs given.
    """

    def __init__(self, graph: bytes, sizes: Mapping[str, Sequence[int]]) -> None:
        """Read a graph, as ``lower.prepared`` gives it.

        Args:
            sizes: shape of each input by its name, to count arithmetic for.

        Raises:
            ExportError: no layer that can be quantised.
        """
        self._model = onnx.load_from_string(graph)
        constant = {
            tensor.name
            for tensor in self._model.graph.initializer
            if np.isfinite(onnx.numpy_helper.to_array(tensor).astype(np.float64)).all()
        }
        # the quantiser would write such an input anew, under its own name
        ends = {one.name for one in self._model.graph.input}
        ends &= {one.name for one in self._model.graph.output}
        found = [
            node
            for node in self._model.graph.node
            if node.op_type in OPERATORS and node.input[1] in constant and node.input[0] not in ends
        ]
        self._inputs = {node.input[0] for node in found}
        if not found:
            raise ExportError(
                "the graph has no convolution or matrix product to quantise: those with weights of "
                "the graph itself are, not those inside If, Loop or Scan, LSTM, GRU, RNN, Einsum "
                "or operators of ONNX Runtime's own, nor those whose weights are inputs or "
                "infinite, or whose input is an output, too",
                "Use --precision fp16",
            )
        self.names = {node.name for node in self._model.graph.node}
        self.layers = [node.name for node in found]
        self.multiply_adds = self._count(sizes)
        self._ranges: Any = None

    def calibrate(self, batches: Iterable[Feeds]) -> None:
        """Take the ranges of activations: their minimum and maximum over all inputs.

        Raises:
            ExportError: the graph does not run on them, or what a layer takes is not finite.
        """
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model.onnx"
            onnx.save(self._model, source)
            calibrator = create_calibrator(
                source,
                list(OPERATORS),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            try:
                with warnings.catch_warnings(action="ignore"):  # NaN is looked for below
                    calibrator.collect_data(_Reader(self._fitting(batches)))
                    self._ranges = calibrator.compute_data()
            except Exception as error:  # ONNX Runtime's own; they have no common public base
                line = str(error).strip().partition("\n")[0]
                raise ExportError(
                    f"the graph does not run on the calibration data: {line}",
                    "Name inputs that it was made for with --data",
                ) from error
        for name, found in self._ranges.items():
            if name in self._inputs and not np.isfinite(found.range_value).all():
                raise ExportError(
                    f"{name}, which a layer takes, is infinite or NaN on the calibration data",
                    "Name inputs that the network was made for with --data",
                )

    def _fitting(self, batches: Iterable[Feeds]) -> Iterable[Feeds]:
        """In parts, where the graph takes a fixed number of samples; the last is filled up with its
        first ones, which change no range."""
        first = self._model.graph.input[0].type.tensor_type.shape.dim
        size = first[0].dim_value if first else 0
        if size < 1 or GraphSession(self._model).spec.fixed_batch is None:
            return batches
        return [
            {name: array[np.arange(at, at + size) % len(array)] for name, array in feeds.items()}
            for feeds in batches
            for at in range(0, batch_of(feeds), size)
        ]

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

    def _count(self, sizes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        graph = tidied(ir.from_proto(self._model))
        counted = measure(graph, sizes)
        layers = set(self.layers)
        return {one.name: one.multiply_adds for one in counted.layers if one.name in layers}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """What ONNX Runtime's calibrator reads."""

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._feeds = iter([dict(feeds) for feeds in batches])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch; None at the end."""
        return next(self._feeds, None)
