"""Bundles on a stub of Hugging Face's hub: there and back, cards, and what comes damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants
from typer.testing import CliRunner

from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import BundleError, InputError, MachineError, UsageError

from .hub_stub import TOKEN, Hub, hub

# huggingface_hub's own call of its HTTP library
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def server() -> Iterator[Hub]:
    with hub() as server:
        yield server


@pytest.fixture
def there(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub of this process."""
    for name, value in variables(server, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.chdir(tmp_path)
    return server


def variables(server: Hub, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": server.url, "HF_HOME": str(home / "hf"), "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip


def process(server: Hub, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "dlkit", *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, **variables(server, home)}, cwd=home,
    )  # fmt: skip
    assert TOKEN not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return done


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def card(bundle: str | Path) -> str:
    done = CliRunner().invoke(app, ["card", str(bundle)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.long
def test_there_and_back(there: Hub, tmp_path: Path) -> None:
    server = there
    pushed = process(server, tmp_path, "push", "digits", "hf://me/digits")
    assert pushed.stdout == "hf://me/digits\n"
    files = server.repositories["me/digits"]
    assert files.keys() == {"model.onnx", "model.json", "README.md"}  # engines stay here
    assert server.private == {"me/digits"}
    shipped = Bundle.open("digits")
    assert files["model.onnx"] == shipped.onnx.read_bytes()
    assert files["README.md"].decode() == card("digits").replace("USER/NAME", "me/digits")
    # whatever else lies there, e.g. what holds code, is not fetched
    files["model.pkl"] = files["../evil.py"] = b"import os"
    pulled = process(server, tmp_path, "pull", "hf://me/digits", "--sha256", shipped.sha256)
    assert pulled.stdout == "digits\n"
    assert server.commit("me/digits") in pulled.stderr
    assert not any("pkl" in one or "evil" in one for one in server.seen)
    folder = tmp_path / "digits"
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.json", "README.md"}
    found = Bundle.open(folder)
    assert (found.sha256, found.spec, found.certificate) == (
        shipped.sha256, shipped.spec, shipped.certificate,
    )  # fmt: skip
    assert found.uncertified(found.sha256) is None
    # again, with a card of one's own, and over what is there
    (tmp_path / "own.md").write_text("# Mine\n")
    again = dlkit("push", folder, "hf://me/digits", "--card", "own.md", "--public")
    assert again.exit_code == 0, again.output
    assert files["README.md"] == b"# Mine\n"
    assert dlkit("pull", "hf://me/digits@main").exit_code == 0
    assert (folder / "README.md").read_text() == "# Mine\n"


def test_weights_that_another_bundle_left_are_removed(there: Hub, tmp_path: Path) -> None:
    there.repositories["me/x"] = {"model.onnx.data": b"old"}
    assert dlkit("push", "digits", "hf://me/x").exit_code == 0
    assert "model.onnx.data" not in there.repositories["me/x"]
    assert dlkit("pull", "hf://me/x").exit_code == 0


@pytest.mark.long
def test_what_is_damaged_is_not_there(there: Hub, tmp_path: Path) -> None:
    assert dlkit("push", "digits", "hf://me/x").exit_code == 0
    whole = dict(there.repositories["me/x"])
    data = json.loads(whole["model.json"])
    data["spec"]["name"] = "../up"
    for change, word in (
        ({"model.onnx": whole["model.onnx"][:-1] + b"x"}, "is damaged or was changed"),
        ({"model.json": b"{}"}, "has format None"),
        ({"model.json": json.dumps(data).encode()}, "expected one without slashes"),
        ({"model.json": None}, "is no bundle: it has no model.json"),
    ):
        changed = {**whole, **change}
        there.repositories["me/x"] = {
            name: content for name, content in changed.items() if content is not None
        }
        done = dlkit("pull", "hf://me/x")
        assert isinstance(done.exception, BundleError)
        assert word in str(done.exception)
        assert not (tmp_path / "x").exists()
    there.repositories["me/x"] = whole
    other = dlkit("pull", "hf://me/x", "--sha256", "0" * 64)
    assert isinstance(other.exception, BundleError)
    assert not (tmp_path / "x").exists()
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    assert "is no bundle" in str(dlkit("pull", "hf://me/x").exception)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["mine.txt"]


def test_a_hub_that_refuses(there: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    none = dlkit("pull", "hf://me/none").exception
    assert isinstance(none, InputError)
    assert "hf://me/none is not there (404" in str(none)
    there.status = 500
    assert isinstance(dlkit("pull", "hf://me/x").exception, MachineError)
    there.status = 0
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    wrong = dlkit("push", "digits", "hf://me/digits").exception
    assert isinstance(wrong, MachineError)
    assert "hf auth login" in str(wrong)
    assert "hf_wrong" not in str(wrong)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    gone = dlkit("pull", "hf://me/x").exception
    assert isinstance(gone, MachineError)
    assert "cannot be reached" in str(gone)


@pytest.mark.parametrize("address", ["me/x", "hf://me", "hf://me/x/y", "hf://../x", "s3://me/x"])
def test_addresses_that_are_none(address: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["pull", address, "--out", str(tmp_path / "x")])
    assert isinstance(done.exception, UsageError)


def test_a_card_says_what_is_known(tmp_path: Path) -> None:
    text = card("digits")
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "dlkit", "pipeline_tag": "image-classification",
        "tags": ["dlkit", "onnx", "fp32"],
    }  # fmt: skip
    bundle = Bundle.open("digits")
    assert bundle.certificate is not None
    row = bundle.certificate.measured[0]
    accuracy = f"{row.metrics['accuracy']:.4g}"
    assert f"| {row.backend}, cpu, model.onnx | fp32 | {row.largest:.3g} |" in body
    assert f"| {accuracy} | yes |" in body
    assert bundle.sha256 in body
    for part in ("## Data", "## Certificate", "## Limits", "## Use", "mnist", "28 x 28"):
        assert part in body


def test_a_card_of_a_bundle_that_nobody_measured(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(Bundle.open("mmwave").path, folder)
    data = json.loads((folder / "model.json").read_text())
    data["certificate"] = None
    data["spec"]["name"] = "<script>a|b"
    data["origin"] = {"recipe": {"about": "`x` <b>"}}
    (folder / "model.json").write_text(json.dumps(data))
    text = card(folder)
    assert "None: nobody measured" in text
    assert "Nothing was measured." in text
    assert "<script>" not in text
    assert "'x' &lt;b&gt;" in text
    out = folder / "README.md"
    assert CliRunner().invoke(app, ["card", str(folder), "--out", str(out)]).exit_code == 0
    assert out.read_text() == text
    assert Bundle.open(folder).spec.name.startswith("<script>")
