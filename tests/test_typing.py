"""A type checker sees what a user may write and what not, of an installed wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "tests" / "typing"


def test_mypy_strict_on_what_users_write(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "dlkit", source / "dlkit")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    home = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source]
    subprocess.run(wheel, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    install = [*pip, "install", "--no-deps", "--no-index", "--target", home, built]
    subprocess.run(install, check=True, capture_output=True)
    # torch, numpy and the others are where the tests run; dlkit is the wheel's
    (Path(home) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")

    # what torch is inside takes mypy a minute
    (tmp_path / "mypy.ini").write_text("[mypy]\n[mypy-torch.*]\nfollow_imports = skip\n")

    scripts = sorted(SCRIPTS.glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary",
         "--config-file", tmp_path / "mypy.ini", "--python-executable", python, *scripts],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    errors = {path.stem: [line for line in done.stdout.splitlines() if path.name in line]
              for path in scripts}  # fmt: skip
    assert errors["good"] == [], done.stdout
    assert '"Recognizer" has no attribute "no_such_method"' in errors["wrong_method"][0]
    assert "expression has type" in errors["wrong_result"][0]
    assert 'Argument "precision" to "export"' in errors["wrong_argument"][0]
    assert 'Unexpected keyword argument "batches"' in errors["wrong_option"][0]
    assert 'Argument "workers" to "run_folder"' in errors["wrong_option"][-1]
    assert 'Item "None" of "Certificate | None"' in errors["wrong_argument"][1]
