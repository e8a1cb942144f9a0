"""The whole way on the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import dlkit
from dlkit.cli import app
from dlkit.errors import DlkitError, UsageError
from dlkit.mmwave import folder

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


@pytest.mark.skipif(os.name != "posix", reason="a folder that somebody is in")
def test_a_folder_that_was_removed(tmp_path: Path) -> None:
    code = "import os, runpy, sys; os.rmdir(os.getcwd())\n"
    for rest in (
        "sys.argv[1:] = ['models']; runpy.run_module('dlkit', run_name='__main__')",
        "sys.argv[1:] = ['card', '/']; runpy.run_module('dlkit', run_name='__main__')",
        "import dlkit; dlkit.load",
    ):
        (tmp_path / "gone").mkdir()
        command = [sys.executable, "-c", code + rest]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "gone")
        last = done.stderr.splitlines()[-1]
        assert "the folder that you are in was removed. Go to another: cd" in last
        assert ("Traceback" in done.stderr) == ("dlkit.load" in rest)


@pytest.mark.parametrize("name", ["OPENCV_IO_MAX_IMAGE_PIXELS", "OPENCV_DUMP_ERRORS"])
@pytest.mark.parametrize("value", ["abc", "", "-5"])
def test_variables_over_which_opencv_ends(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["models"])
    assert isinstance(done.exception, UsageError)
    assert f"{name} is {value!r}" in str(done.exception)
    assert f"unset {name}" in str(done.exception)


def test_interrupted_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is whole, the same command goes on, another one is told how."""
    out = tmp_path / "pairs"
    command = ["simulate", str(out), "--count", "5", "--size", "32x32"]
    real, times = folder.simulate, [0]

    def interrupted(*arguments: Any) -> Any:
        times[0] += 1
        if times[0] == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(folder, "simulate", interrupted)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 130
    assert "the same command goes on" in done.output
    assert "dlkit: interrupted" in done.output
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert len(before) == 4
    other = CliRunner().invoke(app, [*command[:2], "--count", "9"])
    assert isinstance(other.exception, UsageError)
    assert other.exception.mend.endswith("--count 5 --seed 0 --size 32x32")
    assert CliRunner().invoke(app, command).exit_code == 0
    assert len(list(out.rglob("*.png"))) == 10
    assert all(path.stat().st_mtime_ns == date for path, date in before.items())
    assert sorted(path.name for path in out.iterdir()) == ["clean", "noisy"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_while_it_is_loaded(tmp_path: Path) -> None:
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\napp = print\n"
    program = (
        "import sys, types\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'dlkit.cli': exec({code!r})\n"
        "from dlkit.__main__ import main\n"
        "sys.meta_path.insert(0, Finder())\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_where_python_lets_no_exception_out() -> None:
    """As in the callbacks that each import has: it is not lost, also where the process waits."""
    program = (
        "import os, select, signal, weakref\n"
        "import dlkit.cli\n"
        "from dlkit.__main__ import main\n"
        "def app():\n"
        "    class Object: pass\n"
        "    gone = Object()\n"
        "    kept = weakref.ref(gone, lambda _: os.kill(os.getpid(), signal.SIGINT) or print())\n"
        "    del gone\n"
        "    select.select([], [], [], 60)\n"
        "dlkit.cli.app = app\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (130, "dlkit: interrupted\n")


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
    made = cv2.imread(str(tmp_path / "demo" / "generated.png"), 0)
    assert made.shape == (10 * 30 + 2, 10 * 30 + 2)
    digits = made[2:, 2:].reshape(10, 30, 10, 30)[:, :28, :, :28].swapaxes(1, 2).reshape(100, -1)
    assert (digits.max(1) > 200).all()  # ink in each
    assert len(np.unique(digits, axis=0)) == 100
    assert list((tmp_path / "demo").rglob("*.engine"))


def test_python_examples(tmp_path: Path) -> None:
    for script in sorted((ROOT / "samples").glob("*_example.py")):
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


OWN = Path(dlkit.__file__).parent / "shipped" / "digits" / "never"


@pytest.mark.parametrize(
    "words",
    [
        ["recognize", "{digits}", "--out", "{own}/p.csv"],
        ["recognize", "{digits}", "--out", "p.csv", "--annotate", "{own}"],
        ["denoise", "{digits}", "--out", "{own}"],
        ["detect", "{digits}", "--out", "{own}"],
        ["run", "digits", "{digits}", "--out", "{own}"],
        ["generate", "--count", "1", "--out", "{own}"],
        ["simulate", "scans", "{own}", "--count", "1"],
        ["pack", "{digits}", "{own}/t.tar"],
        ["card", "digits", "--out", "{own}/README.md"],
        ["bench", "digits", "--html", "{own}/b.html"],
        ["evaluate", "digits", "--out", "{own}"],
        ["export", "digits", "--precision", "fp16", "--out", "{own}"],
        ["export", "digits", "--triton", "{own}"],
        ["pull", "hf://somebody/digits", "--out", "{own}"],
        ["train", "lenet", "--data", "mnist-mini", "--out", "{own}"],
    ],
)
def test_nothing_is_written_into_the_package(
    words: list[str], digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [word.format(own=OWN, digits=digits_folder) for word in words])
    try:
        assert isinstance(done.exception, DlkitError), done.output
        assert "read-only" in str(done.exception)
        assert not OWN.exists()
    finally:
        shutil.rmtree(OWN, ignore_errors=True)
