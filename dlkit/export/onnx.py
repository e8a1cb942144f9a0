"""A run into a bundle."""

from __future__ import annotations

import datetime
import logging
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx
import onnx_ir as ir
import torch

from dlkit.bundle import Bundle, sha256
from dlkit.errors import ExportError, UsageError
from dlkit.export.precision import to_half
from dlkit.export.quantize import Progress, quantize
from dlkit.spec import PRECISIONS, ModelSpec, TensorSpec
from dlkit.training.pixels import DIGIT_SIZE, PixelClassifier, wrap
from dlkit.training.recipe import ARCHITECTURES, Recipe
from dlkit.training.run import Run

# Read by ONNX Runtime 1.14, OpenVINO 2023 and TensorRT 8.6 and later.
OPSET = 18
# The first in which convolutions take bfloat16; TensorRT 10.8 and OpenVINO 2025 read it.
OPSET_BFLOAT16 = 22
INPUT, OUTPUT = "pixels", {"recognize": "probabilities", "denoise": "cleaned"}
_MAX_BATCH = 4096
_SMALLEST, _LARGEST = 16, 16384  # heights and widths that a denoiser's graph promises to take


def export_run(
    path: Path,
    precision: str = "fp32",
    out: Path | None = None,
    keep: Collection[str] = (),
    data: str | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Export a trained run.

    Args:
        path: the run's folder.
        precision: one of ``dlkit.spec.PRECISIONS``.
        out: the bundle's folder; ``default_bundle`` when None.
        keep: names of nodes that stay float32, for all but ``fp32``.
        data: int8: training images to calibrate on, as ``calibration_images`` takes them.
        progress: called with what is done next.

    Raises:
        TrainingError: no run, or a damaged one.
        UsageError: unknown precision.
        ExportError: the graph cannot be made, or int8 loses too much.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'. There are: {', '.join(PRECISIONS)}")
    run = Run(path)
    recipe = run.load_recipe()
    name = path.resolve().name
    checkpoint = run.load_checkpoint()
    pixels = {"temperature": run.load_temperature(), "levels": True}
    graph, spec = trace(recipe, run.load_network(), name, precision, pixels)
    origin: dict[str, Any] = {
        "run": name,
        "checkpoint_sha256": sha256(run.checkpoint),
        "recipe": recipe.to_json(),
        "dataset": checkpoint.get("dataset"),
        **({"pixels": pixels} if recipe.task == "recognize" else {}),
        "kept_fp32": sorted(keep),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "opset": graph.opset_imports[""],
        "date": datetime.date.today().isoformat(),
    }
    if precision == "int8":
        full = lower(graph, name, "fp32")
        int8 = quantize(full, spec, origin, keep, data, progress)
        onnx_bytes, origin["int8"] = int8.graph, int8.report
    else:
        onnx_bytes = lower(graph, name, precision, keep)
    return Bundle.create(out or default_bundle(path, precision), onnx_bytes, spec, origin)


def default_bundle(run: Path, precision: str) -> Path:
    """Where a run's bundle goes: inside the run."""
    return run / f"bundle-{precision}"


def trace(
    recipe: Recipe,
    network: torch.nn.Module,
    name: str,
    precision: str,
    pixels: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[ir.Model, ModelSpec]:
    """A network, with its pixel wrapper, as a float32 graph, and the spec that it will have.

    Args:
        precision: that ``lower`` will give it: it decides the opset.
        pixels: what ``wrap`` takes beside the network: a classifier's temperature and levels.
    """
    task = recipe.task
    model = wrap(task, network.eval(), recipe.network, **pixels).eval()
    batch = torch.export.Dim("n", min=1, max=_MAX_BATCH)
    multiple_of = 1
    labels: tuple[str, ...] = ()
    shape: tuple[int | str, ...]
    dims: dict[int, Any] = {0: batch}
    if isinstance(model, PixelClassifier):
        # A batch of 2: with 1 the exporter may take the batch for a constant.
        example = torch.zeros(2, DIGIT_SIZE, DIGIT_SIZE, dtype=torch.uint8)
        shape = ("n", DIGIT_SIZE, DIGIT_SIZE)
        labels = tuple(str(label) for label in range(recipe.network.classes))
        output_shape: tuple[int | str, ...] = ("n", recipe.network.classes)
        output_dtype = "float32"
    else:
        multiple_of = int(ARCHITECTURES.load(recipe.architecture).MULTIPLE_OF)
        example = torch.zeros(2, 6 * multiple_of, 8 * multiple_of, dtype=torch.uint8)
        least, most = -(-_SMALLEST // multiple_of), _LARGEST // multiple_of
        for axis, letter in ((1, "h"), (2, "w")):
            dims[axis] = multiple_of * torch.export.Dim(letter, min=max(2, least), max=most)
        shape = output_shape = ("n", "height", "width")
        output_dtype = "uint8"
    spec = ModelSpec(
        name=name,
        task=task,
        precision=precision,
        input=TensorSpec(INPUT, "uint8", shape),
        output=TensorSpec(OUTPUT[task], output_dtype, output_shape),
        multiple_of=multiple_of,
        labels=labels,
    )
    opset = OPSET_BFLOAT16 if precision == "bf16" else OPSET
    return _trace(model, example, dims, spec, opset), spec


def lower(graph: ir.Model, name: str, precision: str, keep: Collection[str] = ()) -> bytes:
    """A float32 graph, changed in place, as the bytes of an ONNX file in ``precision``.

    int8 needs training images: ``dlkit.export.quantize`` makes it of the float32 bytes.

    Args:
        name: of the network, for messages.
        keep: names of nodes that stay float32.
    """
    if precision in ("fp16", "bf16"):
        graph = to_half(graph, precision, keep)
    elif keep:
        raise UsageError(
            f"nodes to keep in fp32 make no sense in {precision}: use fp16, bf16 or int8"
        )
    proto = ir.to_proto(graph)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name}: the exported graph is invalid: {error}") from error
    return bytes(proto.SerializeToString())


def _trace(
    model: torch.nn.Module, pixels: torch.Tensor, dims: dict[int, Any], spec: ModelSpec, opset: int
) -> ir.Model:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations are not the user's
        program = torch.onnx.export(
            model,
            (pixels,),
            dynamo=True,
            opset_version=opset,
            input_names=[spec.input.name],
            output_names=[spec.output.name],
            dynamic_shapes=(dims,),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportError(f"{spec.name}: torch.onnx.export gave nothing")
    return without_paths(program.model)


def without_paths(model: ir.Model) -> ir.Model:
    """Take out the stack traces that torch notes in each node: paths of the machine that exported.

    The names of the modules stay.
    """
    for node in model.graph:
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    return model
