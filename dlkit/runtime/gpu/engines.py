"""Which engines of a bundle fit this machine, and why the others do not."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, engine_files
from dlkit.errors import BundleError
from dlkit.runtime.gpu.driver import compute_capability
from dlkit.runtime.gpu.flavor import FLAVORS, why_not
from dlkit.runtime.unavailable import Unavailable

_TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
_AMPERE = (8, 0)


@dataclass(frozen=True)
class Found:
    """The engines of a bundle.

    Attributes:
        fitting: those that this machine should run, the best first.
        refused: reason by file name of the others.
    """

    fitting: tuple[Engine, ...]
    refused: dict[str, Unavailable]


def find_engines(bundle: Bundle) -> Found:
    """Look at every engine of a bundle: its sidecar, its flavour and version, this GPU.

    The engines' bytes are not read.
    """
    compute = compute_capability()
    fitting: list[Engine] = []
    refused: dict[str, Unavailable] = {}
    for path in engine_files(bundle):
        try:
            engine = Engine.open(path, bundle)
        except BundleError as error:
            refused[path.name] = Unavailable(error.what, error.mend)
            continue
        flavor = engine.key.flavor
        missing = why_not(flavor)
        version = None if missing else str(importlib.import_module(flavor).__version__)
        reason = missing or why_not_here(engine, flavor, version, compute)
        if reason is None:
            fitting.append(engine)
        else:
            refused[path.name] = reason
    # The flavour's own order first, the latest build before older ones.
    fitting.sort(key=lambda engine: str(engine.built.get("date", "")), reverse=True)
    fitting.sort(key=lambda engine: FLAVORS.index(engine.key.flavor))
    return Found(tuple(fitting), refused)


def why_not_here(
    engine: Engine, flavor: str | None, version: str | None, compute: str | None
) -> Unavailable | None:
    """Why an engine does not fit a machine; None when it should.

    Args:
        flavor: TensorRT that the machine has, ``tensorrt`` or ``tensorrt_rtx``.
        version: of that; None when it is not there.
        compute: compute capability of the machine's GPU, e.g. ``9.0``; None without a GPU.
    """
    key = engine.key
    has_version = flavor == key.flavor and version is not None and _version_fits(engine, version)
    has_compute = compute is not None and _compute_fits(engine, compute)
    if has_version and has_compute:
        return None
    target = f"for {', '.join(map(_sm, key.compute))} " if key.compute else ""
    gpu = _sm(compute) if compute else "no NVIDIA GPU"
    if version is None or flavor is None:
        library = f"no {_title(key.flavor)}"
    else:
        library = version if flavor == key.flavor else f"{_title(flavor)} {version}"
    return Unavailable(
        f"engine built {target}with {_title(key.flavor)} {key.version}; "
        f"this machine has {gpu} and {library}",
        f"Build it again: dlkit export {engine.path.parent.parent} --trt",
    )


def _version_fits(engine: Engine, version: str) -> bool:
    """The very version; or a later one of the same major for a version-compatible engine."""
    if "version_compatible" in engine.key.flags:
        built, here = _numbers(engine.key.version), _numbers(version)
        return built[:1] == here[:1] and here >= built
    return engine.key.version == version


def _compute_fits(engine: Engine, compute: str) -> bool:
    """One that it was built for. An engine that names none is judged by TensorRT itself."""
    if "hardware_compatible" in engine.key.flags:
        return _numbers(compute) >= _AMPERE
    return not engine.key.compute or compute in engine.key.compute


def _numbers(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in dotted.split(".") if part.isdigit())


def _sm(compute: str) -> str:
    return "sm_" + compute.replace(".", "")


def _title(flavor: str) -> str:
    return _TITLES.get(flavor, flavor)
