"""A package outside the repository brings a network, a recipe, a task and a backend."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import dlkit
from dlkit.cli import app

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the package installed into ``site``, and images of discs in ``in``."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(ROOT / "tests" / "plugin", folder / "package")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--disable-pip-version-check", "--target", folder / "site"]
    subprocess.run([*install, *options, folder / "package"], check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "site")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder / "site"), str(ROOT)]))
        patch.chdir(folder)
        from shapes.discs import discs

        (folder / "in").mkdir()
        for number, image in enumerate(discs(6, seed=5)[0]):
            cv2.imwrite(str(folder / "in" / f"{number}.png"), image[:30, :27])
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "shapes"]:
        del sys.modules[name]


def cli(*arguments: object) -> str:
    """The command line where the package is installed."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def without(place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line where the package is not installed."""
    return subprocess.run(
        [sys.executable, "-m", "dlkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )


def test_the_whole_way_on_the_command_line(place: Path) -> None:
    assert "shapes" in cli("train", "--list")
    assert "pixels_right" in cli("train", "shapes", "--set", "steps=40", "--out", "run")
    export = cli("export", "run", "--precision", "fp16", "--trt", "--batch", "1:4:8",
                 "--size", "16x16:32x32:64x64")  # fmt: skip
    assert "engine: tensorrt_rtx" in export
    assert "100.0%" in export
    verified = cli("verify", "run/bundle-fp16")
    assert "reference_evaluator" in verified
    assert "torch" in verified
    assert "iou" in verified
    for backend in ("auto", "reference_evaluator"):
        out = f"out-{backend}"
        ran = cli("run", "run/bundle-fp16", "in", "--out", out, "--backend", backend)
        assert "6 done, 0 failed" in ran
        mask = cv2.imread(str(place / out / "3.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (30, 27)
        assert set(np.unique(mask)) == {0, 255}
    bench = ("bench", "run/bundle-fp16", "--batches", 1, "--seconds", 0.02, "--rounds", 1)
    assert "reference_evaluator" in cli(*bench, "--backend", "reference_evaluator")
    assert "shapes.recipe:DiscRecipe" in (place / "run" / "recipe.json").read_text()

    # Where the package is missing, the bundle still runs, and export says what is missing.
    done = without(place, "run", "run/bundle-fp16", "in", "--out", "out-without")
    assert done.returncode == 2
    assert "the task 'segment', which is not installed" in done.stderr
    np.save(place / "x.npy", np.zeros((2, 32, 32), np.uint8))
    arrays = ("run", "run/bundle-fp16", "x.npy", "--out", "out-arrays", "--task", "tensors")
    done = without(place, *arrays)
    assert done.returncode == 0, done.stderr
    with np.load(place / "out-arrays" / "x.npy.npz") as found:
        assert found["mask"].shape == (2, 32, 32)
    done = without(place, "export", "run", "--precision", "fp16", "--out", "again")
    assert done.returncode == 2
    assert "shapes" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_whole_way_in_python(place: Path) -> None:
    run = dlkit.train("shapes.recipe:RECIPE", out="python-run", steps=40)
    bundle = dlkit.export(run, precision="fp16")
    engine = dlkit.build_engine(bundle, profile="1:4:8", size="16x16:32x32:64x64")
    assert engine.proof["multiply_adds"]["fp16"] >= 0.95
    certificate = dlkit.verify(bundle)
    assert certificate.inputs.count == 40
    assert "torch" in certificate.reference.name
    result = dlkit.bench(
        [str(bundle.path)], batches=(1,), seconds=0.02, rounds=1, backends=("reference_evaluator",)
    )
    assert result["inference"][0]["backend"] == "reference_evaluator"
    with dlkit.load(bundle) as model:
        assert type(model).__name__ == "Segmenter"
        assert model.segment([np.zeros((20, 20), np.uint8)])[0].shape == (20, 20)  # type: ignore[attr-defined]
        assert model.run_folder("in", "python-out").done == 6
    assert dlkit.export(run, precision="int8").spec.precision == "int8"


def test_a_file_called_lenet_is_never_dlkits(place: Path) -> None:
    (place / "lenet.py").write_text(
        "from shapes.recipe import DiscRecipe\n"
        "from shapes.lenet import NET\n"
        "MINE = DiscRecipe(about='mine', network=NET(channels=4), steps=3)\n"
    )
    cli("train", "lenet.py", "--out", "mine")
    cli("train", "./lenet.py:MINE", "--out", "mine-too")
    text = (place / "mine" / "recipe.json").read_text()
    assert "shapes.lenet:NET" in text
    assert '"channels": 4' in text
