"""``dlkit doctor`` on a machine whose driver claims a GPU, and around it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import subprocess
from pathlib import Path

import pytest

from dlkit.runtime.doctor.elf import needed
from dlkit.runtime.doctor.gpu import on_the_bus

from .doctor_process import (
    CC,
    doctor,
    plant_driver,
    with_compiler,
    without_gpu,
)


@without_gpu
@with_compiler
def test_a_gpu_that_onnxruntime_cannot_use(tmp_path: Path) -> None:
    ort = importlib.import_module("onnxruntime")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("onnxruntime without CUDA is installed")
    told = doctor(LD_LIBRARY_PATH=plant_driver(tmp_path / "driver", supports=11080))
    cuda = told.data["cuda"]
    assert cuda["gpus"] == [{"name": "Planted GPU", "compute": "8.9", "memory": 8 << 30}]
    assert (cuda["driver"], cuda["supports"]) == ("999.12.34", "11.8")
    assert any("the driver supports 11.8" in line for line in told.findings("onnxruntime"))
    on_cuda = [
        r for r in told.data["runs"] if (r["backend"], r["device"]) == ("onnxruntime", "cuda")
    ]
    assert on_cuda
    assert not any(r["runs"] for r in on_cuda)  # opened in truth: the stub runs nothing
    assert "CUDA" in on_cuda[0]["reason"]


@without_gpu
@with_compiler
def test_a_gpu_and_an_onnxruntime_without_cuda(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import onnxruntime\n"
        "onnxruntime.get_available_providers = lambda: ['CPUExecutionProvider']\n"
    )
    told = doctor(path=tmp_path, LD_LIBRARY_PATH=plant_driver(tmp_path / "driver"))
    (line,) = told.findings("onnxruntime")
    assert "this machine has a GPU, the wheel has no CUDA" in line


@without_gpu
@with_compiler
def test_a_look_that_fails_is_a_finding(tmp_path: Path) -> None:
    told = doctor(LD_LIBRARY_PATH=plant_driver(tmp_path / "driver", name_code=3))
    (line,) = told.findings("GPU")
    assert "cuDeviceGetName gives 3" in line
    assert told.data["cuda"] is None
    assert any(r["runs"] for r in told.data["runs"])


@without_gpu
def test_hidden_gpus_are_noted() -> None:
    (line,) = doctor(CUDA_VISIBLE_DEVICES="").findings("GPU", problem=False)
    assert "CUDA_VISIBLE_DEVICES" in line


def test_a_card_without_a_driver_is_seen_on_the_bus(tmp_path: Path) -> None:
    for name, vendor, kind in (("a", "0x8086", "0x030000"), ("b", "0x10de", "0x040300")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert not on_the_bus(tmp_path)  # Intel's display, NVIDIA's sound
    (tmp_path / "b" / "class").write_text("0x030200\n")
    assert on_the_bus(tmp_path)


@with_compiler
def test_needed_libraries_of_an_elf_file(tmp_path: Path) -> None:
    source, library = tmp_path / "a.c", tmp_path / "a.so"
    source.write_text("int a(void) { return 1; }\n")
    assert CC
    flags = ["-shared", "-fPIC", "-Wl,--no-as-needed", "-lm", "-lpthread"]
    subprocess.run([CC, *flags, "-o", str(library), str(source)], check=True)
    assert {"libm.so.6", "libc.so.6"} <= set(needed(library))
    library.write_bytes(library.read_bytes()[:100])
    with pytest.raises(ValueError, match="cut short"):
        needed(library)
    with pytest.raises(ValueError, match="no 64-bit"):
        needed(source)
