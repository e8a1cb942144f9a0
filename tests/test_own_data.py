"""Training on one's own data: class folders, IDX files, arrays; colour, any size, any classes."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn
from typer.testing import CliRunner

import dlkit
from dlkit.cli import app
from dlkit.errors import InputError, MachineError, UsageError
from dlkit.idx import write_idx
from dlkit.tasks.denoise.pairs import ValueRange, load_pairs
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.trainer import Trainer
from dlkit.training.recipe import RECIPES

from .long import long

pytestmark = pytest.mark.usefixtures("one_thread")

RANDOM = np.random.default_rng(0)
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}  # BGR


def trainer_of(data: Path, *settings: str, recipe: str = "mlp") -> Trainer:
    chosen = RECIPES.load(recipe).with_settings(settings)
    return chosen.trainer(str(data), open_compute(Hardware("cpu")))


def coloured(name: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A square of a colour on grey noise, BGR."""
    image = RANDOM.integers(90, 130, (*size, 3), dtype=np.uint8)
    top, left = RANDOM.integers(0, size[0] - 8), RANDOM.integers(0, size[1] - 8)
    image[top : top + 8, left : left + 8] = COLOURS[name]
    return image


def class_folders(folder: Path, size: tuple[int, int] = (20, 24), each: int = 24) -> Path:
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for index in range(each):
            cv2.imwrite(str(folder / name / f"{index}.png"), coloured(name, size))
    return folder


def idx_folder(folder: Path, labels: NDArray[np.uint8], images: NDArray[np.uint8]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.mark.long
def test_class_folders_in_colour_are_trained_exported_and_recognised(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "shapes")
    run = dlkit.train("lenet_relu", data=data, out=tmp_path / "run", epochs=12, batch_size=16)
    config = run.load_recipe().network.config
    assert (config.channels, config.classes, config.image_size) == (3, 3, 24)
    assert run.load_recipe().data == str(data)
    meaning = run.load_meaning()
    assert meaning["labels"] == ["blue", "green", "red"]
    assert (meaning["size"], len(meaning["mean"]), len(meaning["std"])) == ([20, 24], 3, 3)
    assert not meaning["levels"]
    assert not meaning["pages"]
    bundle = dlkit.export(run)
    assert bundle.spec.colour == "rgb"
    with dlkit.load(bundle, task="recognize") as model:
        found = model.recognize([coloured(name, (40, 48)) for name in COLOURS])
        assert [one.label for one in found] == list(COLOURS)


def test_splits_are_taken_as_they_are_or_made_by_class(tmp_path: Path) -> None:
    whole = load_labelled(str(class_folders(tmp_path / "whole")))
    assert np.bincount(whole.test_labels).tolist() == [4, 4, 4]
    assert np.bincount(whole.train_labels).tolist() == [20, 20, 20]
    again = load_labelled(str(tmp_path / "whole"))
    assert again.fingerprint() == whole.fingerprint()
    for part, each in (("train", 5), ("val", 2)):
        class_folders(tmp_path / "split" / part, each=each)
    split = load_labelled(str(tmp_path / "split"))
    assert (len(split.train_images), len(split.test_images), split.notes) == (15, 6, [])
    class_folders(tmp_path / "split" / "test", each=1)
    split = load_labelled(str(tmp_path / "split"))
    assert len(split.test_images) == 3
    assert split.notes == [f"val of {tmp_path / 'split'} are left out: train and test are taken"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "vehicles")
    (data / "red").rename(data / "train")
    assert load_labelled(str(data)).classes == ("blue", "green", "train")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "shapes")
    (data / "red" / "notes.doc").write_bytes(b"no image")
    cv2.imwrite(str(data / "lost.png"), coloured("red", (20, 24)))
    (note,) = load_labelled(str(data)).notes
    assert note.startswith("2 files of")
    assert "red/notes.doc" in note


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "shapes", each=12)
    for index in range(6):
        cv2.imwrite(str(data / "red" / f"tall{index}.png"), coloured("red", (40, 12)))
    with pytest.raises(InputError, match=r"2 sizes, e\.g\. 20x24 and 40x12.*--set image_size=64"):
        trainer_of(data)
    for resize in ("stretch", "letterbox", "crop"):
        trainer = trainer_of(data, "image_size=16", f"resize={resize}")
        assert trainer.meaning()["size"] == [16, 16]
        assert trainer.meaning()["resize"] == resize


