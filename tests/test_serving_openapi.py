"""Requests that schemathesis makes of the server's own OpenAPI description."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import serving

pytestmark = pytest.mark.long


def test_no_request_that_the_description_allows_makes_an_error_of_the_server(
    tmp_path: Path,
) -> None:
    code = "from schemathesis.cli import schemathesis; schemathesis()"
    with serving({"digits": "digits", "mmwave": "mmwave", "digit_maker": "digit_maker"}) as server:
        address = f"http://127.0.0.1:{server.port}/openapi.json"
        command = [sys.executable, "-c", code, "run", address]
        command += ["--max-examples", "5", "--seed", "1"]
        command += [
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance",
        ]
        command += ["--exclude-path-regex", "unload$"]  # 503 afterwards would be right
        command += ["--phases", "coverage,fuzzing", "--suppress-health-check", "all"]
        run = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False
        )
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
        assert server.repository.ready
        found = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
        assert found, run.stdout[-2000:]
        assert found[1] == found[2]
        assert int(found[1]) > 100
