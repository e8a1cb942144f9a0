"""Recipes and architectures of other people: by module, by file, under any name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn
from typer.testing import CliRunner

import dlkit
from dlkit.cli import app
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


IMPORTS = """
from dataclasses import dataclass

from dlkit.training.classify.recipe import ClassifyRecipe
from dlkit.training.networks.lenet import ARCHITECTURE


@dataclass(frozen=True, kw_only=True)
class Mine(ClassifyRecipe):
    def trainer(self, data, compute):
        import {module}


MINE = Mine(about="somebody's", network=ARCHITECTURE(), epochs=1, batch_size=500)
"""


@pytest.mark.parametrize(
    ("module", "lacks"),
    [
        ("surely_not_installed", False),
        ("torch.nn.no_such_layer", False),  # torch is here: the name is wrong
        ("scipy.no_such", False),
        ("torchvision.datasets", True),
    ],
)
def test_only_what_dlkit_lacks_is_its_extra(
    module: str, lacks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(IMPORTS.format(module=module))
    if lacks:
        monkeypatch.setitem(sys.modules, "torchvision", None)  # as if it were not installed
        monkeypatch.delitem(sys.modules, "torchvision.datasets", raising=False)
    arguments = ["train", str(tmp_path / "own.py"), "--out", str(tmp_path / "run")]
    error = CliRunner().invoke(app, arguments).exception
    if lacks:
        assert isinstance(error, UsageError)
        assert "to train you need torchvision" in error.what
        assert "dlkit-vision[train]" in error.mend
    else:
        assert isinstance(error, ModuleNotFoundError)
        assert error.name == module


def installed(site: Path, kind: str, name: str, text: str) -> None:
    """A package with one module that holds a plug-in, as pip leaves it."""
    package = f"{name}_{site.name}"
    info = site / f"{package}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[dlkit.{kind}]\n{name} = {package}:IT\n")
    (site / f"{package}.py").write_text(text)


KINDS = {
    "recipes": (lambda name: dlkit.train(name), "lenet", "dlkit.training.recipes"),
    "architectures": (ARCHITECTURES.load, "lenet", "dlkit.training.networks"),
    "backends": (
        lambda name: dlkit.load("digits", backend=name), "onnxruntime", "dlkit.runtime.backends",
    ),
    "tasks": (lambda _: dlkit.load("digits"), "recognize", "dlkit.tasks"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_two_of_one_name_are_an_error_that_names_both(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, name, package = KINDS[kind]
    first, second = tmp_path / "first", tmp_path / "second"
    with monkeypatch.context() as patch:
        installed(first, kind, name, "IT = None\n")
        patch.syspath_prepend(first)
        with pytest.raises(UsageError, match=f"two {kind} are called '{name}'") as raised:
            ask(name)
    assert f"{package}.{name} and {name}_first:IT" in raised.value.what
    installed(first, kind, "twin", "IT = None\n")
    installed(second, kind, "twin", "IT = None\n")
    monkeypatch.syspath_prepend(second)
    monkeypatch.syspath_prepend(first)
    shutil.rmtree(first / f"{name}_first-1.dist-info")
    with pytest.raises(UsageError, match=f"two installed {kind} are called 'twin'") as raised:
        ask("twin")
    assert "twin_first:IT and twin_second:IT" in raised.value.what


def test_a_task_that_fails_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = dlkit.Bundle.open("digits").copy(tmp_path / "digits")
    text = (digits.path / "model.json").read_text()
    (digits.path / "model.json").write_text(text.replace('"recognize"', '"segment"', 1))
    with pytest.raises(UsageError, match="the task 'segment', which is not installed here"):
        dlkit.load(digits.path)
    installed(tmp_path / "site", "tasks", "segment", "import dlkit\n\nIT = dlkit.tasks.Nothing\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(UsageError, match=r"'segment' fails .*AttributeError.*line 3\)"):
        dlkit.load(digits.path)
