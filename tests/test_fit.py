"""Simulators of other scanners: what is measured, what is refused, the file, training on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dlkit import images
from dlkit.cli import app
from dlkit.errors import DlkitError, InputError, MachineError, UsageError
from dlkit.mmwave import DEFAULTS, simulate
from dlkit.mmwave.fit import fit, scaled, with_levels
from dlkit.mmwave.parameters_file import load, simulator, to_json
from dlkit.tasks.denoise.pairs import simulate_pairs
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES
from dlkit.training.restore.recipe import PairedRecipe

SIZE = (160, 96)
SMALL = (200, 120)


@pytest.fixture(scope="module")
def scans() -> dict[str, images.UInt8]:
    """Small, so that the simulated ones that they are compared with take no time."""
    return {f"{seed}.png": simulate(seed, SMALL).noisy for seed in (500, 502, 503, 504, 505)}


def folder_of(folder: Path, scans: dict[str, Any]) -> Path:
    for name, scan in scans.items():
        images.write(folder / name, scan)
    return folder


def run(folder: Path, out: Path, *options: str) -> Result:
    command = ["simulate", "fit", str(folder), "--out", str(out), *options]
    return CliRunner().invoke(app, command)


def refused(result: Result) -> DlkitError:
    assert isinstance(result.exception, DlkitError), result.output
    return result.exception


@pytest.mark.long
def test_a_scanner_is_fitted_from_noisy_scans_alone(tmp_path: Path) -> None:
    other = with_levels(scaled(DEFAULTS, noise=1.8, stripes=1.6), 110.0, 44.0)
    for seed in range(500, 512):
        images.write(tmp_path / "scans" / f"{seed}.png", simulate(seed, parameters=other).noisy)
    file = tmp_path / "scanner.json"
    done = run(tmp_path / "scans", file)
    assert done.exit_code == 0, done.output
    found = load(file)
    assert found.grey_mean == pytest.approx(110, abs=2)
    assert found.grey_deviation == pytest.approx(44, abs=2)
    assert found.noise_kelvin[1] / DEFAULTS.noise_kelvin[1] == pytest.approx(1.8, rel=0.25)
    stripes = found.column_offset_kelvin[1] / DEFAULTS.column_offset_kelvin[1]
    assert stripes == pytest.approx(1.6, rel=0.35)
    assert found.curve_raw[0] == pytest.approx(
        found.grey_mean + (DEFAULTS.curve_raw[0] - DEFAULTS.grey_mean) * found.grey_deviation
        / DEFAULTS.grey_deviation
    )  # fmt: skip
    assert isinstance(refused(run(tmp_path / "scans", file)), UsageError)


@pytest.mark.long
def test_the_first_file_decides_nothing(scans: dict[str, images.UInt8], tmp_path: Path) -> None:
    alone = fit(scans)
    others = {"0.png": np.zeros((40, 30), np.uint8), "1.png": simulate(1).noisy[:120, :100]}
    fitted = fit({**others, **scans})
    assert fitted.parameters == alone.parameters
    assert fitted.size == SMALL
    assert set(fitted.left_out) == set(others)
    for place, files in enumerate(({**others, **scans}, {"0.png": others["0.png"], **scans})):
        out = tmp_path / f"{place}.json"
        done = run(folder_of(tmp_path / str(place), files), out)
        assert done.exit_code == 0, done.output
        assert load(out) == alone.parameters
        assert f"{alone.measured} scans of 200x120 measured" in done.output
        assert "left out: 0.png: is 40x30, most are 200x120" in done.output


def test_what_is_no_image_is_named(scans: dict[str, images.UInt8], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scans", scans)
    (folder / "damaged.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("of the scanner")
    images.write(folder / "false.png", cv2.applyColorMap(scans["500.png"], cv2.COLORMAP_JET))
    done = run(folder, tmp_path / "scanner.json")
    assert done.exit_code == 0, done.output
    for name in ("damaged.png", "notes.txt: is no image", "false.png: is in colours"):
        assert f"left out: {name}" in done.output
    assert "3 left out" in done.output
    for number in range(20):
        (folder / f"z{number}.txt").touch()
    done = run(folder, tmp_path / "more.json")
    assert "left out: 13 more" in done.output
    assert "23 left out" in done.output
    for name in scans:
        (folder / name).unlink()
    error = refused(run(folder, tmp_path / "none.json"))
    assert isinstance(error, InputError)
    assert "no scans that can be read" in error.what
    assert not (tmp_path / "none.json").exists()


def test_scans_that_are_all_small_are_refused_by_their_size() -> None:
    with pytest.raises(InputError, match="no scan is 100x100 pixels or more, got 64x48"):
        fit({"a": np.zeros((64, 48), np.uint8)})


@pytest.mark.long
def test_where_it_cannot_be_written_is_said_before_the_work(
    scans: dict[str, images.UInt8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "scans", scans)
    new = tmp_path / "not" / "there" / "scanner.json"
    assert run(folder, new).exit_code == 0
    assert load(new).grey_mean > 0
    assert run(folder, new, "--overwrite").exit_code == 0

    def never(*_: object) -> None:
        raise AssertionError("measured before it was checked")

    monkeypatch.setattr("dlkit.mmwave.fit.fit", never)
    for out, options, kind in ((new, (), UsageError), (folder, ("--overwrite",), UsageError),
                               (Path("/dev/null"), ("--overwrite",), UsageError),
                               (folder / "500.png" / "x.json", (), MachineError)):  # fmt: skip
        assert isinstance(refused(run(folder, out, *options)), kind)


@pytest.mark.long
def test_values_of_other_ranges_need_the_range(
    scans: dict[str, images.UInt8], tmp_path: Path
) -> None:
    wide = {name: scan.astype(np.uint16) * 16 for name, scan in scans.items()}
    folder = folder_of(tmp_path / "wide", wide)
    error = refused(run(folder, tmp_path / "scanner.json"))
    assert "grey levels have mean 8 and deviation 3" in error.what
    assert "--range LOW:HIGH" in error.mend
    done = run(folder, tmp_path / "scanner.json", "--range", "0:4080")
    assert done.exit_code == 0, done.output
    assert load(tmp_path / "scanner.json") == fit(scans).parameters
    error = refused(run(folder, tmp_path / "other.json", "--range", "0:255"))
    assert "outside the range" in error.what
    assert isinstance(refused(run(folder, tmp_path / "no.json", "--range", "9:1")), UsageError)


def test_what_is_no_raw_scan_is_refused_or_left_out(scans: dict[str, images.UInt8]) -> None:
    inverted = {name: 255 - scan for name, scan in scans.items()}
    turned = {name: np.ascontiguousarray(np.rot90(scan)) for name, scan in scans.items()}
    clean = {str(seed): simulate(seed, SMALL).clean for seed in range(4)}
    for others, what in ((inverted, "nobody is brighter"), (turned, "wider than high"),
                         (clean, "is black")):  # fmt: skip
        with pytest.raises(InputError, match=what) as caught:
            fit(others)
        assert caught.value.mend
    fitted = fit({**scans, "inverted": inverted["502.png"]})
    assert "nobody is brighter" in fitted.left_out["inverted"]
    assert fitted.parameters == fit(scans).parameters


def test_training_takes_a_fitted_scanner(tmp_path: Path) -> None:
    file = tmp_path / "scanner.json"
    file.write_text(to_json(with_levels(DEFAULTS, 100.0, 40.0)))
    recipe = RECIPES.load("denoiser")
    assert isinstance(recipe, PairedRecipe)
    recipe = replace(recipe, steps=1, epochs=1, pairs=2, held_out=1, batch_size=1, crop_width=64,
                     height=SIZE[0], width=SIZE[1])  # fmt: skip
    done = train(recipe, f"simulated:{file}", tmp_path / "run")
    assert done.load_recipe().data == f"simulated:{file.resolve()}"
    assert done.load_log()[0]["dataset"] == "simulated:scanner.json"
    parameters = simulator(f"simulated:{file}")
    assert parameters is not None
    scan = simulate_pairs([1], SIZE, parameters=parameters).noisy[0]
    assert scan.mean() == pytest.approx(100, abs=2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parameters": [1]}', "[" * 200_000, "\0\1"])
def test_a_file_that_is_no_scanner_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "scanner.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"scanner\.json: no parameters of the simulator"):
        simulator(f"simulated:{file}")


@pytest.mark.parametrize(
    ("field", "value"),
    [("nothing", "1"), ("noise_kelvin", "1"), ("noise_kelvin", '[1, "a"]'), ("grey_mean", "NaN"),
     ("noise_kelvin", "[1, 2, 3]"), ("noise_kelvin", "[2, 1]"), ("psf_across", "[1, 1e6]"),
     ("psf_across", "[-3, 3]"), ("grey_deviation", "0"), ("grey_deviation", "-50"),
     ("grey_mean", "1e300"), ("grey_mean", "true"), ("grey_mean", "1" * 400),
     ("dead_column_probability", "2"), ("object_counts", "[0, 0, 0, 0]"),
     ("curve_raw", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 10]"), ("figure_height", "[0, 600]"),
     ("pose_weights", "[]"), ("psf_down", "[" * 500 + "]" * 500)],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_by_name(field: str, value: str, tmp_path: Path) -> None:
    file = tmp_path / "scanner.json"
    file.write_text(f'{{"parameters": {{"{field}": {value}}}}}')
    with pytest.raises(InputError, match=rf"scanner\.json: '?{field}.* expected ") as caught:
        simulator(f"simulated:{file}")
    assert "dlkit simulate fit" in caught.value.mend


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json", Path("/dev/zero")):
        with pytest.raises(InputError, match="there is no such file"):
            load(path)


def test_simulated_with_an_empty_name_is_no_simulator() -> None:
    assert simulator("simulated") == DEFAULTS
    assert simulator("folder") is None
    for data in ("simulated:", "simulated: "):
        with pytest.raises(UsageError, match="without the name of a file"):
            simulator(data)


def test_parameters_come_back_from_json(tmp_path: Path) -> None:
    file = tmp_path / "scanner.json"
    for factor, mean, deviation in ((0.8, 99.5, 41.0), (4.0, 215.0, 127.5), (0.25, 40.0, 16.0)):
        # the last two are the furthest that is fitted
        made = scaled(with_levels(DEFAULTS, mean, deviation), factor, factor, factor)
        file.write_text(to_json(made))
        assert load(file) == made
    assert json.loads(to_json(DEFAULTS)) == {"parameters": {}}


def test_scans_without_a_person_are_no_scans() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 150), dtype=np.uint8)
    for scan in (np.zeros((200, 150), np.uint8), np.zeros((20, 20), np.uint8), noise):
        with pytest.raises(InputError):
            fit({"scan": scan})
