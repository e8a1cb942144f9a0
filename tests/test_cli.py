"""The whole way on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import UsageError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", [c.callback.__name__ for c in app.registered_commands])  # type: ignore[union-attr]
def test_help_teaches_with_an_example(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"dlkit {command}" in done.output.partition("Example")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["denoise", ""],
        ["run", ""],
        ["recognize", ".", "--annotate", ""],
        ["recognize", ".", "--out="],
        ["denoise", ".", "--model", ""],
        ["train", "lenet", "--data", ""],
        ["export", "run", "--out", ""],
        ["simulate", "scans", ""],
    ],
)
def test_an_empty_text_is_a_mistake(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not this folder, or the option's usual value: a shell variable was not set."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UsageError)
    assert "an empty text" in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--max-pixels", "--batch", "--workers"])
def test_numbers_that_no_machine_has(option: str) -> None:
    done = CliRunner().invoke(app, ["recognize", ".", option, str(2**64)])
    assert done.exit_code == 2
    assert "less than or equal to" in done.output


@pytest.mark.parametrize("text", ["nan:1", "1_0:2_0", "1:0", "0:inf", "1", "a:b"])
@pytest.mark.parametrize("command", [["denoise"], ["train"], ["simulate", "fit", "--out", "x"]])
def test_a_range_is_refused_first(command: list[str], text: str) -> None:
    """Before it is looked whether anything else is right."""
    done = CliRunner().invoke(app, [*command, "nowhere", "--range", text])
    assert "expected LOW:HIGH" in str(done.exception)


@pytest.mark.long
def test_from_train_to_denoise(
    tmp_path: Path, scans_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = "[red]run[x]"  # names are no markup
    bundle = f"{run}/bundle-fp16"
    tiny = "iterations=2 checkpoint_every=1 pairs=2 held_out=1 batch_size=2 height=96 width=64"
    settings = [part for pair in tiny.split() for part in ("--set", pair)]
    for arguments in (
        ["train", "wgan_small", *settings, "--out", run],
        ["export", run, "--precision", "fp16", "--trt"],
        ["verify", bundle],
        ["denoise", str(scans_folder), "--model", bundle, "--out", "out"],
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (done.output, done.exception)
        assert arguments[0] == "denoise" or run in done.output
    assert (tmp_path / "out" / "one.png").is_file()
    assert list((tmp_path / bundle / "engines").glob("*.engine"))


@pytest.mark.long
def test_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "samples" / "demo.py"), str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "of 40 right" in done.stdout
    assert (tmp_path / "demo" / "before-after.png").stat().st_size > 10_000
    assert list((tmp_path / "demo").rglob("*.engine"))


def test_python_examples(tmp_path: Path) -> None:
    for script in sorted((ROOT / "samples").glob("*_example.py")):
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
