"""Kernels that TensorRT for RTX compiled count only where their hash fits, as engines do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dlkit.runtime.session import open_session

from .test_tensorrt_backend import Machine, machine  # noqa: F401  # a fixture

pytestmark = pytest.mark.long

FRESH = b"kernels of this GPU:[1, 4, 4]"  # of opening alone


def kernels(machine: Machine, shape: tuple[int, ...] | None = None) -> bytes:  # noqa: F811
    """What a session has compiled or taken over, in a process of its own."""
    session = open_session(machine.bundle, "tensorrt", "cuda").session
    if shape is not None:
        session(np.zeros(shape, np.uint8))
    found = bytes(machine.trt.caches[-1].serialize())
    session.close()
    del session
    machine.restart()
    return found


@pytest.mark.parametrize("machine", ["tensorrt_rtx, installed"], indirect=True)
def test_kernels_that_were_changed_are_ignored_and_replaced(machine: Machine) -> None:  # noqa: F811
    cache = machine.add().runtime_cache
    whole = kernels(machine, (2, 8, 8))
    assert len(whole) > len(FRESH)
    assert kernels(machine) == cache.read_bytes() == whole
    hashed = cache.with_name(f"{cache.name}.sha256")

    def damages() -> Iterator[None]:
        for wrong in (whole + b"!", whole.replace(b"4", b"5"), b"kernels of this GPU: of others"):
            cache.write_bytes(wrong)
            yield  # the GPU would take each of these
        hashed.unlink()
        yield
        hashed.write_bytes(b"\xff")
        yield

    for _ in damages():
        assert kernels(machine) == cache.read_bytes() == FRESH
        assert kernels(machine, (2, 8, 8)) == cache.read_bytes() == whole
        assert kernels(machine) == whole
    assert not list(machine.bundle.engines.glob(".*"))
