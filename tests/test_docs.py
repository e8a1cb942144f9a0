"""The examples of the documents run, and print what the documents say."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import generative
import numpy as np
import pytest
import torch
from torch import nn

from dlkit.training.networks import _common
from dlkit.training.recipe import RECIPES

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the samples."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    return tmp_path


def blocks(path: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", path.read_text(), re.DOTALL)


@pytest.mark.long
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
    assert done.stdout.startswith("7 665934 9515920 Box(")


def test_every_public_name_has_an_example() -> None:
    """In code, which the tests run: of plug-ins' parts in docs/plugins.md. Errors have a row."""
    import dlkit

    api, plugins = ROOT / "docs" / "api.md", ROOT / "docs" / "plugins.md"
    code = "\n".join(blocks(api, "python"))
    parts = set(re.findall(r"\w+", "\n".join(blocks(plugins, "python"))))
    for name in dlkit.__all__:
        if not isinstance(getattr(dlkit, name), type):
            assert name.startswith("__") or f"dlkit.{name}(" in code, name
        elif issubclass(getattr(dlkit, name), Exception):
            assert f"| `{name}` |" in api.read_text() or f"dlkit.{name} as" in code, name
        else:
            assert re.search(rf"dlkit\.{name}\b", code) or name in parts, name


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a document's console blocks with the lines that it is said to print."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield command, [line for line in lines if line.strip()]