@pytest.mark.long
def test_letters_have_26_classes_and_their_names(tmp_path: Path) -> None:
    labels = (np.arange(260) % 26 + 1).astype(np.uint8)  # EMNIST counts them from 1
    images = RANDOM.integers(0, 256, (260, 28, 28), dtype=np.uint8)
    data = idx_folder(tmp_path / "letters", labels, images)
    assert load_labelled(str(data)).classes[:2] == ("1", "2")
    rows = [f"{number} {64 + number} {96 + number}" for number in range(1, 27)]
    (data / "emnist-letters-mapping.txt").write_text("\n".join(rows))
    found = load_labelled(str(data))
    assert "".join(found.classes) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert found.train_labels.min() == 0
    run = dlkit.train("lenet_relu", data=data, out=tmp_path / "run", epochs=1)
    assert dlkit.export(run).spec.output.shape == ("n", 26)
    with pytest.raises(UsageError, match="classes is 10 in the recipe, letters has 26"):
        trainer_of(data, "classes=10")


def test_arrays_come_split_or_whole(tmp_path: Path) -> None:
    images = np.stack([coloured(name, (16, 16)) for name in [*COLOURS] * 20])[..., ::-1]
    labels = np.arange(60) % 3
    np.savez(tmp_path / "whole.npz", images=images, labels=labels, classes=[*COLOURS])
    np.savez(
        tmp_path / "split.npz",
        x_train=images[:50, ..., :1], y_train=labels[:50, None],
        x_test=images[50:, ..., :1], y_test=labels[50:, None],
    )  # fmt: skip
    whole = load_labelled(str(tmp_path / "whole.npz"))
    assert (whole.classes, whole.channels, len(whole.test_images)) == (tuple(COLOURS), 3, 10)
    split = load_labelled(str(tmp_path / "split.npz"))
    assert (split.classes, split.channels, len(split.test_images)) == (("0", "1", "2"), 1, 10)
    assert (split.train_labels == labels[:50]).all()
    run = dlkit.train("lenet_relu", data=tmp_path / "whole.npz", out=tmp_path / "run", epochs=1)
    assert run.load_recipe().data == str(tmp_path / "whole.npz")
    for wrong, said in (
        ({"images": images / 255, "labels": labels}, "images are float64"),
        ({"images": images, "labels": labels[:5]}, r"expected whole numbers \(60,\)"),
        ({"images": images, "labels": labels - 1}, "the label -1"),
        ({"images": images, "labels": labels * 10**12}, "the label 2000000000000 and 60 images"),
        ({"images": images, "labels": labels, "classes": "abc"}, r"classes are <U3 \(\)"),
        ({"images": images, "labels": labels, "classes": ["a", "b", "c\n"]}, "a class called"),
        ({"pictures": images}, "expected images and labels"),
    ):
        np.savez(tmp_path / "wrong.npz", **wrong)
        with pytest.raises(InputError, match=said):
            load_labelled(str(tmp_path / "wrong.npz"))


