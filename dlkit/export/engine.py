"""A bundle into a TensorRT engine, with ``tensorrt`` or ``tensorrt_rtx``.

Networks are strongly typed: the graph's types are the engine's types. TensorRT 11 knows nothing
else, and the old FP16 flag would be ignored in silence. Names that only some versions have are
looked up, never written as literal bits.
"""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import filelock

from dlkit.atomic import PART, write_bytes
from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, EngineKey
from dlkit.errors import BundleError, UsageError
from dlkit.export.build_options import BuildOptions, profile_shapes
from dlkit.export.build_thread import BuildWatch, run_build
from dlkit.export.proof.layers import Proof, inspected_types, prove
from dlkit.export.trt_graph import build_error, parse
from dlkit.plugins import unknown
from dlkit.runtime.gpu.driver import compute_capability, no_cuda
from dlkit.runtime.gpu.flavor import load_flavor, logger
from dlkit.spec import PRECISIONS


def build_engine(
    bundle: Bundle,
    options: BuildOptions | None = None,
    precision: str | None = None,
    watch: BuildWatch | None = None,
) -> tuple[Engine, bool]:
    """Build an engine into the bundle's ``engines/``, or find it there.

    Args:
        precision: that the engine must have; the bundle's own by default.
        watch: called with the phase and the share that is done, 0 to 1, from another thread.

    Returns:
        The engine, and whether it was built now (False: the same one was there).

    Raises:
        BackendError: no such TensorRT here.
        UsageError: options that cannot be.
        ExportError: TensorRT refuses the graph, or its arithmetic is not in ``precision``.
        KeyboardInterrupt: Ctrl-C; nothing is left behind.
    """
    options = options or BuildOptions()
    precision = precision or bundle.spec.precision
    if precision not in PRECISIONS:
        raise unknown("precision", precision, list(PRECISIONS))
    trt = load_flavor(options.flavor)
    key = engine_key(trt, bundle, options, precision)
    bundle.engines.mkdir(exist_ok=True)
    # Two builds of one engine: the second waits, then finds it.
    with filelock.FileLock(bundle.engines / f".{Path(key.file_name()).stem}.lock"):
        path = bundle.engines / key.file_name()
        if path.is_file() and not options.rebuild:
            try:
                engine = Engine.open(path, bundle)
                engine.read()
                return engine, False
            except BundleError:
                pass  # half of an older build, or damaged: build it again
        for part in bundle.engines.glob(f".{path.stem}*{PART}"):
            part.unlink()  # of a build that was killed
        begun = time.monotonic()
        proof = _prove(trt, bundle, key, options.share)
        plan = _build(trt, bundle, key, watch)
        proof = replace(proof, engine=_inspect(trt, plan))
        built = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 2),
            "machine": f"{platform.system()} {platform.machine()}",
        }
        return Engine.create(bundle, key, plan, proof.to_json(), built), True


def engine_key(trt: ModuleType, bundle: Bundle, options: BuildOptions, precision: str) -> EngineKey:
    """Everything that makes this engine another one.

    Raises:
        UsageError: options that cannot be, or that the flavour does not have.
    """
    rtx = trt.__name__ == "tensorrt_rtx"
    flags = []
    for name in ("hardware_compatible", "version_compatible"):
        if getattr(options, name):
            if rtx:
                raise UsageError(
                    f"{name} is an option of tensorrt; engines of tensorrt_rtx run on several "
                    "kinds of GPU by themselves",
                    "Name those with --compute",
                )
            flags.append(name)
    if options.compute and not rtx:
        raise UsageError("tensorrt builds for the GPU of this machine", "Leave --compute out")
    known = getattr(trt, "ComputeCapability", None)
    for compute in options.compute:
        if not hasattr(known, _member(compute)):
            there = ", ".join(
                f"{name[2:-1]}.{name[-1]}" for name in dir(known) if name.startswith("SM")
            )
            raise UsageError(f"{trt.__name__} cannot build for {compute}", f"There are: {there}")
    if precision == "fp32":
        flags.append("no_tf32")  # TensorFloat-32 has 10 bits of mantissa: not what was asked for
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # TensorRT for RTX demands it of engines that are recorded into CUDA graphs.
        flags.append("require_user_allocation")
    this_gpu = compute_capability()
    target = options.compute if rtx or this_gpu is None else (this_gpu,)
    return EngineKey(
        onnx_sha256=bundle.sha256,
        flavor=trt.__name__,
        version=trt.__version__,
        precision=precision,
        compute=tuple(sorted(set(target))),
        shapes=profile_shapes(bundle, options),
        flags=tuple(sorted(flags)),
    )


