"""Bundles and runs as folders: what others put there stays, and names that are none are refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import dlkit
from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, EngineKey
from dlkit.cli import app
from dlkit.errors import BundleError, DlkitError, MachineError, TrainingError, UsageError
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES

from .foreign_graphs import Net
from .long import long

SETTINGS = ("--set", "epochs=1", "--set", "batch_size=100")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(kind: type[DlkitError], *arguments: object) -> str:
    """What a command that must fail says, in one line."""
    done = run(*arguments)
    assert isinstance(done.exception, kind), done.exception
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.open("digits").copy(tmp_path / "b")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(Net().model().SerializeToString())
    return path


def test_a_folder_of_another_program_is_no_bundle(net: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "engines").mkdir(parents=True)
    files = {"model.onnx": b"mine", "model.json": b'{"mine": 1}', "engines/notes.txt": b"mine"}
    for name, content in files.items():
        (mine / name).write_bytes(content)
    for command in (("export", net), ("export", "digits")):
        assert "exists and is no bundle: dlkit did not write its model.json" in refused(
            BundleError, *command, "--out", mine
        )
    for content in (b"[]", b"{", b'{"format": 2}', b'{"format": "graph-model", "onnx": {}}'):
        (mine / "model.json").write_bytes(content)
        refused(BundleError, "export", net, "--out", mine)
    (mine / "model.json").write_bytes(files["model.json"])
    for name, before in files.items():
        assert (mine / name).read_bytes() == before


def test_a_graph_that_dlkit_did_not_write_is_not_replaced(bundle: Bundle, net: Path) -> None:
    bundle.onnx.write_bytes(b"mine")
    said = refused(BundleError, "export", net, "--out", bundle.path)
    assert bundle.onnx.read_bytes() == b"mine"
    source, target = said.partition("mv ")[2].split()  # the mend works when it is copied
    Path(source).rename(target)
    assert run("export", net, "--out", bundle.path).exit_code == 0
    assert Path(target).read_bytes() == b"mine"


def test_what_is_converted_is_not_replaced(net: Path, tmp_path: Path) -> None:
    target = tmp_path / "b"
    assert run("export", net, "--out", target).exit_code == 0
    before = (target / "model.onnx").read_bytes()
    (tmp_path / "link").symlink_to(target)
    for source, out in (
        (target / "model.onnx", target),
        (target, target),
        (target, tmp_path / "link"),
        (tmp_path / "link" / "model.onnx", target),
    ):
        said = refused(UsageError, "export", source, "--precision", "fp16", "--out", out)
        assert "would be replaced by what is made of it" in said
    assert (target / "model.onnx").read_bytes() == before


def engine_in(bundle: Bundle) -> Engine:
    """As one that was built."""
    key = EngineKey(bundle.sha256, "tensorrt", "10.0", "fp32", ("9.0",), {}, ())
    engine = Engine.create(bundle, key, b"plan", {}, {})
    engine.runtime_cache.write_bytes(b"kernels")
    (bundle.engines / f".{engine.path.stem}.lock").touch()
    return engine


def test_engines_of_others_stay(bundle: Bundle, net: Path) -> None:
    engine = engine_in(bundle)
    others = {"my-notes.txt", "mine.engine", "mine.json", "sub/deep.txt"}
    (bundle.engines / "sub").mkdir()
    (bundle.engines / "empty").mkdir()
    for name in others:
        (bundle.engines / name).write_text("mine")
    assert run("export", net, "--out", bundle.path).exit_code == 0
    there = [path for path in bundle.engines.rglob("*") if path.is_file()]
    assert {path.relative_to(bundle.engines).as_posix() for path in there} == others
    assert (bundle.engines / "empty").is_dir()
    assert not engine.path.exists()


def test_engines_go_with_their_graph(bundle: Bundle, net: Path) -> None:
    engine = engine_in(bundle)
    assert run("export", net, "--out", bundle.path).exit_code == 0
    assert not bundle.engines.exists()
    bundle = Bundle.open("digits").copy(bundle.path)
    engine = engine_in(bundle)
    engine.path.write_bytes(b"mine, of the same name")
    assert run("export", net, "--out", bundle.path).exit_code == 0
    assert [path.name for path in bundle.engines.iterdir()] == [engine.path.name]


@pytest.mark.skipif(os.name != "posix", reason="pipes and links")
def test_links_and_pipes_stay_what_they_are(bundle: Bundle, net: Path, tmp_path: Path) -> None:
    data = tmp_path / "realdata"
    data.mkdir()
    (data / "one").write_text("mine")
    (bundle.path / "nowhere").symlink_to("/nonexistent")
    (bundle.path / "data").symlink_to("../realdata")
    os.mkfifo(bundle.path / "pipe")
    (bundle.path / "sub").mkdir(mode=0o750)
    file = bundle.path / "sub" / "large"
    file.write_text("mine")
    inode = file.stat().st_ino
    elsewhere = tmp_path / "engines"
    elsewhere.mkdir()
    (bundle.path / "engines").symlink_to(elsewhere)
    assert run("export", net, "--out", bundle.path).exit_code == 0
    assert (bundle.path / "nowhere").readlink() == Path("/nonexistent")
    assert (bundle.path / "data").readlink() == Path("../realdata")
    assert stat.S_ISFIFO((bundle.path / "pipe").stat().st_mode)
    assert file.stat().st_ino == inode
    assert file.stat().st_nlink == 1
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750
    assert (bundle.path / "engines").readlink() == elsewhere
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".dlkit")] == []


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_without_hard_links_files_are_copied_and_pipes_named(
    bundle: Bundle, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    (bundle.path / "notes.txt").write_text("mine")
    os.mkfifo(bundle.path / "pipe")
    before = bundle.onnx.read_bytes()
    said = refused(MachineError, "export", net, "--out", bundle.path)
    assert f"{bundle.path / 'pipe'} is not dlkit's and cannot be kept" in said
    assert bundle.onnx.read_bytes() == before
    (bundle.path / "pipe").unlink()
    assert run("export", net, "--out", bundle.path).exit_code == 0
    assert (bundle.path / "notes.txt").read_text() == "mine"


def test_a_certificate_is_not_lost_by_a_copy_without_one(bundle: Bundle) -> None:
    bare = replace(bundle, certificate=None)
    assert bare.copy(bundle.path).certificate == bundle.certificate is not None


def test_other_versions_in_a_model_repository_stay(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    assert run("export", "digits", "--triton", repo).exit_code == 0
    for name in ("2/model.onnx", "1/notes.txt", "README"):
        (repo / "digits" / name).parent.mkdir(exist_ok=True)
        (repo / "digits" / name).write_text("mine")
    (repo / "digits" / "labels.txt").write_text("old")
    assert run("export", "digits", "--triton", repo).exit_code == 0
    for name in ("2/model.onnx", "1/notes.txt", "README"):
        assert (repo / "digits" / name).read_text() == "mine"
    assert (repo / "digits" / "labels.txt").read_text() != "old"


COMMANDS = (
    ("recognize", "a.png", "--model", "{}"),
    ("verify", "{}"),
    ("run", "{}", "a.png"),
    ("inspect", "{}"),
    ("card", "{}"),
    ("serve", "{}"),
    ("evaluate", "{}"),
    ("evaluate", "digits", "--compare", "{}"),
    ("generate", "{}"),
    ("denoise", "a.png", "--model", "{}"),
    ("bench", "{}"),
    ("push", "{}", "hf://me/x"),
    ("export", "{}"),
    ("train", "lenet_relu", "--init", "{}"),
    ("verify", "digits", "--against", "{}"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_root_is_no_bundle(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    said = refused(DlkitError, *(word.format("/") for word in command))
    kind = "run" if command == ("export", "{}") else "bundle"  # what a folder without model.json is
    assert f"/ is no {kind}" in said
    assert not (tmp_path / "bundle-fp32").exists()


def test_empty_names_of_runs() -> None:
    for call in (lambda: Run(""), lambda: dlkit.train("lenet", out=""), lambda: dlkit.load("")):
        with pytest.raises(DlkitError, match="is empty"):
            call()


@pytest.mark.parametrize("name", [".", long(".."), long("../b")])
def test_the_folder_that_one_is_in(
    name: str, bundle: Bundle, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle.path / "sub").mkdir()
    monkeypatch.chdir(bundle.path / "sub" if name == ".." else bundle.path)
    assert run("inspect", name).exit_code == 0
    assert run("card", name).exit_code == 0
    assert dlkit.load(name).bundle.sha256 == bundle.sha256
    said = refused(UsageError, "export", net, "--out", name)
    assert f"Do it from another folder: cd {tmp_path}" in said
    assert Bundle.open(bundle.path).sha256 == bundle.sha256
    done = run("export", name, "--precision", "fp16")  # beside it, not in it
    assert done.exit_code == 0, done.output
    assert Bundle.open(tmp_path / "b-fp16").spec.precision == "fp16"


def test_a_link_to_an_empty_folder_stays_a_link(net: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert run("export", net, "--out", tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink()
    Bundle.open(tmp_path / "real")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small network on few digits."""
    folder = tmp_path_factory.mktemp("runs")
    found = load_labelled("mnist-mini")
    images, labels = found.train_images[:300], found.train_labels[:300]
    np.savez(folder / "few.npz", images=images, labels=labels)
    recipe = RECIPES.load("lenet").with_settings(["epochs=1", "batch_size=100"])
    return train(recipe, folder / "few.npz", folder / "run").path


