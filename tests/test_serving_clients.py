"""Foreign clients against a running server, in environments of their own, which the test makes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlkit.serving.server import Server
from tests.served import every_type, serving

pytestmark = pytest.mark.long
SCAN = sorted(Path("samples/scans").glob("*.png"))[0].resolve()
HERE = Path(__file__).parent / "foreign_clients"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    types = every_type(tmp_path_factory.mktemp("served") / "types")
    with serving({"digits": "digits", "mmwave": "mmwave", "types": str(types.path)}) as server:
        yield server


def environment(folder: Path, *packages: str) -> Path:
    """A Python with some packages, and nothing of ours."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def passes(python: Path, script: str, server: Server) -> None:
    arguments = [str(server.port), str(server.grpc_port), str(SCAN)]
    run = subprocess.run(
        [python, HERE / script, *arguments], capture_output=True, text=True, env={}, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.strip().endswith("all passed")


def test_tritonclient(server: Server, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", "tritonclient[http,grpc]==2.73.0")
    passes(python, "triton.py", server)


def test_kserve(server: Server, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", "kserve==0.21.0")
    passes(python, "kserve_client.py", server)