def _prove(trt: ModuleType, bundle: Bundle, key: EngineKey, share: float | None) -> Proof:
    network, _builder = parse(trt, bundle, key.shapes)
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        tensor.shape = key.shapes[tensor.name][1]
    kept = bundle.origin.get("kept_fp32", ())
    return prove(trt, network, key.precision, share, kept)


def _build(trt: ModuleType, bundle: Bundle, key: EngineKey, watch: BuildWatch | None) -> bytes:
    network, builder = parse(trt, bundle, key.shapes)
    config = builder.create_builder_config()
    _set_profile(trt, builder, network, config, key)
    # The inspector and trtexec can then tell the type of every layer.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for name in ("require_user_allocation", "version_compatible"):
        if name in key.flags:
            config.set_flag(getattr(trt.BuilderFlag, name.upper()))
    if "no_tf32" in key.flags:
        config.clear_flag(trt.BuilderFlag.TF32)
    if "hardware_compatible" in key.flags:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if key.flavor == "tensorrt_rtx" and key.compute:
        config.num_compute_capabilities = len(key.compute)
        for index, compute in enumerate(key.compute):
            member = getattr(trt.ComputeCapability, _member(compute))
            config.set_compute_capability(member, index)
    save_timings = _use_timing_cache(trt, config, key)
    plan = run_build(trt, builder, network, config, watch)
    if plan is None:
        raise build_error(trt, bundle, logger(trt).last, key.precision)
    save_timings()
    return bytes(plan)


def _set_profile(trt: ModuleType, builder: Any, network: Any, config: Any, key: EngineKey) -> None:
    """The range of each input that leaves axes free; fixed ones need none."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    free = [tensor for tensor in inputs if any(axis < 0 for axis in tensor.shape)]
    if not free:
        return
    profile = builder.create_optimization_profile()
    for tensor in free:
        shapes = key.shapes[tensor.name]
        try:
            profile.set_shape(tensor.name, *shapes)
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"{trt.__name__} refuses the profile {shapes} of {tensor.name}: {error}"
            ) from error
    config.add_optimization_profile(profile)


def _use_timing_cache(trt: ModuleType, config: Any, key: EngineKey) -> Callable[[], None]:
    """Share kernel timings between builds; gives what saves them. RTX times nothing."""
    if key.flavor == "tensorrt_rtx":
        return lambda: None
    import platformdirs  # a machine with TensorRT for RTX alone may lack it

    name = f"timing-{key.flavor}-{key.version}-{'-'.join(key.compute)}.cache"
    path = platformdirs.user_cache_path("dlkit") / name
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, bytes(config.get_timing_cache().serialize()))

    return save


def _inspect(trt: ModuleType, plan: bytes) -> dict[str, int]:
    """Layers by type in the built engine; nothing where no GPU can load it."""
    if no_cuda() is not None:
        return {}
    runtime = trt.Runtime(logger(trt))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return {}  # built for another GPU than this one
    inspector = engine.create_engine_inspector()
    return inspected_types(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _member(compute: str) -> str:
    """Name of a compute capability in the bindings: 8.6 is SM86."""
    return "SM" + compute.replace(".", "")
