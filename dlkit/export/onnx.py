"""A run into a bundle."""

from __future__ import annotations

import datetime
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch

from dlkit.bundle import Bundle, sha256
from dlkit.errors import ExportError, UsageError
from dlkit.export.precision import to_float16
from dlkit.spec import PRECISIONS, ModelSpec, TensorSpec
from dlkit.training.pixels import DIGIT_SIZE, PixelClassifier, wrap
from dlkit.training.recipe import ARCHITECTURES, Recipe
from dlkit.training.run import Run

# Read by ONNX Runtime 1.14, OpenVINO 2023 and TensorRT 8.6 and later.
OPSET = 18
INPUT, OUTPUT = "pixels", {"recognize": "probabilities", "denoise": "cleaned"}
_MAX_BATCH = 4096
_SMALLEST, _LARGEST = 16, 16384  # heights and widths that a denoiser's graph promises to take


def export_run(path: Path, precision: str = "fp32", out: Path | None = None) -> Bundle:
    """Export a trained run.

    Args:
        path: the run's folder.
        precision: one of ``dlkit.spec.PRECISIONS``.
        out: the bundle's folder; ``default_bundle`` when None.

    Raises:
        TrainingError: no run, or a damaged one.
        UsageError: unknown precision.
        ExportError: the graph cannot be made.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'. There are: {', '.join(PRECISIONS)}")
    run = Run(path)
    recipe = run.load_recipe()
    graph, spec = export_network(recipe, run.load_network(), path.resolve().name, precision)
    checkpoint = run.load_checkpoint()
    origin = {
        "run": path.resolve().name,
        "checkpoint_sha256": sha256(run.checkpoint),
        "recipe": recipe.to_json(),
        "dataset": checkpoint.get("dataset"),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "opset": OPSET,
        "date": datetime.date.today().isoformat(),
    }
    return Bundle.create(out or default_bundle(path, precision), graph, spec, origin)


def default_bundle(run: Path, precision: str) -> Path:
    """Where a run's bundle goes: inside the run."""
    return run / f"bundle-{precision}"


def export_network(
    recipe: Recipe, network: torch.nn.Module, name: str, precision: str
) -> tuple[bytes, ModelSpec]:
    """A network, with its pixel wrapper, as the bytes of an ONNX file and its spec."""
    task = recipe.task
    model = wrap(task, network.eval(), recipe.network).eval()
    batch = torch.export.Dim("n", min=1, max=_MAX_BATCH)
    multiple_of = 1
    labels: tuple[str, ...] = ()
    shape: tuple[int | str, ...]
    dims: dict[int, Any] = {0: batch}
    if isinstance(model, PixelClassifier):
        # A batch of 2: with 1 the exporter may take the batch for a constant.
        pixels = torch.zeros(2, DIGIT_SIZE, DIGIT_SIZE, dtype=torch.uint8)
        shape = ("n", DIGIT_SIZE, DIGIT_SIZE)
        labels = tuple(str(label) for label in range(recipe.network.classes))
        output_shape: tuple[int | str, ...] = ("n", recipe.network.classes)
        output_dtype = "float32"
    else:
        multiple_of = int(ARCHITECTURES.load(recipe.architecture).MULTIPLE_OF)
        pixels = torch.zeros(2, 6 * multiple_of, 8 * multiple_of, dtype=torch.uint8)
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
    graph = _trace(model, pixels, dims, spec)
    if precision == "fp16":
        graph = to_float16(graph)
    proto = ir.to_proto(graph)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{name}: the exported graph is invalid: {error}") from error
    return proto.SerializeToString(), spec


def _trace(
    model: torch.nn.Module, pixels: torch.Tensor, dims: dict[int, Any], spec: ModelSpec
) -> ir.Model:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations are not the user's
        program = torch.onnx.export(
            model,
            (pixels,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.input.name],
            output_names=[spec.output.name],
            dynamic_shapes=(dims,),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportError(f"{spec.name}: torch.onnx.export gave nothing")
    return program.model
