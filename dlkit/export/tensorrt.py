"""A bundle into a TensorRT engine, with ``tensorrt`` or ``tensorrt_rtx``, whichever is installed.

Networks are strongly typed: the graph's types are the engine's types. TensorRT 11 knows nothing
else, and the old FP16 flag would be ignored in silence. Names that only some versions have are
looked up, never written as literal bits.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from dlkit.atomic import write_bytes
from dlkit.bundle import Bundle
from dlkit.errors import ExportError

FLAVORS = ("tensorrt", "tensorrt_rtx")


def find_flavor() -> ModuleType:
    """The TensorRT that is installed.

    Raises:
        ExportError: neither is, with the mend.
    """
    for name in FLAVORS:
        if importlib.util.find_spec(name) is not None:
            try:
                return importlib.import_module(name)
            except (ImportError, OSError, RuntimeError):
                continue  # a placeholder whose libraries were never fetched
    raise ExportError(
        "no TensorRT is installed: pip install 'dlkit[tensorrt]', or 'dlkit[tensorrt-rtx]', "
        "which builds engines on machines without a GPU too"
    )


def build_engine(bundle: Bundle, batch: int = 16, size: tuple[int, int] = (680, 384)) -> Path:
    """Build an engine for batches of 1 to ``batch`` into the bundle's ``engines/``.

    Args:
        size: height and width that free axes are optimised for; up to twice as much is taken.

    Returns:
        The engine's file, named by flavour, version, precision and hash of the graph.

    Raises:
        ExportError: no TensorRT, or it refuses the graph.
    """
    trt = find_flavor()
    logger = _quiet_logger(trt)
    builder = trt.Builder(logger)
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if strongly_typed is None:
        raise ExportError(f"{trt.__name__} {trt.__version__} is too old: 10.0 or newer is needed")
    network = builder.create_network(1 << int(strongly_typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(bundle.onnx.read_bytes()):
        errors = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise ExportError(f"{trt.__name__} cannot parse {bundle.onnx}: {errors}")
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, bundle, batch, size))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"{trt.__name__} cannot build {bundle.path}: {logger.last}")
    name = f"{trt.__name__}-{trt.__version__}-{bundle.spec.precision}-{bundle.sha256[:16]}.engine"
    bundle.engines.mkdir(exist_ok=True)
    write_bytes(bundle.engines / name, bytes(plan))
    return bundle.engines / name


def _profile(builder: Any, bundle: Bundle, batch: int, size: tuple[int, int]) -> Any:
    spec, profile = bundle.spec, builder.create_optimization_profile()
    shapes = []
    for images, scale in ((1, 0), (batch, 1), (batch, 2)):
        shape = [images]
        for axis, wanted in zip(spec.input.shape[1:], size, strict=True):
            if isinstance(axis, int):
                shape.append(axis)
            else:
                free = wanted * scale or 64
                shape.append(-(-free // spec.multiple_of) * spec.multiple_of)
        shapes.append(tuple(shape))
    profile.set_shape(spec.input.name, *shapes)
    return profile


def _quiet_logger(trt: ModuleType) -> Any:
    """A logger that keeps the last error instead of printing."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.last = "no reason given"

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last = message

    return Logger()
