"""What lies in deploy/: read by Kubernetes' schemas, and run as far as no container is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from dlkit.cli import app

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CONTAINERFILES = ["Containerfile", "Containerfile.cuda"]


def documents() -> list[dict[str, Any]]:
    return [
        one
        for path in sorted(DEPLOY.glob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text())
    ]


def pod(document: dict[str, Any]) -> dict[str, Any]:
    """The pod of a deployment, a job, or an InferenceService, which has its fields among others."""
    spec: dict[str, Any] = document["spec"]
    if document["kind"] == "InferenceService":
        own = ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "timeout")
        return {name: value for name, value in spec["predictor"].items() if name not in own}
    return dict(spec["template"]["spec"])


def words(path: Path, instruction: str) -> list[str]:
    """The last of these instructions, as its JSON list."""
    found = re.findall(rf"^{instruction} (\[.*\])$", path.read_text(), re.MULTILINE)
    result: list[str] = json.loads(found[-1])
    return result


def test_the_manifests_are_what_kubernetes_knows() -> None:
    kinds = [one["kind"] for one in documents()]
    assert sorted(kinds) == ["Deployment", "InferenceService", "Job", "Job", "Service"]
    for document in documents():
        if document["kind"] == "InferenceService":  # KServe's: no package ships its schema
            assert document["apiVersion"] == "serving.kserve.io/v1beta1"
            document = {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod(document),
            }  # fmt: skip
        kubernetes_validate.validate(document, "1.37", strict=True)
    broken = documents()[0]
    broken["spec"]["template"]["spec"]["containers"][0]["ports"] = "8080"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_pods_are_no_root_and_write_nowhere() -> None:
    for document in documents():
        if document["kind"] == "Service":
            continue
        spec = pod(document)
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        mounted = {one["name"]: one for one in container["volumeMounts"]}
        assert mounted.keys() == {one["name"] for one in spec["volumes"]}
        assert mounted["tmp"]["mountPath"] == "/tmp"
        if document["kind"] != "Job":
            assert container["livenessProbe"]
            assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
            serve = words(DEPLOY / "Containerfile", "CMD")
            assert container["args"] == serve


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_containerfiles(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert re.search(r"^USER (?!0\b)\d+:\d+$", text, re.MULTILINE)
    assert words(DEPLOY / name, "ENTRYPOINT") == ["dlkit"]
    assert "torch" not in re.sub(r"^#.*", "", text, flags=re.MULTILINE)
    health = words(DEPLOY / name, "HEALTHCHECK .* CMD")
    compile(health[2], "HEALTHCHECK", "exec")
    port = words(DEPLOY / name, "CMD")[words(DEPLOY / name, "CMD").index("--port") + 1]
    assert f"127.0.0.1:{port}/v2/health/ready" in health[2]
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / one).exists() for one in source.split())


@pytest.mark.long
def test_the_jobs_command_cuts_and_joins(tmp_path: Path, scans_folder: Path) -> None:
    """The very shell line of the pods, on a folder."""
    by_name = {one["metadata"]["name"]: one for one in documents()}
    (shards,) = pod(by_name["dlkit-shards"])["containers"]
    (join,) = pod(by_name["dlkit-join"])["containers"]
    count = by_name["dlkit-shards"]["spec"]["completions"]
    (scans_folder / "bad.png").write_bytes(b"nonsense")
    try:
        places = {
            "s3://BUCKET/scans": str(scans_folder),
            "s3://BUCKET/cleaned": str(tmp_path / "o"),
        }
        line = shards["args"][0]
        for address, place in places.items():
            line = line.replace(address, place)
        assert f"/{count}" in line
        tools = tmp_path / "bin"
        tools.mkdir()
        (tools / "dlkit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dlkit "$@"\n')
        (tools / "dlkit").chmod(0o755)
        for index in (0, count - 1):
            done = subprocess.run(
                [*shards["command"], line],
                env={
                    **os.environ, "PATH": f"{tools}:{os.environ['PATH']}",
                    "JOB_COMPLETION_INDEX": str(index),
                },
                capture_output=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        result = CliRunner().invoke(app, [places.get(word, word) for word in join["args"]])
        assert result.exit_code == 1
        assert "2 done, 1 failed" in result.output
    finally:
        (scans_folder / "bad.png").unlink()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_lines_of_installation_run(tmp_path: Path, digits_folder: Path) -> None:
    """In a fresh environment; what is installed has no torch, and is small enough."""
    text = (DEPLOY / "Containerfile").read_text()
    place = tmp_path / "opt"
    lines = re.findall(r"^RUN (.+)$", text, re.MULTILINE)
    assert len(lines) == 2
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for line in lines:
        line = line.replace("/opt/dlkit", str(place)).replace("/src", str(ROOT))
        line = re.sub(r"^python ", f"{sys.executable} ", line)
        done = subprocess.run(line, shell=True, env=clean, cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr
    assert not list(place.rglob("site-packages/torch"))
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    python = 130e6  # python:3.13-slim, as its registry has it
    assert size + python < 1.2e9, f"{size / 1e6:.0f} MB"
    settings = re.search(r"^ENV (.+)$", text, re.MULTILINE)
    assert settings is not None
    variables = dict(one.split("=", 1) for one in settings[1].split())
    variables["PATH"] = variables["PATH"].replace("/opt/dlkit", str(place))
    done = subprocess.run(
        [place / "bin" / "dlkit", "recognize", digits_folder, "--out", tmp_path / "p.csv"],
        env={**variables, "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 61
