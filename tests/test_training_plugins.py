"""Recipes and architectures of other people: by module, by file, under any name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.cli._extras import training_installed
from dlkit.errors import UsageError
from dlkit.training.architecture import ARCHITECTURES, Architecture
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.networks.lenet import ARCHITECTURE as LENET
from dlkit.training.recipe import RECIPES

ROOT = Path(__file__).parent.parent
NETWORK = """
from dataclasses import dataclass

from torch import nn

from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture


@dataclass(frozen=True)
class Config:
    hidden: int = 8
    image_size: int = 0
    channels: int = 0
    classes: int = 0


def build(config):
    features = config.channels * config.image_size**2
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, config.hidden), nn.Linear(config.hidden, config.classes)
    )


TINY = Architecture("tiny", recognize.TASK, Config, build)
"""
RECIPE = '''
from dataclasses import dataclass

from dlkit.training.classify.recipe import ClassifyRecipe
from {place} import TINY


@dataclass(frozen=True, kw_only=True)
class Mine(ClassifyRecipe):
    """A recipe with a field of its own."""

    note: str = ""


FAST = Mine(about="somebody's", network=TINY(hidden=12), epochs=1, batch_size=500, note="here")
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with an architecture in a file called lenet.py, and a recipe."""
    name = f"somebodys_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / "site" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "lenet.py").write_text(NETWORK)
    (folder / "recipes.py").write_text(RECIPE.format(place=f"{name}.lenet"))
    monkeypatch.syspath_prepend(str(folder.parent))
    yield name
    for module in [one for one in sys.modules if one.split(".")[0] == name]:
        del sys.modules[module]


def elsewhere(code: str, path: Path) -> str:
    """What a program prints that knows nothing of this one."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_architecture_serves_a_task_and_not_a_name() -> None:
    with pytest.raises(UsageError, match="expected a Task, got 'recognize'") as raised:
        Architecture("tiny", "recognize", int, nn.Identity)  # type: ignore[arg-type]
    assert "dlkit.tasks.recognize.TASK" in raised.value.mend


LOAD = (
    "from dlkit.training.engine.run import Run; run = Run({path!r}); "
    "print(type(run.load_recipe()).__name__, run.load_recipe().note, len(run.load_network()))"
)


@pytest.mark.long
def test_a_recipe_of_a_package_is_trained_and_found_again(package: str, tmp_path: Path) -> None:
    run = train(f"{package}.recipes:FAST", out=tmp_path / "run", hidden=9)
    stored = json.loads((run.path / "recipe.json").read_text())
    assert stored["recipe"] == f"{package}.recipes:Mine"
    assert stored["network"]["architecture"] == f"{package}.lenet:TINY"
    assert stored["network"]["hidden"] == 9
    assert run.load_recipe().network.architecture is not LENET
    said = elsewhere(LOAD.format(path=str(run.path)), tmp_path / "site")
    assert said == "Mine here 3"
    code = f"from dlkit.training.engine.run import Run; Run({str(run.path)!r}).load_recipe()"
    failed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert f"there is no module {package}" in failed.stderr


@pytest.mark.long
def test_a_recipe_of_a_file_is_trained_and_found_again(tmp_path: Path) -> None:
    (tmp_path / "lenet.py").write_text(NETWORK + RECIPE.replace("from {place} import TINY\n", ""))
    target = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "dlkit", "train", "lenet.py", "--out", str(target)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    stored = json.loads((target / "recipe.json").read_text())
    assert stored["network"]["architecture"] == f"{tmp_path / 'lenet.py'}:TINY"
    assert stored["network"]["hidden"] == 12
    assert elsewhere(LOAD.format(path=str(target)), tmp_path / "nowhere") == "Mine here 3"
    assert RECIPES.load("lenet").network.architecture is LENET


@pytest.mark.long
def test_a_script_may_hold_its_recipe(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        NETWORK + RECIPE.replace("from {place} import TINY\n", "") + "\n\nimport dlkit\n\n"
        "if __name__ == '__main__':\n"
        "    run = dlkit.train(FAST, out='run')\n"
        "    assert run.load_recipe().network.architecture is TINY\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Run(tmp_path / "run").finished
    assert elsewhere(LOAD.format(path=str(tmp_path / "run")), tmp_path) == "Mine here 3"


def test_networks_of_one_name_are_two(package: str) -> None:
    mine = ARCHITECTURES.load(f"{package}.lenet:TINY")
    assert mine.reference == f"{package}.lenet:TINY"
    assert ARCHITECTURES.load("lenet") is LENET
    assert LENET.reference == "lenet"


def test_a_network_without_what_the_data_decide_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "poor.py"
    file.write_text(
        (NETWORK + RECIPE.replace("from {place} import TINY\n", "")).replace(
            "    classes: int = 0\n", ""
        )
    )
    with pytest.raises(UsageError, match=r"tiny has no classes.*'classes: int = 0'"):
        train(file, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import surely_not_installed\n", "ModuleNotFoundError.*surely_not_installed.*line 1"),
        ("import os\n\nraise ValueError('boom')\n", r"ValueError: boom \(.*own\.py, line 3\)"),
        ("import sys\nsys.exit(0)\n", r"SystemExit: 0 \(.*own\.py, line 2\)"),
        ("exit()\n", r"SystemExit: None \(.*own\.py, line 1\)"),
        ("def (\n", r"SyntaxError: invalid syntax \(own\.py, line 1\)"),
    ],
)
def test_a_plug_in_that_fails_says_where(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(text)
    done = CliRunner().invoke(app, ["train", str(tmp_path / "own.py")])
    assert isinstance(done.exception, UsageError)
    assert re.search(f"own.py' fails while it is imported: {words}", str(done.exception))


def test_only_what_dlkit_lacks_is_its_extra() -> None:
    with (
        pytest.raises(UsageError, match=r"need torchvision.*dlkit-vision\[train\]"),
        training_installed("train"),
    ):
        raise ModuleNotFoundError("no", name="torchvision.datasets")
