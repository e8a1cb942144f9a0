"""Whether an engine can run here, by what its sidecar says; the engine itself is not loaded."""

from __future__ import annotations

from dlkit.engine import Engine

_VERSION_FREE = "version_compatible"
_HARDWARE_FREE = "hardware_compatible"


def why_not_here(
    engine: Engine, flavor: str | None, version: str | None, compute: str | None
) -> str | None:
    """Why the engine does not fit a machine; None when it should.

    Args:
        flavor: TensorRT flavour that is there, or None.
        version: of that flavour.
        compute: compute capability of the GPU, e.g. ``8.9``; None where it is unknown.
    """
    key = engine.key
    if flavor != key.flavor:
        return f"it needs {key.flavor} {key.version}; here is {flavor or 'none'}"
    same_major = str(version).partition(".")[0] == key.version.partition(".")[0]
    free = any(_VERSION_FREE in flag for flag in key.flags) and same_major
    if version != key.version and not free:
        return f"it was built with {flavor} {key.version}; here is {version}"
    free = any(_HARDWARE_FREE in flag for flag in key.flags)
    if compute and key.compute and compute not in key.compute and not free:
        return f"it was built for compute capability {', '.join(key.compute)}; here is {compute}"
    return None
