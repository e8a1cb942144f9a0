"""Wheel and sdist: they build, the index would take them, and what is inside runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("dlkit/py.typed", "dlkit/shipped/digits/model.onnx", "dlkit/shipped/digits/model.json",
         "dlkit/bench/report.html.j2")  # fmt: skip


def run(*command: object, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=variables or None
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_wheel_and_sdist(tmp_path: Path, digits_folder: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "dlkit", source / "dlkit", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", source, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    checked = run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=tmp_path)
    assert checked.count("PASSED") == 2
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    assert wheel.name.startswith(f"{name.replace('-', '_')}-")
    names = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        packed = {one.partition("/")[2] for one in archive.getnames()}
    for part in PARTS:
        assert part in names
        assert part in packed
    assert not any(one.startswith("tests/") for one in names)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    run(*pip, tmp_path / "there", wheel, cwd=tmp_path)
    code = "import dlkit, sys; print(dlkit.__file__); from dlkit.__main__ import main; main()"
    said = run(
        sys.executable, "-c", code, "recognize", digits_folder, "--out", "p.csv", cwd=tmp_path,
        PYTHONPATH=str(tmp_path / "there"), PATH="/usr/bin:/bin",
    )  # fmt: skip
    assert str(tmp_path / "there") in said
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 61
