"""The command that certifies a bundle: as it is printed, and on data and against what it may be."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import convert_model_to_external_data
from typer.testing import CliRunner

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.cli import app

from .foreign_graphs import Net
from .long import long_but

NAMES = ("rose", "leaf", "sea")
FACTORY = """
import torch
from torch import nn


def build():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        for layer in (net[0], net[3]):
            layer.bias.zero_()
            layer.weight.copy_(torch.eye(4)[:len(layer.weight), :layer.weight.shape[1]]
                               .reshape(layer.weight.shape) * 5)
    return net


def other():
    net = build()
    with torch.no_grad():
        net[3].weight.mul_(-1)
    return net
"""


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(done: Any) -> str:
    return " ".join(f"{done.output} {done.exception or ''}".split())


def pictures(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """RGB pictures (N, 8, 8, 3) of a red, green or blue shade, and which."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    made = random.integers(0, 120, (count, 8, 8, 3), np.uint8)
    made[np.arange(count), :, :, labels] += 130
    return made, labels


def flat(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir(parents=True)
    for place, picture in enumerate(pictures(count, seed)[0]):
        images.write(folder / f"{place}.png", picture[..., ::-1])
    return folder


def in_classes(folder: Path, count: int, seed: int) -> Path:
    for place, (picture, label) in enumerate(zip(*pictures(count, seed), strict=True)):
        (folder / NAMES[label]).mkdir(parents=True, exist_ok=True)
        images.write(folder / NAMES[label] / f"{place}.png", picture[..., ::-1])
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module and its labels."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(FACTORY)
    Path("names.txt").write_text("\n".join(NAMES))
    return tmp_path


@pytest.fixture
def full(here: Path) -> str:
    """A float32 bundle of the module."""
    options = "--example", "3x8x8", "--task", "recognize", "--labels", "names.txt"
    done = command("export", "nets.py:build", *options, "--name", "full")
    assert done.exit_code == 0, said(done)
    assert "dlkit verify full-fp32 --against nets.py:build --data HELD_OUT" in said(done)
    return "full-fp32"


def printed(done: Any, **given: object) -> Any:
    """Run the next command that was printed, with what stands in capitals in it."""
    assert done.exit_code == 0, said(done)
    line = re.findall(r"^next: dlkit (.*)$", done.output, re.MULTILINE)[-1]
    assert set(re.findall(r"\b[A-Z]{2}[A-Z_]+\b", line)) == set(given), line
    return command(*(str(given.get(word, word)) for word in shlex.split(line)))


def test_int8_is_not_certified_on_what_it_was_calibrated_on(full: str, here: Path) -> None:
    plain, unseen = flat(here / "plain", 120, 1), flat(here / "unseen", 110, 2)
    done = command("export", full, "--precision", "int8", "--data", plain)
    for seen in (plain, flat(here / "mixed" / "in", 120, 1)):
        refused = command("verify", "full-int8", "--data", seen)
        assert refused.exit_code == 1
        assert "120 of 120 inputs" in said(refused)
        assert "--data HELD_OUT" in said(refused)
    assert Bundle.open("full-int8").certificate is None
    certified = printed(done, HELD_OUT=unseen)
    assert certified.exit_code == 0, said(certified)
    assert Bundle.open("full-int8").certificate is not None


@pytest.mark.long
def test_int8_of_arrays_is_not_certified_on_them_either(here: Path) -> None:
    file = Net().save(here / "net.onnx")
    random = np.random.default_rng(0)
    for which in ("seen", "unseen"):
        values = random.integers(0, 256, (100, 28, 28), np.uint8)
        np.savez(here / f"{which}.npz", pixels=values)
    done = command("export", file, "--precision", "int8", "--data", "seen.npz")
    refused = command("verify", "net-bundle-int8", "--data", "seen.npz")
    assert "100 of 100 inputs" in said(refused), said(done)
    certified = printed(done, HELD_OUT="unseen.npz")
    assert certified.exit_code == 0, said(certified)


@pytest.mark.long
def test_labelled_data_keep_a_part_for_verify(full: str, here: Path) -> None:
    made, labels = pictures(630, 1)
    np.savez("numbered.npz", images=made, labels=labels)
    done = command("export", full, "--precision", "int8", "--data", "numbered.npz")
    certified = printed(done)
    assert certified.exit_code == 0, said(certified)
    assert "accuracy" in certified.output


@pytest.mark.parametrize(
    "how", long_but(["notes", "order"], ["beside", "notes", "order", "names", "unused"])
)
def test_a_graph_is_itself_in_whatever_file_it_lies(here: Path, how: str) -> None:
    file = Net().save(here / "net.onnx")
    model = onnx.load(file)
    if how == "beside":
        convert_model_to_external_data(model, location="elsewhere.bin", size_threshold=0)
    elif how == "notes":
        model.producer_name, model.doc_string, model.graph.name = "others", "a note", "renamed"
        for node in model.graph.node:
            node.name, node.doc_string = f"n_{node.name}", "a note"
    elif how == "names":
        ends = {one.name for one in (*model.graph.input, *model.graph.output)}
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [one if one in ends else f"t_{one}" for one in names]
        for one in model.graph.initializer:
            one.name = f"t_{one.name}"
    elif how == "unused":
        nobodys = numpy_helper.from_array(np.zeros(3, np.float32), "nobodys")
        model.graph.initializer.append(nobodys)
    else:
        weights = list(reversed(model.graph.initializer))
        for one in weights:
            if one.data_type == onnx.TensorProto.FLOAT:  # in the other field that may hold them
                one.float_data.extend(numpy_helper.to_array(one).ravel().tolist())
                one.ClearField("raw_data")
        del model.graph.initializer[:]
        model.graph.initializer.extend(weights)
    onnx.save(model, here / "again.onnx")
    assert command("export", "net.onnx", "--precision", "fp32").exit_code == 0
    done = command("verify", "net-bundle-fp32", "--against", "again.onnx", "--data", "random")
    assert "nothing is compared with itself" in said(done)
    assert done.exit_code == 1
    other = command("export", "again.onnx", "--precision", "fp32")
    assert "--against MADE_FROM --data HELD_OUT" in said(other)
    done = command("verify", "again-bundle-fp32", "--data", "random")
    assert "is the same graph" in said(done)
    assert Bundle.open("again-bundle-fp32").certificate is None


@pytest.mark.long
def test_a_slip_in_against_takes_no_certificate_away(full: str, here: Path) -> None:
    data = flat(here / "plain", 110, 1)
    whole = command("verify", full, "--against", "nets.py:build", "--data", data)
    assert whole.exit_code == 0, said(whole)
    slip = command("verify", full, "--against", "nets.py:other", "--data", data)
    assert slip.exit_code == 1
    assert "has other weights than it was made of" in said(slip)
    assert "is kept" in said(slip)
    assert Bundle.open(full).certificate is not None
    made = command("export", full, "--precision", "fp16")
    assert printed(made, HELD_OUT=data).exit_code == 0  # it finds the float32 bundle beside it


def test_numbers_are_places_among_a_bundles_names(full: str, here: Path) -> None:
    made, labels = pictures(700, 3)
    np.savez("numbers.npz", images=made, labels=labels)
    np.savez("too_many.npz", images=made, labels=labels + 1)
    data = "--data", "numbers.npz"
    done = command("verify", full, "--against", "nets.py:build", *data)
    assert done.exit_code == 0, said(done)
    assert re.search(r"onnxruntime .* 1 +within", done.output)  # all answers are right
    assert command("evaluate", full, *data, "--out", "seen").exit_code == 0
    done = command("evaluate", full, "--data", "too_many.npz")
    assert "the label 3, the model has 3 classes (rose, leaf, sea)" in said(done)
    assert "0 to 2" in said(done)
    assert "'classes'" in said(done)


@pytest.mark.long
def test_few_images_say_how_all_are_taken_and_so_they_are(full: str, here: Path) -> None:
    in_classes(here / "val", 120, 4)
    compared = "--against", "nets.py:build"
    done = command("verify", full, *compared, "--data", "val")
    assert "gives 20. val has 120 images and no test part" in said(done)
    assert "FOLDER/test" in said(done)
    (here / "own").mkdir()
    (here / "val").rename(here / "own" / "test")
    done = command("verify", full, *compared, "--data", "own")
    assert done.exit_code == 0, said(done)
    assert "120 of own, test images" in said(done)
    assert "120" in said(command("evaluate", full, "--data", "own", "--out", "seen"))
    done = command("train", "mlp", "--data", "own", "--out", "run")
    assert "own has test/ alone, and nothing to train on" in said(done)


@pytest.mark.long
def test_a_warning_names_what_verify_needs(full: str, here: Path) -> None:
    data = flat(here / "plain", 110, 1)
    first = next(iter(sorted(data.glob("*"))))
    done = command("recognize", first, "--model", full, "--out", "answers.csv")
    line = re.search(r"Measure it: dlkit (.*)", done.output)
    assert line is not None, done.output
    words = [str(data) if one == "HELD_OUT" else one for one in shlex.split(line[1])]
    assert command(*words).exit_code == 0, words
    done = command("recognize", first, "--model", full, "--out", "again.csv")
    assert "Measure it" not in done.output
