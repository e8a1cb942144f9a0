"""``dlkit doctor BUNDLE``: graphs that are too new, damaged files, engines."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from dlkit.bundle import Bundle
from dlkit.engine import Engine, EngineKey
from dlkit.errors import BundleError
from dlkit.runtime.doctor.onnx_header import read_header

from .doctor_process import (
    Told,
    bundle,
    doctor,
    plant_driver,
    with_compiler,
    without_gpu,
)


def test_too_new_an_ir_version_or_opset(tmp_path: Path) -> None:
    limits = doctor().data["onnx_limits"]
    newest_ir, newest_opset = limits["ir_version"], limits["opset"]
    well = bundle(tmp_path / "well", ir_version=newest_ir)
    told = doctor(str(well.path))
    assert not told.findings(str(well.path))
    for name, wanted, text in (
        ("ir", {"ir_version": newest_ir + 1}, f"IR version {newest_ir + 1}"),
        ("ir99", {"ir_version": 99}, "IR version 99"),
        ("opset", {"opset": newest_opset + 1}, f"opset {newest_opset + 1}"),
    ):
        ill = bundle(tmp_path / name, **wanted)
        told = doctor(str(ill.path))
        (line,) = told.findings(str(ill.path))
        assert text in line
        assert "pip install --upgrade onnxruntime" in line
        cpu = {r["backend"]: r["runs"] for r in told.data["runs"] if r["device"] == "cpu"}
        assert cpu["onnxruntime"] is False  # the limit that the runtime stated is its real one


def test_damaged_and_missing_bundles(tmp_path: Path) -> None:
    altered = bundle(tmp_path / "altered")
    altered.onnx.write_bytes(altered.onnx.read_bytes()[:-1])
    nowhere = str(tmp_path / "nowhere")
    told = doctor(str(altered.path), nowhere, "digits")
    assert "damaged or was changed" in told.findings(str(altered.path))[0]
    assert "there is no bundle" in told.findings(nowhere)[0]
    assert [state["name"] for state in told.data["bundles"]] == ["digits"]  # the others go on


def test_a_graph_that_no_backend_takes(tmp_path: Path) -> None:
    source = Bundle.open("digits")
    model = onnx.load(source.onnx)
    model.graph.node[0].op_type = "NoSuchOperator"
    ill = Bundle.create(tmp_path / "ill", model.SerializeToString(), source.spec, {})
    told = doctor(str(ill.path))
    assert any("NoSuchOperator" in line for line in told.findings("onnxruntime on cpu"))
    assert "nothing on this machine can run it" in told.findings(str(ill.path))[0]


def key(owner: Bundle, **changes: Any) -> EngineKey:
    version = importlib.import_module("tensorrt_rtx").__version__
    shape = (1, 28, 28)
    made = EngineKey(owner.sha256, "tensorrt_rtx", version, "fp32", (), (shape, shape, shape), ())
    return replace(made, **changes)


def engine(owner: Bundle, **changes: Any) -> Engine:
    return Engine.create(owner, key(owner, **changes), b"the engine's bytes", {}, {})


def test_engines_that_are_not_whole(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    for name in ("well", "truncated", "sidecar", "alone", "retrained"):
        owner = bundle(tmp_path / name)
        made = engine(owner)
        if name == "truncated":
            made.path.write_bytes(made.path.read_bytes()[:-1])
        elif name == "sidecar":
            made.sidecar.write_text(made.sidecar.read_text().replace("fp32", "fp16"))
        elif name == "alone":
            made.sidecar.unlink()
        elif name == "retrained":
            shutil.move(owner.engines, tmp_path / "kept")
            shutil.rmtree(owner.path)
            shutil.move(tmp_path / "kept", bundle(owner.path, ir_version=9).engines)
    told = doctor(
        *(str(tmp_path / n) for n in ("well", "truncated", "sidecar", "alone", "retrained"))
    )
    problems = {f["about"]: f for f in told.data["findings"] if f["problem"]}
    assert len(problems) == 4
    for name, text in (
        ("truncated", "is damaged or was changed"),
        ("sidecar", "was changed: the SHA-256 of its content"),
        ("alone", "has no sidecar"),
        ("retrained", "was built from another graph"),
    ):
        (about,) = [about for about in problems if about.startswith(str(tmp_path / name))]
        assert text in problems[about]["what"]
        assert f"dlkit export {tmp_path / name} --trt" in problems[about]["mend"]


@without_gpu
@with_compiler
def test_engines_that_do_not_fit_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    owner = bundle(tmp_path / "bundle")
    ill = {
        engine(owner, version="1.0.0").path: "TensorRT for RTX 1.0.0; this machine has",
        engine(owner, compute=("12.0",)).path: "engine built for sm_120 with",
    }
    if importlib.util.find_spec("tensorrt") is None:
        ill[engine(owner, flavor="tensorrt").path] = "tensorrt is not installed"

    def check(told: Told, expected: dict[Path, str], problem: bool) -> None:
        for path in owner.engines.glob("*.engine"):
            lines = told.findings(str(path), problem=problem)
            assert len(lines) == (1 if path in expected else 0)
            assert expected.get(path, "") in "".join(lines)
            assert not told.findings(str(path), problem=not problem)

    driver = plant_driver(tmp_path / "driver")
    check(doctor(str(owner.path), LD_LIBRARY_PATH=driver), ill, problem=True)
    # Without a GPU no engine runs, and its compute capability cannot be compared.
    told = doctor(str(owner.path))
    assert told.code == 0
    seen = {path: text for path, text in ill.items() if "sm_120" not in text}
    check(told, seen, problem=False)
    assert not any(state["fits"] for state in told.data["bundles"][0]["engines"])
    # Where another engine fits, those for other machines are no problem.
    well = {engine(owner).path.name, engine(owner, compute=("8.9", "12.0")).path.name}
    told = doctor(str(owner.path), LD_LIBRARY_PATH=driver)
    check(told, ill, problem=False)
    assert well == {s["file"] for s in told.data["bundles"][0]["engines"] if s["fits"]}


def test_the_header_is_what_onnx_wrote(tmp_path: Path) -> None:
    helper, file = onnx.helper, tmp_path / "model.onnx"
    big = helper.make_tensor("w", 1, [300_000], [0.5] * 300_000)
    opsets = {"ai.onnx": 21, "ai.onnx.ml": 3, "com.example": 300}
    model = helper.make_model(
        helper.make_graph([], "g", [], [], [big]),
        opset_imports=[
            helper.make_opsetid("" if d == "ai.onnx" else d, v) for d, v in opsets.items()
        ],
        ir_version=9,
        producer_name="p" * 70_000,
        model_version=-1,  # ten bytes as a varint
    )
    model.metadata_props.add(key="k", value="v")
    data = model.SerializeToString()
    file.write_bytes(data)
    header = read_header(file)
    assert (header.ir_version, header.opsets) == (9, opsets)
    for junk in (b"", b"\xff" * 20, b"no ONNX file at all", data[:40], data[:-300], data[:1]):
        file.write_bytes(junk)
        with pytest.raises(BundleError, match="is no ONNX file"):
            read_header(file)
