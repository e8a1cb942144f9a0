"""The examples of the documents run, and print what the documents say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the samples."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    return tmp_path


def blocks(path: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", path.read_text(), re.DOTALL)


def test_the_examples_of_the_api(folder: Path) -> None:
    code = "\n".join(blocks(ROOT / "docs" / "api.md", "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:dlkit", "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("7 98 915114 92 6276 Box(")


def test_every_public_function_is_in_the_api() -> None:
    import dlkit

    text = (ROOT / "docs" / "api.md").read_text()
    for name in dlkit.__all__:
        assert name.startswith("__") or name.endswith("Error") or f"`{name}" in text or (
            f"dlkit.{name}(" in text
        ), name  # fmt: skip


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a document's console blocks with the lines that it is said to print."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield command, [line for line in lines if line.strip()]


def shape(line: str) -> str:
    """A line without its numbers and the backend, which differ from machine to machine."""
    line = re.sub(r"\) on \w+, cpu", ") on BACKEND, cpu", " ".join(line.split()))
    return re.sub(r"\d[\d,.]*", "N", line)


def test_the_readme(folder: Path) -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 130
    found = list(commands(text))
    assert len(found) >= 6
    for command, expected in found:
        done = subprocess.run(
            [sys.executable, "-m", "dlkit", *shlex.split(command)[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        printed = iter([shape(line) for line in done.stdout.splitlines()])
        for line in expected:  # all of them, in their order
            assert shape(line) in printed, f"{command}\ndoes not print: {line}\n{done.stdout}"


def test_links_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