@pytest.mark.long
def test_from_a_file_of_ones_own_to_a_proven_engine(folder: Path) -> None:
    """The five commands of docs/export.md, on a network as torch writes it by default."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
                        nn.Flatten(), nn.Linear(256, 4)).eval()  # fmt: skip
    free = {0: torch.export.Dim("n", min=1, max=64)}
    given = (torch.zeros(2, 3, 32, 32),)
    torch.onnx.export(net, given, folder / "net.onnx", dynamic_shapes=(free,), verbose=False)
    assert (folder / "net.onnx.data").is_file()
    (folder / "names.txt").write_text("a\nb\nc\nd\n")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    for number in range(100):
        image = random.integers(0, 256, (40, 36, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
    text = (ROOT / "docs" / "export.md").read_text().partition("## From a run")[0]
    found = list(commands(text))
    assert len(found) == 5
    for command, _ in found:
        done = subprocess.run(
            [sys.executable, "-m", "dlkit", *shlex.split(command)[1:]],
            capture_output=True, text=True, cwd=folder, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    engines = list((folder / "net-bundle-fp16" / "engines").glob("*.engine"))
    assert len(engines) == 1


def shape(line: str) -> str:
    """A line without its numbers and the backend, which differ from machine to machine."""
    line = re.sub(r"\) on \w+, cpu", ") on BACKEND, cpu", " ".join(line.split()))
    return re.sub(r"\d[\d,.]*", "N", line)


@pytest.mark.long
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


@pytest.mark.long
def test_the_examples_of_plugins(folder: Path) -> None:
    """They are one file, whose values do what the document says."""
    code = "\n".join(blocks(ROOT / "docs" / "plugins.md", "python"))
    net = "\n\nclass Mean(nn.Module):\n    def forward(self, pixels):\n"
    net += "        return pixels.float().mean((1, 2))[:, None]\n\n\nnet = Mean\n"
    (folder / "mine.py").write_text(code + net)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (60, 8, 8), np.uint8)
    np.savez(folder / "few.npz", images=pixels, labels=np.arange(60) % 3)
    np.savez(folder / "one.npz", pixels=pixels[:2])
    (folder / "in").mkdir()
    cv2.imwrite(str(folder / "in" / "a.png"), np.full((20, 30), 77, np.uint8))
    for words in (
        "train mine.py --data few.npz --out run --set epochs=1 --set width=4",
        "export mine:net --example one.npz --task mine:TASK --out bundle",
        "verify bundle --against mine:net",
        "run bundle in --out answers --backend mine:BACKEND",
    ):
        done = subprocess.run(
            [sys.executable, "-m", "dlkit", *words.split()],
            capture_output=True, text=True, cwd=folder, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    assert json.loads((folder / "answers" / "a.png.json").read_text()) == {"brightness": 77.0}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_generators_reach_is_what_was_measured() -> None:
    """Each cell that benchmarks/generative.py knows stands in docs/generating.md."""
    rows = json.loads(generative.RESULTS.read_text())
    assert {"cgan", "cyclegan_small"} <= {row["method"] for row in rows}
    text = (ROOT / "docs" / "generating.md").read_text()
    for columns in (generative.DIGITS, generative.SCANS):
        head, rule, *lines = generative.table(rows, columns).splitlines()
        page = text.partition(f"{head}\n{rule}\n")[2].partition("\n\n")[0].splitlines()
        said = {cells(line)[0]: cells(line) for line in page}
        for line in lines:
            there = said[cells(line)[0]]
            for title, known, cell in zip(cells(head), cells(line), there, strict=True):
                assert known in ("", cell), f"{there[0]}, {title}"


def test_the_page_of_parity_has_every_small_recipe_and_todays_tolerances() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "parity.py"))
    text = (ROOT / "docs" / "parity.md").read_text()
    assert text.startswith(script["HEAD"])
    rows = [cells(line) for line in text.removeprefix(script["HEAD"]).splitlines()]
    assert {row[0] for row in rows} == set(script["small"]())
    for name, _, precision, backend, _, _, allowed, _ in rows:
        if allowed:
            arithmetic = "bf16" if backend.endswith("bf16") else precision
            wanted = RECIPES.load(name).task.tolerances[arithmetic]
            assert allowed == f"{wanted.largest:g}, {wanted.mean:g}", f"{name}, {precision}"


def test_runs_with_another_loss_have_rows_of_their_own() -> None:
    recipe = RECIPES.load("cgan")
    assert generative.recipe_name(recipe) == "cgan"
    other = recipe.with_settings(["adversary=least_squares", "seed=3"])
    assert generative.recipe_name(other) == "cgan, least_squares"
    row = {"method": "cgan, least_squares", "seed": 0, "frechet": 0.5}
    assert "| `cgan, least_squares` | 1 | 0.50 |" in generative.table([row], generative.DIGITS)


# Recipes that are no system of the article's.
OTHERS = {"best", "best_tuned", "detector", "fast", "finder", "lenet_plus", "reader"}


def test_the_articles_table_names_every_system() -> None:
    text = (ROOT / "docs" / "article.md").read_text()
    missing = {name for name in RECIPES.names() if f"`{name}`" not in text}
    assert missing == OTHERS  # a new recipe gets a row, or is none of the article's
    systems = "neurons|multilayer perceptron|LeNet|AlexNet|VGG|GoogLeNet|ResNet|GAN|conditional GAN"
    for system in f"{systems}|pix2pix|CycleGAN|WGAN-GP".split("|"):
        assert re.search(rf"^\| {system}\b", text, re.MULTILINE), system


def test_the_page_of_activation_functions_names_all() -> None:
    text = (ROOT / "docs" / "activations.md").read_text()
    assert "](images/activations.png)" in text
    assert "python docs/activations.py" in text
    for name in _common._ACTIVATIONS:
        assert f"`{name}`" in text, name


@pytest.mark.long
def test_the_picture_of_activation_functions_is_drawn_from_the_code(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "activations.py"))
    assert script["SHOWN"] == ("sigmoid", "tanh", "relu", "leaky_relu")
    (tmp_path / "images").mkdir()
    script["main"].__globals__["ROOT"] = tmp_path
    script["main"]()
    drawn, there = (cv2.imread(str(folder / "images" / "activations.png"), 0).astype(int)
                    for folder in (tmp_path, ROOT / "docs"))  # fmt: skip
    assert drawn.shape == there.shape
    assert np.abs(drawn - there).mean() < 2  # fonts differ a little


def test_rows_of_the_same_weights_are_completed_and_others_replaced() -> None:
    old = [{"method": "gan", "seed": 0, "onnx_sha256": "a", "psnr": 1.0, "real_psnr": 2.0}]
    new = {"method": "gan", "seed": 0, "onnx_sha256": "a", "psnr": 3.0}
    assert generative.merged(old, [new]) == [{**new, "real_psnr": 2.0}]
    assert generative.merged(old, [{**new, "onnx_sha256": "b"}]) == [{**new, "onnx_sha256": "b"}]
    assert len(generative.merged(old, [{**new, "seed": 1}, {"method": "raw scan"}])) == 3