@pytest.mark.long
def test_a_recipe_that_was_changed_is_noticed(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    assert run("export", path).exit_code == 0
    made = path / "bundle-fp32"
    file = path / "recipe.json"
    whole = json.loads(file.read_text())
    for change, said in (
        ({"seed": 5}, "was begun with another recipe (seed 0 -> 5)"),
        ({"about": "forged"}, "-> forged)"),
        ({"data": "mnist"}, "few.npz -> mnist)"),
        ({"network": {**whole["network"], "classes": 3}}, "(network.classes 10 -> 3)"),
    ):
        file.write_text(json.dumps({**whole, **change}))
        got = refused(TrainingError, "export", path, "--out", tmp_path / "out")
        assert said in got
        assert f"Undo the change of {file}" in got
    assert not (tmp_path / "out").exists()
    file.write_text(json.dumps({**whole, "seed": 5}))
    for command in (
        ("verify", path, "--against", made),
        ("verify", made, "--against", path),
        ("verify", made),
        ("train", "lenet", "--init", path, "--out", tmp_path / "new"),
        # nor is it resumed as what it was not
        ("train", "lenet", "--out", path, "--resume", *SETTINGS, "--set", "seed=5"),
    ):
        assert "was begun with another recipe (seed 0 -> 5)" in refused(TrainingError, *command)
    file.write_text(json.dumps(whole))
    assert run("train", "lenet", "--out", path, "--resume", *SETTINGS).exit_code == 0


@pytest.mark.long
def test_overwrite_keeps_what_is_not_of_the_training(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    (path / "tensorboard").mkdir(exist_ok=True)
    old = path / "tensorboard" / "events.out.tfevents.1.host.1.0"
    old.write_text("of dlkit")
    kept = [
        path / "notes.txt",
        path / "tensorboard" / "notes.txt",
        path / "tensorboard" / "a" / "b",
    ]
    for file in kept:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    before = hashlib.sha256((path / "checkpoint.pt").read_bytes()).hexdigest()
    again = ("train", "lenet", "--data", trained.parent / "few.npz", "--out", path, "--overwrite")
    done = run(*again, *SETTINGS, "--set", "seed=2")
    assert done.exit_code == 0, done.output
    assert all(file.read_text() == "mine" for file in kept)
    assert not old.exists()
    (path / "curve.png").unlink()
    (path / "curve.png").mkdir()
    assert "is a folder" in refused(TrainingError, *again, *SETTINGS)
    assert (path / "checkpoint.pt").is_file()
    assert hashlib.sha256((path / "checkpoint.pt").read_bytes()).hexdigest() != before


def test_labels_are_text_and_equal_ones_are_said(net: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    options = ("--task", "recognize", "--labels", names, "--out", tmp_path / "out")
    letters = list("abcdefghij")
    for wrong, said in (
        ([*letters[:9], "\x1b[31mred"], r"label 10 is '\x1b[31mred'"),
        ([*letters[:9], "two\u2028lines"], "label 10 is"),
    ):
        names.write_text("\n".join(wrong), encoding="utf-8")
        assert said in refused(DlkitError, "export", net, *options)
    assert not (tmp_path / "out").exists()
    names.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*letters[:9], "é"]).encode())
    assert run("export", net, *options).exit_code == 0
    assert Bundle.open(tmp_path / "out").spec.labels == (*letters[:9], "é")
    names.write_text("\n".join([*letters[:9], "a"]))
    assert "2 classes are called a:" in run("export", net, *options).output


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("spec", "name", "\ud800", "name is '\\ud800'"),
        ("spec", "labels", [*range(10)], "labels[0] is 0, expected a text"),
        ("spec", "labels", "0123456789", "labels is '0123456789', expected a list"),
        ("spec", "pages", "no", "pages is 'no', expected true or false"),
        ("spec", "scale", True, "scale is True, expected a whole number"),
        ("spec", "inputs", [{"name": "x"}], "inputs[0].dtype is missing"),
        ("certificate", "measured", [{"backend": 1}], "measured[0].device is missing"),
        ("certificate", "tolerances", [], "tolerances is [], expected an object"),
        ("origin", "recipe", "lenet", "'recipe' is str, expected an object"),
    ],
)
def test_every_field_of_model_json_has_its_type(
    part: str, key: str, value: object, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "b"
    shutil.copytree(Bundle.open("digits").path, folder)
    data = json.loads((folder / "model.json").read_text())
    data[part][key] = value
    (folder / "model.json").write_text(json.dumps(data))
    assert said in refused(BundleError, "card", folder)


def test_a_card_of_texts_that_no_encoding_has(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(Bundle.open("digits").path, folder)
    data = json.loads((folder / "model.json").read_text())
    data["origin"]["recipe"] = {"data": "caf\udce9", "about": "\x1b[31m"}
    (folder / "model.json").write_text(json.dumps(data))
    done = run("card", folder)
    assert done.exit_code == 0
    assert r"caf\udce9" in done.output
    assert "\x1b" not in done.output
