"""``dlkit doctor`` on a machine whose driver claims a GPU, and around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlkit.bundle import Bundle
from dlkit.doctor import gpu
from dlkit.doctor.examination import Finding
from dlkit.runtime.gpu import driver
from dlkit.runtime.session import open_session

from .doctor_process import doctor, plant_driver

Plant = Callable[..., None]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Puts a driver of ours in the place of this machine's."""

    def plant(**how: int) -> None:
        folder = plant_driver(tmp_path / "driver", **how)
        monkeypatch.setattr(driver, "_CUDA", str(folder / "libcuda.so.1"))
        monkeypatch.setattr(driver, "_NVML", str(folder / "libnvidia-ml.so.1"))
        driver.driver.cache_clear()

    yield plant
    driver.driver.cache_clear()


@pytest.mark.long
def test_a_gpu_that_nothing_can_use(tmp_path: Path) -> None:
    told = doctor("digits", LD_LIBRARY_PATH=str(plant_driver(tmp_path / "driver")))
    found = told.data["driver"]
    assert found["gpus"] == [{"name": "Planted GPU", "compute": "8.9", "memory": 8 << 30}]
    assert (told.data["driver_version"], found["supports"]) == ("999.12.34", "11.8")
    attempts = [one for one in told.data["attempts"] if one["device"] == "cuda"]
    assert {one["backend"]: one["runs"] for one in attempts} == {
        "onnxruntime": False,  # opened in truth: the stub runs nothing
        "tensorrt": False,
    }
    (line,) = told.findings("onnxruntime on cuda")
    assert "CUDA" in line
    assert "pip install" in line
    (idle,) = told.findings("digits")
    assert "has a GPU, and nothing runs it there: onnxruntime: " in idle
    assert "tensorrt: the bundle has no engine" in idle
    assert "dlkit export" in idle


def test_a_driver_that_does_not_answer(plant: Plant) -> None:
    plant(name_code=3)
    findings: list[Finding] = []
    assert gpu.look(findings).gpus == ()
    (finding,) = findings
    assert finding.problem
    assert "cuDeviceGetName gives 3" in finding.what
    assert open_session(Bundle.open("digits")).session.device == "cpu"  # auto goes on without


def test_hidden_gpus_are_noted(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(gpus=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    findings: list[Finding] = []
    assert gpu.look(findings).why_none
    (finding,) = findings
    assert not finding.problem
    assert "CUDA_VISIBLE_DEVICES" in finding.what


def test_what_the_driver_says(plant: Plant) -> None:
    plant(gpus=2)
    assert driver.no_cuda() is None
    assert (driver.gpu_name(1), driver.compute_capability(1)) == ("Planted GPU", "8.9")
    assert driver.gpu_name(2) is driver.compute_capability(2) is None
    assert driver.driver_version() == "999.12.34"


def test_a_card_without_a_driver_is_seen_on_the_bus(tmp_path: Path) -> None:
    for name, vendor, kind in (("a", "0x8086", "0x030000"), ("b", "0x10de", "0x040300")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert not gpu.on_the_bus(tmp_path)  # Intel's display, NVIDIA's sound
    (tmp_path / "b" / "class").write_text("0x030200\n")
    assert gpu.on_the_bus(tmp_path)
