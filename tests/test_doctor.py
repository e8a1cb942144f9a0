"""``dlkit doctor``: this machine, its libraries, the screen; what is well is not blamed."""

from __future__ import annotations

import importlib.metadata
import os
import site
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from dlkit import processors
from dlkit.bundle import shipped
from dlkit.cli import app
from dlkit.doctor import examine
from dlkit.processors import control_group
from dlkit.runtime.gpu.driver import driver
from dlkit.runtime.session import BACKENDS

from .doctor_process import Told, doctor, findings, wheel


@pytest.fixture(scope="module")
def told() -> Told:
    """Of this machine as it is; what was imported is among the libraries' output."""
    return doctor(python=("-X", "importtime"))


def test_this_machine(told: Told) -> None:
    machine = told.data["machine"]
    assert machine["cores"] == os.cpu_count()
    assert 0 < machine["cores_allowed"] <= machine["cores"]
    assert told.library("numpy")["version"] == importlib.metadata.version("numpy")
    assert told.library("onnx")["version"] == onnx.__version__
    assert [state["name"] for state in told.data["bundles"]] == shipped()
    attempts = told.data["attempts"]
    assert {one["backend"] for one in attempts} == set(BACKENDS.names())
    on_cpu = [one for one in attempts if (one["backend"], one["device"]) == ("onnxruntime", "cpu")]
    assert [one["runs"] for one in on_cpu] == [True] * len(shipped())
    for one in attempts:
        assert one["runs"] is (one["reason"] is None)
    assert len(told.data["driver"]["gpus"]) == len(driver().gpus)


def test_it_is_quick_because_torch_and_onnx_are_not_imported(told: Told) -> None:
    loaded = {line.rpartition("|")[2].strip() for line in told.data["library_output"]}
    packages = {name.partition(".")[0] for name in loaded}
    assert "onnxruntime" in packages
    assert not packages & {"torch", "torchvision", "onnx", "onnxscript", "matplotlib"}


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_fits_and_ends_with_the_verdict(columns: int, tmp_path: Path) -> None:
    screen = {"COLUMNS": str(columns)}
    done = CliRunner().invoke(app, ["doctor", "digits"], env=screen)
    lines = done.stdout.splitlines()
    # A mend is not wrapped, so that its command can be copied.
    assert max(len(line) for line in lines if "mend: " not in line) <= columns
    assert len(lines) < 60
    assert done.stdout.rstrip().endswith("no problem found") is (done.exit_code == 0)
    ill = CliRunner().invoke(app, ["doctor", str(tmp_path / "nowhere")], env=screen)
    assert ill.exit_code == 1
    assert "there is no bundle at" in " ".join(ill.stdout.partition("\nproblems\n")[2].split())
    assert "no problem found" not in ill.stdout


def test_wheels_that_overwrite_each_other_and_one_without_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu", "opencv-python", "opencv-contrib-python"):
        wheel(tmp_path, name, "1.0")
    wheel(tmp_path, "tensorrt", "11.4.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = examine(["digits"])
    (ort,) = findings(found, "onnxruntime")
    assert "onnxruntime-gpu and onnxruntime are both installed" in ort
    assert "pip uninstall -y onnxruntime-gpu onnxruntime && pip install onnxruntime" in ort
    (cv2,) = findings(found, "cv2")
    assert "opencv-python" in cv2
    assert "opencv-contrib-python" in cv2
    (absent,) = findings(found, "tensorrt")
    assert "the module tensorrt is not there" in absent


@pytest.mark.long
def test_a_broken_library_does_not_end_the_look_at_the_others(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("")  # imports, and has nothing
    wheel(tmp_path, "tensorrt", "11.4.0")
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text(
        "import os\nprint('chatter')\nos.system('echo from below')\n"
        "raise ImportError('libnvinfer.so.11: cannot open shared object file')\n"
    )
    told = doctor(path=tmp_path)
    lines = told.findings("openvino on cpu")
    assert len(lines) == len(shipped())
    assert all("AttributeError" in line for line in lines)
    attempts = told.data["attempts"]
    assert {one["runs"] for one in attempts if one["backend"] == "openvino"} == {False}
    assert any(one["runs"] for one in attempts if one["backend"] == "onnxruntime")
    (line,) = told.findings("tensorrt")
    assert "libnvinfer.so.11" in line
    assert "pip uninstall -y tensorrt; pip install" in line
    assert told.library("tensorrt")["imports"] is False
    assert {"chatter", "from below"} <= set(told.data["library_output"])


def test_a_machine_that_only_deploys(tmp_path: Path) -> None:
    """Only what a plain installation brings is on the path: no torch, no onnx, no OpenVINO."""
    absent = ("torch", "onnx", "openvino", "tensorrt", "cuda", "nvidia")
    for entry in Path(site.getsitepackages()[0]).iterdir():
        if not entry.name.startswith(absent) or entry.name.startswith("onnxruntime"):
            (tmp_path / entry.name).symlink_to(entry)
    told = doctor(path=tmp_path, python=("-S",), CUDA_VISIBLE_DEVICES="")
    assert told.code == 0, told.data["findings"]
    for module in ("torch", "onnx", "openvino", "tensorrt_rtx"):
        library = told.library(module)
        assert library["version"] is None
        assert library["install"].startswith("pip install")
    assert any(one["runs"] for one in told.data["attempts"])


def test_numpy_gone_is_told_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('planted')\n")
    told = doctor(path=tmp_path)
    (line,) = told.findings("numpy")
    assert "planted" in line
    assert told.data["machine"]
    assert told.data["driver"]


def test_limits_of_control_groups(tmp_path: Path) -> None:
    def plant(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    member = tmp_path / "member"
    plant("member", "0::/a/b\n")
    assert control_group(tmp_path, member) == (None, None)
    plant("cpu.max", "max 100000\n")
    plant("a/b/cpu.max", "200000 100000\n")
    plant("a/cpu.max", "150000 100000\n")  # the group above allows less
    plant("a/b/memory.max", "1073741824\n")
    assert control_group(tmp_path, member) == (1.5, 2**30)
    plant("member", "5:cpu,cpuacct:/x\n4:memory:/y\n")
    plant("cpu/x/cpu.cfs_quota_us", "-1\n")
    plant("cpu/x/cpu.cfs_period_us", "100000\n")
    plant("memory/y/memory.limit_in_bytes", "9223372036854771712\n")
    assert control_group(tmp_path, member) == (None, None)
    plant("cpu/x/cpu.cfs_quota_us", "50000\n")
    plant("memory/memory.limit_in_bytes", "4096\n")
    assert control_group(tmp_path, member) == (0.5, 4096)
    assert control_group(tmp_path, tmp_path / "none") == (None, None)


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.0, 1), (None, None), (1e6, None)])
def test_a_quota_bounds_the_processors(
    quota: float | None, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "control_group", lambda: (quota, None))
    assert processors.cpu_count() == (expected or len(os.sched_getaffinity(0)))
