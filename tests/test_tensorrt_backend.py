"""TensorRT's backend: which engine is taken, what is said of the others, and a session.

The session runs dlkit's own code from ``open_session`` down to each call of TensorRT and of the
GPU; behind those calls is numpy (fake_trt.py, fake_gpu.py), with the attributes of each real
version: recorded from NVIDIA's wheels (tensorrt_names/), and TensorRT for RTX's as it is installed.
Nothing here runs on a GPU; test_cuda.py has the calls of CUDA.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dlkit
from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, EngineKey
from dlkit.errors import BackendError, UsageError
from dlkit.runtime.backends import _network, tensorrt
from dlkit.runtime.gpu import engines
from dlkit.runtime.gpu.engines import why_not_here
from dlkit.runtime.gpu.profile import Profile
from dlkit.runtime.session import BACKENDS, Unavailable, open_session
from dlkit.spec import ModelSpec, TensorSpec

from .fake_gpu import FakeGpu
from .fake_trt import PIXELS, make_trt, plan
from .long import long

PROFILE = Profile((1, 4, 4), (4, 8, 8), (8, 40, 16))
KEY = EngineKey(
    onnx_sha256="0" * 64,
    flavor="tensorrt",
    version="11.3.0",
    precision="fp16",
    compute=("8.9",),
    shapes={"pixels": (PROFILE.smallest, PROFILE.best, PROFILE.largest)},
    flags=(),
)
_ENGINE = Engine(Path("b/engines/x.engine"), KEY, "", {}, {})
_RECORDED = sorted((Path(__file__).parent / "tensorrt_names").glob("*.json"))


def engine(**changes: Any) -> Engine:
    return replace(_ENGINE, key=replace(KEY, **changes))


@pytest.mark.parametrize(
    ("changes", "machine"),
    [
        ({}, ("tensorrt", "11.3.0", "8.9")),
        ({"compute": ("8.6", "9.0")}, ("tensorrt", "11.3.0", "9.0")),
        ({"compute": (), "flavor": "tensorrt_rtx"}, ("tensorrt_rtx", "11.3.0", "7.5")),
        ({"flags": ("hardware_compatible",)}, ("tensorrt", "11.3.0", "12.0")),
        ({"flags": ("version_compatible",)}, ("tensorrt", "11.10.0", "8.9")),
    ],
)
def test_an_engine_that_fits(changes: dict[str, Any], machine: tuple[str, str, str]) -> None:
    assert why_not_here(engine(**changes), *machine) is None


@pytest.mark.parametrize(
    ("changes", "machine", "message"),
    [
        ({}, ("tensorrt", "11.4.0", "9.0"), "this machine has sm_90 and 11.4.0."),
        ({}, ("tensorrt", "11.3.0", "9.0"), "this machine has sm_90 and 11.3.0."),
        ({}, ("tensorrt", "11.4.0", "8.9"), "this machine has sm_89 and 11.4.0."),
        ({}, ("tensorrt", "11.3.0", None), "this machine has no NVIDIA GPU and 11.3.0."),
        ({}, ("tensorrt", None, "8.9"), "this machine has sm_89 and no TensorRT."),
        ({}, (None, None, "8.9"), "this machine has sm_89 and no TensorRT."),
        ({}, ("tensorrt_rtx", "1.7.1", "8.9"), "sm_89 and TensorRT for RTX 1.7.1."),
        ({"flags": ("hardware_compatible",)}, ("tensorrt", "11.3.0", "7.5"), "has sm_75 and"),
        ({"flags": ("version_compatible",)}, ("tensorrt", "12.0.0", "8.9"), "and 12.0.0."),
        ({"flags": ("version_compatible",)}, ("tensorrt", "11.2.9", "8.9"), "and 11.2.9."),
    ],
)
def test_an_engine_that_does_not(
    changes: dict[str, Any], machine: tuple[str | None, str | None, str | None], message: str
) -> None:
    reason = why_not_here(engine(**changes), *machine)
    assert reason is not None
    assert reason.what.startswith("engine built for sm_89 with TensorRT 11.3.0; this machine has ")
    assert message in f"{reason.what}."
    assert reason.mend == "Build it again: dlkit export b --trt"


@dataclass
class Machine:
    """A stand-in for a machine with a GPU and one TensorRT."""

    gpu: FakeGpu
    trt: Any
    bundle: Bundle

    def add(self, compute: tuple[str, ...] = ("8.9",), **content: Any) -> Engine:
        key = replace(
            KEY,
            onnx_sha256=self.bundle.sha256,
            flavor=self.trt.__name__,
            version=content.pop("version", self.trt.__version__),
            compute=compute,
        )
        data = content.pop("plan", plan({"pixels": PROFILE}))
        return Engine.create(self.bundle, key, data, {}, {"date": "2026-01-01"} | content)

    def restart(self) -> None:
        """Let go of everything: another process."""
        gc.collect()
        assert self.gpu.held == 0
        assert self.gpu.closed
        self.gpu.closed = False


def live_names() -> dict[str, Sequence[str]]:
    trt = importlib.import_module("tensorrt_rtx")
    return {name: dir(getattr(trt, name)) for name in dir(trt)}


@pytest.fixture(
    params=[
        "tensorrt_rtx, installed",
        *map(long, (path.stem for path in _RECORDED[:-1])),
        _RECORDED[-1].stem,
    ]
)
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    recorded = {path.stem: path for path in _RECORDED}
    gpu = FakeGpu()
    if request.param in recorded:
        names = json.loads(recorded[request.param].read_text())
        trt = make_trt("tensorrt", "11.4.0", names, gpu)
    else:
        trt = make_trt("tensorrt_rtx", "1.7.1", live_names(), gpu)
    spec = ModelSpec(
        name="fake",
        task="denoise",
        precision="fp16",
        inputs=(TensorSpec("pixels", "uint8", ("n", "h", "w")),),
        outputs=(TensorSpec("output", "uint8", ("n", "h", "w")),),
    )
    bundle = Bundle.create(tmp_path / "b", b"graph", spec, {})
    monkeypatch.setattr(engines, "compute_capability", lambda: "8.9")
    monkeypatch.setattr(
        engines, "why_not", lambda name: None if name == trt.__name__ else Unavailable("not there")
    )
    monkeypatch.setattr(tensorrt, "no_cuda", lambda: None)
    monkeypatch.setattr(tensorrt, "Cuda", lambda: gpu)
    monkeypatch.setattr(_network, "logger", lambda trt: SimpleNamespace(last="what TensorRT said"))
    monkeypatch.setitem(sys.modules, trt.__name__, trt)
    return Machine(gpu, trt, bundle)


def test_auto_prefers_an_engine_that_fits_and_says_why_not_where_none_does(
    machine: Machine,
) -> None:
    backend = BACKENDS.load("tensorrt")
    assert backend.unavailable(machine.bundle, "cpu")
    mend = f"Build one: dlkit export {machine.bundle.path} --trt"
    assert backend.unavailable(machine.bundle, "cuda") == Unavailable(
        "the bundle has no engine", mend
    )
    machine.add(compute=("9.0",))
    with pytest.raises(BackendError, match=r"engine built for sm_90 .* this machine has sm_89 and"):
        open_session(machine.bundle, "auto", "cuda")
    machine.add()
    opened = open_session(machine.bundle, "auto", "cuda")
    assert (opened.session.backend, opened.session.device) == ("tensorrt", "cuda")
    assert opened.passed_over == {}
    opened.session.close()
    assert machine.gpu.held == 0


def test_session(machine: Machine) -> None:
    machine.add()
    session = open_session(machine.bundle, "tensorrt", "cuda").session
    assert isinstance(session, tensorrt.TensorRtSession)
    random = np.random.default_rng(0)
    for count in (1, 3, 19, 3, 3, 19, 3):
        batch = random.integers(0, 256, (count, 8, 12), dtype=np.uint8)
        assert (session(batch) == 255 - batch).all()
    (output,) = session.run({"pixels": batch}).values()
    assert (output == 255 - batch).all()
    assert session.graphs == "recorded"
    assert "launch" in machine.gpu.log
    with pytest.raises(BackendError, match="takes 4x4 to 40x16"):
        session(np.zeros((1, 8, 80), np.uint8))
    del session
    machine.restart()


WEIGH = (
    ("x", "INPUT", "FLOAT"),
    ("ids", "INPUT", "INT64"),
    ("by", "INPUT", "FLOAT"),
    ("y", "OUTPUT", "FLOAT"),
    ("positive", "OUTPUT", "BOOL"),
)


def weigher(machine: Machine, folder: Path, batch: int | str, scalar: bool) -> Machine:
    """An engine of two inputs, or three of which one is a scalar; its profile ends at 4 samples."""
    inputs = (
        TensorSpec("x", "float32", (batch, 5)),
        TensorSpec("ids", "int64", (batch, 2)),
        *((TensorSpec("by", "float32", ()),) if scalar else ()),
    )
    outputs = (TensorSpec("y", "float32", (batch, 5)), TensorSpec("positive", "bool", (batch,)))
    spec = ModelSpec("weigh", "tensors", "fp32", inputs, outputs)
    low, high = (batch, batch) if isinstance(batch, int) else (1, 4)
    profiles = {
        one.name: Profile((low, *one.shape[1:]), (low, *one.shape[1:]), (high, *one.shape[1:]))
        if one.shape
        else Profile((), (), ())
        for one in inputs
    }
    tensors = WEIGH if scalar else [row for row in WEIGH if row[0] != "by"]
    made = replace(machine, bundle=Bundle.create(folder, b"graph", spec, {}))
    made.add(plan=plan(profiles, tensors, "weigh"))
    return made


@pytest.mark.parametrize("batch", ["n", 3])
def test_several_inputs_are_split_and_padded_together(
    machine: Machine, batch: int | str, tmp_path: Path
) -> None:
    made = weigher(machine, tmp_path / "w", batch, scalar=False)
    session = open_session(made.bundle, "tensorrt", "cuda").session
    assert isinstance(session, tensorrt.TensorRtSession)  # nothing is around it
    random = np.random.default_rng(0)
    for count in (1, 3, 11, 3, 3, 11, 3):
        feeds: dict[str, NDArray[Any]] = {
            "ids": random.integers(-2, 3, (count, 2)),
            "x": random.standard_normal((count, 5)).astype(np.float32),
        }
        found = session.run(feeds)
        expected = feeds["x"] + feeds["ids"][:, :1]
        assert found["y"].dtype == np.float32
        assert (found["y"] == expected.astype(np.float32)).all()
        assert found["positive"].dtype == np.bool_
        assert (found["positive"] == (expected > 0).all(axis=1)).all()
    assert "launch" in machine.gpu.log
    feeds["ids"] = feeds["ids"][:1]
    with pytest.raises(BackendError, match="different numbers of samples: x 3, ids 1"):
        session.run(feeds)
    feeds["ids"] = np.zeros((3, 2), np.int32)
    with pytest.raises(BackendError, match="ids is int32, the engine takes int64"):
        session.run(feeds)
    with pytest.raises(BackendError, match=r"ids of 9 is outside .* takes 2 to 2"):
        session.run(feeds | {"ids": np.zeros((3, 9), np.int64)})
    del session
    machine.restart()


def test_calls_that_count_no_samples_run_as_they_are(machine: Machine, tmp_path: Path) -> None:
    made = weigher(machine, tmp_path / "w", "n", scalar=True)
    session = open_session(made.bundle, "tensorrt", "cuda").session
    for count in (1, 3, 3, 3, 4):
        x, ids = np.ones((count, 5), np.float32), np.ones((count, 2), np.int64)
        found = session.run({"x": x, "ids": ids, "by": np.array(2, np.float32)})
        assert (found["y"] == 3).all()
        assert found["positive"].shape == (count,)
    assert "launch" in machine.gpu.log
    x, ids = np.ones((5, 5), np.float32), np.ones((5, 2), np.int64)
    with pytest.raises(BackendError, match=r"x of 5x5 is outside .* takes 1x5 to 4x5"):
        session.run({"x": x, "ids": ids, "by": np.array(2, np.float32)})
    del session
    machine.restart()


def test_what_one_sample_gives_is_not_cut_to_one_row(machine: Machine, tmp_path: Path) -> None:
    """As the graph says, its answer counts samples; of one, its Squeeze leaves another axis."""
    inputs, outputs = (TensorSpec("x", "float32", ("n", 5)),), (TensorSpec("y", "float32", ("n",)),)
    spec = ModelSpec("squeeze", "tensors", "fp32", inputs, outputs)
    made = replace(machine, bundle=Bundle.create(tmp_path / "s", b"graph", spec, {}))
    tensors = (("x", "INPUT", "FLOAT"), ("y", "OUTPUT", "FLOAT"))
    made.add(plan=plan({"x": Profile((1, 5), (1, 5), (1, 5))}, tensors, "squeeze"))
    session = open_session(made.bundle, "tensorrt", "cuda").session
    x = np.arange(5, dtype=np.float32)[None]
    assert (session.run({"x": x})["y"] == x[0]).all()
    del session
    machine.restart()


def test_types_that_tensorrt_lacks_are_said(machine: Machine, tmp_path: Path) -> None:
    spec = replace(machine.bundle.spec, inputs=(TensorSpec("x", "float64", ("n",)),))
    made = Bundle.create(tmp_path / "d", b"graph", spec, {})
    reason = BACKENDS.load("tensorrt").unavailable(made, "cuda")
    assert reason is not None
    assert reason.what == "tensorrt has no float64: x float64 (n)"


@pytest.mark.long
def test_kernels_are_kept_beside_the_engine(machine: Machine) -> None:
    built = machine.add()
    open_session(machine.bundle, "tensorrt", "cuda").session(np.zeros((2, 8, 8), np.uint8))
    machine.restart()
    if machine.trt.__name__ == "tensorrt":
        assert not built.runtime_cache.exists()
        return
    kept = built.runtime_cache.read_bytes()
    assert kept == b"kernels of this GPU:[1, 4, 4][2, 8, 8]"
    open_session(machine.bundle, "tensorrt", "cuda")
    machine.restart()
    assert machine.trt.caches[-1].serialize() == kept
    built.runtime_cache.write_bytes(b"kernels of another GPU")
    open_session(machine.bundle, "tensorrt", "cuda")
    machine.restart()
    assert built.runtime_cache.read_bytes() == b"kernels of this GPU:[1, 4, 4]"
    assert not list(machine.bundle.engines.glob(".*"))
    strategies = {
        config.dynamic_shapes_kernel_specialization_strategy.name for config in machine.trt.contexts
    }
    assert strategies == {"LAZY"}


def test_a_recorded_shape_has_its_kernels_compiled_first(machine: Machine) -> None:
    machine.add()
    session = open_session(machine.bundle, "tensorrt", "cuda").session
    for _ in range(3):
        session(np.zeros((2, 8, 8), np.uint8))
    if machine.trt.__name__ == "tensorrt_rtx":
        names = [
            config.dynamic_shapes_kernel_specialization_strategy.name
            for config in machine.trt.contexts
        ]
        assert names == ["LAZY", "EAGER"]


@pytest.mark.long
def test_an_engine_that_does_not_load(machine: Machine) -> None:
    for content, message in (
        (plan({"pixels": PROFILE}, [PIXELS[0], ("output", "OUTPUT", "FLOAT")]), r"FLOAT.*model\.j"),
        (plan({"pixels": PROFILE}, [PIXELS[0], ("other", "OUTPUT", "UINT8")]), r"other.*model\.j"),
        (b"not an engine", "cannot load the engine: what TensorRT said"),
    ):
        machine.add(plan=content)
        with pytest.raises(BackendError, match=message):
            open_session(machine.bundle, "tensorrt", "cuda")
        machine.restart()


def test_damaged_engines_are_never_loaded(machine: Machine) -> None:
    built = machine.add()
    built.path.write_bytes(built.path.read_bytes() + b" ")
    machine.trt.Runtime = None
    with pytest.raises(BackendError, match="damaged or was changed"):
        open_session(machine.bundle, "tensorrt", "cuda")


def test_what_cannot_run_is_found_when_it_is_opened(machine: Machine) -> None:
    machine.add()
    machine.gpu.fail["enqueue"] = BackendError("cuLaunchKernel failed")
    with pytest.raises(BackendError, match=r"tensorrt.*cuLaunchKernel failed"):
        open_session(machine.bundle, "auto", "cuda")
    machine.restart()
    if machine.trt.__name__ == "tensorrt_rtx":
        reasons = machine.trt.EngineInvalidityDiagnostics
        both = int(reasons.VERSION_MISMATCH | reasons.UNSUPPORTED_CC)
        machine.trt.validity = machine.trt.EngineValidity.INVALID, both
        with pytest.raises(BackendError, match="VERSION_MISMATCH, UNSUPPORTED_CC") as caught:
            open_session(machine.bundle, "tensorrt", "cuda")
        assert "or use --backend onnxruntime" in str(caught.value)


def test_names_of_what_the_real_runtime_says() -> None:
    trt = importlib.import_module("tensorrt_rtx")
    from dlkit.runtime.gpu.flavor import logger

    assert _network.why_invalid(trt, trt.Runtime(logger(trt)), b"no engine") == "MALFORMED_ENGINE"


def test_what_is_said_without_a_gpu_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    none = Unavailable("no NVIDIA driver on this machine", "Install one, or use --device cpu")
    monkeypatch.setattr("dlkit.runtime.backends.tensorrt.no_cuda", lambda: none)
    for device in ("auto", "cpu"):
        with pytest.raises(BackendError) as refused:
            dlkit.load("mmwave", backend="tensorrt", device=device)
        assert "another --backend" in str(refused.value)
        assert "--device" not in str(refused.value)


def test_a_flavour_is_no_backend() -> None:
    with pytest.raises(UsageError, match=r"a flavour of engines.* Use --backend tensorrt, which"):
        dlkit.load("mmwave", backend="tensorrt_rtx")
    with pytest.raises(UsageError, match="a flavour of engines"):
        dlkit.bench(["mmwave"], backends=["tensorrt_rtx"])