def test_data_that_teach_nothing_are_said_at_once(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    images[:30] = 0
    data = idx_folder(tmp_path / "same", np.full(60, 3, np.uint8), images)
    notes = " | ".join(trainer_of(data).notes)
    assert "all 60 training labels of same are '3'" in notes
    assert "30 of 60 training images of same are empty" in notes
    assert "the 5 validation images have 1 class" in notes
    seen: list[str] = []
    run = dlkit.train(
        "mlp", data, tmp_path / "run", epochs=1, watch=lambda now: seen.extend(now.notes)
    )
    assert run.load_log()[0]["notes"] == seen == trainer_of(data).notes
    assert trainer_of(Path("mnist-mini")).notes == []


def test_classes_without_an_image_are_said(tmp_path: Path) -> None:
    labels = np.repeat([3, 7, 100], 20)
    np.savez(tmp_path / "gap.npz", images=np.tile(labels[:, None, None], (1, 8, 8)).astype("u1"),
             labels=labels)  # fmt: skip
    notes = trainer_of(tmp_path / "gap.npz").notes
    assert "98 of 101 classes of gap have no image: 0, 1, 2, 4, 5" in notes
    folder = class_folders(tmp_path / "folders")
    (folder / "empty").mkdir()
    assert f"{folder / 'empty'} has no images, and is no class" in trainer_of(folder).notes
    one = tmp_path / "one"
    one.mkdir()
    first = next(path for path in folder.iterdir() if any(path.iterdir()))
    first.rename(one / first.name)
    with pytest.raises(InputError, match=f"of one class alone, {first.name}"):
        trainer_of(one)


def test_digits_alone_are_distorted_and_set_beside_what_is_none(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "shapes")
    for setting in ("distortions=0.5", "outliers=0.1"):
        with pytest.raises(UsageError, match=f"{setting.partition('=')[0]} is .* MNIST's form"):
            trainer_of(data, setting)
    with pytest.raises(UsageError, match="channels is 1 in the recipe, shapes has 3"):
        trainer_of(data, "channels=1")


def test_a_folder_of_something_else_names_the_forms(tmp_path: Path) -> None:
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a folder a class.*IDX files.*\.npz"):
        load_labelled(str(tmp_path / "empty"))


def pairs_folder(folder: Path, ending: str, values: NDArray[np.generic], bgr: bool = False) -> Path:
    """Four pairs whose clean images are given, their noisy ones upside down."""
    for side in ("noisy", "clean"):
        (folder / side).mkdir(parents=True)
    for index in range(4):
        clean = np.roll(values, index, axis=1)
        for side, image in (("noisy", clean[::-1]), ("clean", clean)):
            path = folder / side / f"{index}{ending}"
            if ending == ".npy":
                np.save(path, image)
            else:
                assert cv2.imwrite(str(path), np.ascontiguousarray(image))
    return folder


RAMP = np.linspace(0, 1, 64 * 48).reshape(64, 48)


@pytest.mark.parametrize(
    ("ending", "values", "given"),
    [
        (".png", (RAMP * 255).round().astype(np.uint8), ""),
        (".png", (RAMP * 65535).round().astype(np.uint16), ""),
        (".tif", (RAMP * 4095).round().astype(np.uint16), "0:4095"),
        (".tif", (RAMP * 20 - 10).astype(np.float32), "-10:10"),
        (".npy", RAMP, "0:1"),
        (".npy", (RAMP * 255).round().astype(np.uint8), ""),
    ],
)
def test_pairs_of_every_depth_are_read_alike(
    ending: str, values: NDArray[np.generic], given: str, tmp_path: Path
) -> None:
    folder = pairs_folder(tmp_path / "pairs", ending, values)
    found = load_pairs(folder, None, values=ValueRange.parse(given))
    assert found.notes == []
    assert found.clean[0].dtype == np.uint8
    assert np.abs(found.clean[0].astype(float) - RAMP * 255).max() <= 1
    assert (found.noisy[0] == found.clean[0][::-1]).all()


def test_values_need_a_range_that_holds_them(tmp_path: Path) -> None:
    floats = pairs_folder(tmp_path / "floats", ".tif", RAMP.astype(np.float32))
    with pytest.raises(InputError, match=r"float32 pixels.*--range LOW:HIGH"):
        load_pairs(floats)
    twelve = pairs_folder(tmp_path / "twelve", ".png", (RAMP * 4095).astype(np.uint16))
    assert "16-bit images without a value above 4095" in load_pairs(twelve).notes[0]
    cut = load_pairs(twelve, values=ValueRange(0, 2000)).notes
    assert cut == ["8 images of twelve have values outside the range, which are cut off, e.g. "
                   "noisy/0.png"]  # fmt: skip
    for wrong in ("4095", "9:1", "a:b", "nan:1"):
        with pytest.raises(UsageError, match="range is"):
            trainer_of(twelve, f"range={wrong}", "held_out=1", recipe="denoiser")


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["denoiser", "wgan_small"])
def test_pairs_in_colour_train_a_network_in_colour(recipe: str, tmp_path: Path) -> None:
    image = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)
    values = np.tile((image * 255).astype(np.uint8), (1, 2, 1))
    data = pairs_folder(tmp_path / "pairs", ".png", values)
    first = load_pairs(data, None).clean[0]
    assert (first == values[..., ::-1]).all()  # RGB
    steps = {"denoiser": {"steps": 2, "epochs": 1, "crop_width": 48, "simulated_share": 0.5},
             "wgan_small": {"iterations": 2}}[recipe]  # fmt: skip
    run = dlkit.train(
        recipe, data, tmp_path / "run", pairs=1, height=96, held_out=1, batch_size=2, **steps,
        **{"network.width": 4 if recipe == "denoiser" else 0.03},
    )  # fmt: skip
    assert run.load_meaning() == {"channels": 3, "scale": 1}
    assert run.load_recipe().network.config.channels == 3
    bundle = dlkit.export(run)
    assert bundle.spec.input.shape == ("n", "height", "width", 3)
    with dlkit.load(bundle, task="denoise") as model:
        assert model.denoise([values])[0].shape == values.shape


