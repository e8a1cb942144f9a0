"""``dlkit doctor``: this machine, its libraries, the screen; what is well is not blamed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import site
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from dlkit.bundle import shipped
from dlkit.plugins import Plugins
from dlkit.runtime import processors
from dlkit.runtime.device import no_cuda
from dlkit.runtime.processors import control_group

from .doctor_process import (
    ROOT,
    Told,
    doctor,
    run,
    wheel,
)


def test_this_machine() -> None:
    told = doctor()
    machine = told.data["machine"]
    assert machine["cores"] == os.cpu_count()
    assert 0 < machine["cores_allowed"] <= machine["cores"]
    assert told.library("numpy")["version"] == importlib.metadata.version("numpy")
    assert told.library("onnx")["version"] == onnx.__version__
    assert [state["name"] for state in told.data["bundles"]] == shipped()
    backends = {run["backend"] for run in told.data["runs"]}
    assert backends == set(Plugins("dlkit.runtime.backends", "backend").names())
    on_cpu = [r for r in told.data["runs"] if (r["backend"], r["device"]) == ("onnxruntime", "cpu")]
    assert [r["runs"] for r in on_cpu] == [True] * len(shipped())
    for r in told.data["runs"]:
        assert r["runs"] is (r["reason"] is None)
    if no_cuda() is not None:
        assert told.code == 0
        assert told.data["cuda"]["gpus"] == []


def test_it_is_quick_because_torch_and_onnx_are_not_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dlkit", "doctor", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    loaded = {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines() + json.loads(done.stdout)["library_output"]
    }
    packages = {name.partition(".")[0] for name in loaded}
    assert "onnxruntime" in packages
    assert not packages & {"torch", "torchvision", "onnx", "onnxscript", "matplotlib"}


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_fits_and_ends_with_the_verdict(columns: int, tmp_path: Path) -> None:
    done = run(COLUMNS=str(columns))
    lines = done.stdout.splitlines()
    # A mend is not wrapped, so that its command can be copied.
    assert max(len(line) for line in lines if "mend: " not in line) <= columns
    assert len(lines) < 60
    if done.returncode == 0:
        assert done.stdout.rstrip().endswith("no problem found")
    ill = run(str(tmp_path / "nowhere"), COLUMNS=str(columns))
    assert ill.returncode == 1
    assert "there is no bundle at" in " ".join(ill.stdout.partition("\nproblems\n")[2].split())
    assert "no problem found" not in ill.stdout


def test_both_wheels_of_onnxruntime_and_two_of_opencv(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu", "opencv-python", "opencv-contrib-python"):
        wheel(tmp_path, name, "1.0")
    told = doctor(path=tmp_path)
    (ort,) = told.findings("onnxruntime")
    assert "onnxruntime-gpu and onnxruntime are both installed" in ort
    assert "pip uninstall -y onnxruntime-gpu onnxruntime && pip install onnxruntime" in ort
    (cv2,) = told.findings("cv2")
    assert "opencv-python" in cv2
    assert "opencv-contrib-python" in cv2


def test_a_placeholder_says_that_it_does_not_import(tmp_path: Path) -> None:
    wheel(tmp_path, "tensorrt", "11.4.0")
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text(
        "import os\nprint('chatter')\nos.system('echo from below')\n"
        "raise ImportError('libnvinfer.so.11: cannot open shared object file')\n"
    )
    told = doctor(path=tmp_path)
    (line,) = told.findings("tensorrt")
    assert "libnvinfer.so.11" in line
    assert "pip uninstall -y tensorrt; pip install" in line
    assert told.library("tensorrt")["imports"] is False
    assert {"chatter", "from below"} <= set(told.data["library_output"])


def test_metadata_without_its_module(tmp_path: Path) -> None:
    wheel(tmp_path, "tensorrt", "11.4.0")
    (line,) = doctor(path=tmp_path).findings("tensorrt")
    assert "the module tensorrt is not there" in line


def test_a_machine_that_only_deploys(tmp_path: Path) -> None:
    """Only what a plain installation brings is on the path: no torch, no onnx, no OpenVINO."""
    absent = ("torch", "onnx", "openvino", "tensorrt", "cuda", "nvidia")
    for entry in Path(site.getsitepackages()[0]).iterdir():
        if not entry.name.startswith(absent) or entry.name.startswith("onnxruntime"):
            (tmp_path / entry.name).symlink_to(entry)
    done = run("--json", path=tmp_path, python=("-S",))
    told = Told(done.returncode, json.loads(done.stdout))
    assert told.code == 0 or no_cuda() is None, told.data["findings"]
    for module in ("torch", "onnx", "openvino", "tensorrt_rtx"):
        library = told.library(module)
        assert library["version"] is None
        assert library["install"].startswith("pip install")
    assert any(r["runs"] for r in told.data["runs"])
    assert all(state["opset"] for state in told.data["bundles"])  # read without onnx


def test_a_broken_library_does_not_end_the_look_at_the_others(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("")  # imports, and has nothing
    told = doctor(path=tmp_path)
    lines = told.findings("openvino on cpu")
    assert len(lines) == len(shipped())
    assert all("AttributeError" in line for line in lines)
    assert {r["runs"] for r in told.data["runs"] if r["backend"] == "openvino"} == {False}
    assert any(r["runs"] for r in told.data["runs"] if r["backend"] == "onnxruntime")


def test_numpy_gone_is_told_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('planted')\n")
    told = doctor(path=tmp_path)
    (line,) = told.findings("numpy")
    assert "planted" in line


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
