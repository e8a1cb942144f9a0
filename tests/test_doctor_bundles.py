"""``dlkit doctor BUNDLE``: graphs that are too new, damaged files, engines."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, EngineKey
from dlkit.doctor import examine
from dlkit.doctor.examination import Examination
from dlkit.runtime.gpu import driver

from .doctor_process import bundle, findings, plant_driver


@pytest.mark.parametrize(
    ("newer", "text"), [({"ir_version": 99}, "IR version"), ({"opset": 999}, "opset")]
)
def test_a_graph_that_is_too_new(newer: dict[str, int], text: str, tmp_path: Path) -> None:
    ill = bundle(tmp_path / "ill", **newer)
    found = examine([str(ill.path)])
    (line,) = findings(found, "onnxruntime on cpu")
    assert text in line
    assert "pip install --upgrade onnxruntime" in line
    cpu = {one.backend: one.runs for one in found.attempts if one.device == "cpu"}
    assert cpu["onnxruntime"] is False


def test_damaged_and_missing_bundles(tmp_path: Path) -> None:
    altered = bundle(tmp_path / "altered")
    altered.onnx.write_bytes(altered.onnx.read_bytes()[:-1])
    nowhere = str(tmp_path / "nowhere")
    found = examine([str(altered.path), nowhere, "digits"])
    (line,) = findings(found, str(altered.path))
    assert "damaged or was changed" in line
    assert line.endswith("| Export it again: dlkit export")
    assert "there is no bundle" in findings(found, nowhere)[0]
    assert [state.name for state in found.bundles] == ["digits"]  # the others go on


def test_a_graph_that_no_backend_takes_and_a_task_that_nobody_knows(tmp_path: Path) -> None:
    source = Bundle.open("digits")
    model = onnx.load(source.onnx)
    spec = replace(source.spec, task="no_such_task")
    other = Bundle.create(tmp_path / "other", source.onnx.read_bytes(), spec, {})
    model.graph.node[0].op_type = "NoSuchOperator"
    ill = Bundle.create(tmp_path / "ill", model.SerializeToString(), source.spec, {})
    found = examine([str(ill.path), str(other.path)])
    assert any("NoSuchOperator" in line for line in findings(found, "onnxruntime on cpu"))
    assert "nothing on this machine can run it" in findings(found, str(ill.path))[0]
    assert "no_such_task" in findings(found, str(other.path))[0]


def engine(owner: Bundle, **changes: Any) -> Engine:
    version = importlib.import_module("tensorrt_rtx").__version__
    shape = (1, 28, 28)
    key = EngineKey(
        owner.sha256, "tensorrt_rtx", version, "fp32", (), {"pixels": (shape, shape, shape)}, ()
    )
    return Engine.create(owner, replace(key, **changes), b"the engine's bytes", {}, {})


def test_engines_that_are_not_whole(tmp_path: Path) -> None:
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
    names = ("well", "truncated", "sidecar", "alone", "retrained")
    found = examine([str(tmp_path / name) for name in names])
    problems = {one.about: one for one in found.problems if one.about.endswith(".engine")}
    assert len(problems) == 4
    for name, text in (
        ("truncated", "is damaged or was changed"),
        ("sidecar", "was changed: the SHA-256 of its content"),
        ("alone", "has no sidecar"),
        ("retrained", "was built from another graph"),
    ):
        (about,) = [about for about in problems if about.startswith(str(tmp_path / name))]
        assert text in problems[about].what
        assert f"dlkit export {tmp_path / name} --trt" in problems[about].mend


@pytest.mark.long
def test_engines_that_do_not_fit_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = bundle(tmp_path / "bundle")
    ill = {
        engine(owner, version="1.0.0").path.name: "TensorRT for RTX 1.0.0; this machine has",
        engine(owner, compute=("12.0",)).path.name: "engine built for sm_120 with",
        engine(owner, flavor="other").path.name: "unknown TensorRT flavour 'other'",
    }

    def seen(found: Examination, problem: bool) -> dict[str, str]:
        return {
            one.about.rpartition("/")[2]: one.what
            for one in found.findings
            if one.about.endswith(".engine") and one.problem is problem
        }

    def look(gpus: int) -> Examination:
        planted = plant_driver(tmp_path / f"{gpus}-{len(list(tmp_path.iterdir()))}", gpus)
        monkeypatch.setattr(driver, "_CUDA", str(planted / "libcuda.so.1"))
        driver.driver.cache_clear()
        try:
            return examine([str(owner.path)])
        finally:
            driver.driver.cache_clear()

    found = look(gpus=1)
    told = seen(found, problem=True)
    assert told.keys() == ill.keys()
    assert all(text in told[name] for name, text in ill.items())
    assert not seen(found, problem=False)
    # Without a GPU no engine runs, and that is said once.
    found = look(gpus=0)
    assert not seen(found, problem=True)
    assert not seen(found, problem=False)
    assert not any(state.fits for state in found.bundles[0].engines)
    # Where another engine fits, those for other machines are no problem.
    well = {engine(owner).path.name, engine(owner, compute=("8.9", "12.0")).path.name}
    found = look(gpus=1)
    assert not seen(found, problem=True)
    assert seen(found, problem=False).keys() == ill.keys()
    assert well == {state.file for state in found.bundles[0].engines if state.fits}