@pytest.mark.parametrize("order", [long("rgb"), "bgr"])
def test_arrays_in_files_are_rgb_and_in_memory_bgr(order: str, tmp_path: Path) -> None:
    """Whatever order the network takes, and whether its size is theirs."""
    names = ["red", "green", "blue"] if order == "rgb" else ["blue", "green", "red"]
    pixels = dlkit.Pixels(colour=order, std=(0.1,))
    mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    bundle = dlkit.export(mean, example=(3, 8, 8), task="recognize", labels=names, pixels=pixels,
                          out=tmp_path / "bundle")  # fmt: skip
    folder = tmp_path / "in"
    folder.mkdir()
    for side in (8, 12):
        bgr = np.zeros((3, side, side, 3), np.uint8)
        bgr[:] = np.array([*COLOURS.values()])[:, None, None]
        with dlkit.load(bundle, task="recognize") as model:
            assert [one.label for one in model.recognize(bgr)] == list(COLOURS)
        np.save(folder / f"{side}.npy", np.ascontiguousarray(bgr[..., ::-1]))
        for name, image in zip(COLOURS, bgr, strict=True):
            cv2.imwrite(str(folder / f"{name}-{side}.png"), image)
    out = tmp_path / "o.csv"
    words = ["recognize", folder, "--model", bundle.path, "--out", out]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    with out.open() as table:
        found = {row["file"]: row["digit"] for row in csv.DictReader(table)}
    for side in (8, 12):
        assert [found[f"{side}.npy[{index}]"] for index in range(3)] == list(COLOURS)
        assert [found[f"{name}-{side}.png"] for name in COLOURS] == list(COLOURS)


def test_test_images_that_were_trained_on_are_said(tmp_path: Path) -> None:
    pictures, labels = RANDOM.integers(0, 256, (30, 8, 8), np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "leak.npz", x_train=pictures[:20], y_train=labels[:20],
             x_test=pictures[16:26], y_test=labels[16:26])  # fmt: skip
    (note,) = load_labelled(str(tmp_path / "leak.npz")).notes
    assert "4 of 10 test images of leak are among its training images" in note


def test_images_that_nobody_scaled_are_said(tmp_path: Path) -> None:
    pictures, labels = RANDOM.integers(0, 2, (30, 8, 8), np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "bits.npz", images=pictures, labels=labels)
    assert (
        "no pixel of bits is above 1 of 255" in load_labelled(str(tmp_path / "bits.npz")).notes[0]
    )
    np.savez(tmp_path / "half.npz", x_train=pictures[:20] * 255, y_train=labels[:20],
             x_test=pictures[20:], y_test=labels[20:])  # fmt: skip
    (note,) = load_labelled(str(tmp_path / "half.npz")).notes
    assert "training images of half go up to 255, test images to 1" in note


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.ones((6, 8, 8))}, r"\(images \* 255\)"),
        ({"images": np.ones((6, 8, 8), bool)}, r"astype\(np\.uint8\) \* 255"),
        ({"images": np.full((6, 8, 8), 4000, np.uint16)}, r"where 4000 is white"),
        ({"labels": np.eye(6)}, r"labels\.argmax\(axis=1\)"),
        ({"labels": np.arange(6.0)}, r"labels\.astype\(np\.int64\)"),
        ({"labels": np.array(list("abcabc"))}, r"np\.unique"),
    ],
)
def test_arrays_of_other_types_say_how_they_are_converted(
    change: dict[str, NDArray[np.generic]], words: str, tmp_path: Path
) -> None:
    right = {"images": np.zeros((6, 8, 8), np.uint8), "labels": np.arange(6) % 3}
    np.savez(tmp_path / "own.npz", **{**right, **change})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        load_labelled(str(tmp_path / "own.npz"))


def test_what_is_drawn_by_alpha_is_trained_as_it_is_recognised(tmp_path: Path) -> None:
    for name, at in (("a", 2), ("b", 12)):
        (tmp_path / name).mkdir()
        for index in range(6):
            drawn = np.zeros((20, 24, 4), np.uint8)
            drawn[index : index + 4, at : at + 6, 3] = 255  # black ink, as alpha alone
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), drawn)
    found = load_labelled(str(tmp_path))
    assert found.notes == []
    assert all((one == 0).sum() == 24 and (one == 255).sum() == 456 for one in found.train_images)


def test_too_little_memory_is_said(tmp_path: Path) -> None:
    pictures = RANDOM.integers(0, 256, (60, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", images=pictures, labels=np.arange(60) % 3)
    words = "too little memory to train mlp .*image_size=1000000"
    for data in (class_folders(tmp_path / "shapes"), tmp_path / "own.npz"):
        with pytest.raises(MachineError, match=words):
            dlkit.train("mlp", data, tmp_path / "run", image_size=1000000)
