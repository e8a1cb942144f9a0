"""The task of recognizing: what goes in and comes out, and what is measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BundleError, InputError, UsageError
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks._data import Calibration, Feeds, HeldOut, Outputs, Score, halves
from dlkit.tasks._model import Answers
from dlkit.tasks._pictures import is_pictures, picture_batches
from dlkit.tasks._task import Task, Tolerance, single
from dlkit.tasks.recognize.datasets import NAMES, load_labelled
from dlkit.tasks.recognize.labelled import Labelled, as_labels_of
from dlkit.tasks.recognize.model import Recognizer

if TYPE_CHECKING:
    from torch import nn

Name: TypeAlias = Literal["recognize"]  # tells type checkers what ``dlkit.load`` gives

_INPUT, _OUTPUT = "pixels", "probabilities"
_IMAGES = 1000
_BATCH = 257  # odd, and more than most backends take at once
# For ranges, and for the loss: enough to see 0.05 points where the network is small, less where
# that would take minutes.
_RANGES, _RANGES_BATCH = 512, 128
_MOST, _FEWEST, _MULTIPLY_ADDS = 5000, 500, 1e12
# A network that is right less often than so many times guessing is untrained.
_TRAINED = 3.0
_ANSWERS_INT8 = 1  # right answers that may be lost in any case: 1 of 1,000 is 0.001


class Recognize(Task):
    """An image in, one of some classes out."""

    name = "recognize"
    about = "which of some classes an image shows; digits also in photographs and on pages"
    command = "recognize"
    default_bundle = "digits"
    pipeline = "image-classification"
    model = Recognizer
    # on a CPU more leaves the cache: 256 takes half as long again
    batch: ClassVar[Mapping[str, int]] = {"cpu": 64, "cuda": 1024}
    engine_batch = (1, 64, 512)
    unit = "probability"
    agreement_name = "same"
    # float32 sums in another order differ by about 1e-6 relative. float16 keeps 11 bits (2^-11 =
    # 0.0005 relative an operation), bfloat16 8 (0.004), eight-bit integers 256 steps of a range. A
    # deep network and a steep softmax enlarge that at single places, hence a wide largest and a
    # narrow mean; what counts for the user is the metric, whose loss is small for each.
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": Tolerance(1e-4, 1e-5, {"accuracy": 0.001}),
        "fp16": Tolerance(0.05, 2e-3, {"accuracy": 0.002}),
        "bf16": Tolerance(0.3, 0.01, {"accuracy": 0.004}),
        "int8": Tolerance(1.0, 0.02, {"accuracy": 0.0005}),
    }
    images = True
    gives = "probabilities"
    evaluation = "dlkit.evaluation.digits"

    def open(self, bundle: Bundle, opened: Answers) -> Recognizer:
        """A model that recognizes."""
        return Recognizer(bundle, opened)

    def check(self, spec: ModelSpec) -> None:
        """uint8 images of one fixed size in; (N, classes) out; as many labels as classes."""
        shape, output = spec.input.shape, spec.output
        axes = 3 if spec.colour == "grey" else 4
        if spec.input.dtype != "uint8" or len(shape) != axes or (axes == 4 and shape[3] != 3):
            wanted = "(N, H, W)" if axes == 3 else "(N, H, W, 3)"
            raise BundleError(f"input is {spec.input}, expected uint8 {wanted} ({spec.colour})")
        if any(isinstance(side, str) for side in shape[1:3]):
            raise BundleError(f"input is {spec.input}, expected a fixed height and width")
        if len(output.shape) != 2 or isinstance(output.shape[1], str):
            raise BundleError(f"output is {output}, expected (N, classes)")
        if spec.labels and len(spec.labels) != output.shape[1]:
            raise BundleError(
                f"spec has {len(spec.labels)} labels, the graph gives {output.shape[1]} classes"
            )

    def held_out(
        self,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        data: str | None = None,
        count: int | None = None,
    ) -> HeldOut:
        """Test images of a dataset: the one named, else what the network was trained on, if it is
        here, else the bundled digits."""
        if data is not None and is_pictures(data):
            pictures = picture_batches(data, spec, count)
            return HeldOut(f"pictures of {Path(data).name}", pictures, 0, lambda _: {})
        found = self.labelled(spec, origin, data)
        pixels = _ordered(spec, found.test_images[: count or _IMAGES])
        labels = found.test_labels[: count or _IMAGES]
        name = spec.input.name
        cuts = [0, 1, *range(1 + _BATCH, len(pixels), _BATCH), len(pixels)]
        batches: list[Feeds] = [
            {name: pixels[low:high]} for low, high in itertools.pairwise(cuts) if high > low
        ]
        noise = np.random.default_rng(0).integers(0, 256, (7, *pixels.shape[1:]), dtype=np.uint8)
        score = _score(labels)
        return HeldOut(
            f"{found.name}, test images",
            [*batches, {name: noise}],
            len(batches),
            score,
            guess={"accuracy": _guess(len(found.classes))},
            more=_more(found),
        )

    def has_held_out(self, spec: ModelSpec, origin: Mapping[str, Any]) -> bool:
        """What it was trained on is here, or something of its kind."""
        try:
            return bool(_trained_on(origin, spec))
        except UsageError:
            return False

    def calibration(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None, multiply_adds: int
    ) -> Calibration:
        """Training images of a dataset, as ``held_out`` takes it."""
        if data is not None and is_pictures(data):
            return halves(self.held_out(spec, origin, data))
        found = self._load(spec, data or _trained_on(origin, spec, exactly=True))
        pixels, labels = _ordered(spec, found.train_images), found.train_labels
        if len(pixels) < 2:
            raise UsageError(
                f"{found.name} has {len(pixels)} training images, int8 needs 2 or more"
            )
        order = np.random.default_rng(0).permutation(len(pixels))  # files may be sorted by class
        most = min(_MOST, int(_MULTIPLY_ADDS / max(multiply_adds, 1)))
        some = min(_RANGES, len(pixels) // 2)
        ranges, rest = order[:some], order[some : some + max(_FEWEST, most)]

        def batches(chosen: NDArray[np.intp]) -> list[Feeds]:
            parts = [chosen[at : at + _RANGES_BATCH] for at in range(0, len(chosen), _RANGES_BATCH)]
            return [{spec.input.name: pixels[part]} for part in parts]

        name = f"{found.name}, training images"
        checked = batches(rest)
        score = _score(labels[rest])
        return Calibration(name, batches(ranges), HeldOut(name, checked, len(checked), score))

    def agreement(self, expected: Outputs, outputs: Outputs) -> float:
        """Share of images with the reference's answer."""
        pairs = zip(single(expected), single(outputs), strict=True)
        return float(
            np.concatenate([a.argmax(axis=1) == b.argmax(axis=1) for a, b in pairs]).mean()
        )

    def lost(
        self,
        tolerance: Tolerance,
        before: Mapping[str, float],
        after: Mapping[str, float],
        expected: Outputs,
        count: int,
    ) -> list[str]:
        """Accuracy, where there is one to lose; few images cannot show a small loss."""
        classes = single(expected)[0].shape[1]
        best = before.get("accuracy")
        if best is None or best * classes < _TRAINED:
            return []
        strict = tolerance.loss["accuracy"] <= self.tolerances["int8"].loss["accuracy"]
        least = _ANSWERS_INT8 / max(count, 1) if strict else 0.0
        loss = max(tolerance.loss["accuracy"], least)
        wider = Tolerance(tolerance.largest, tolerance.mean, {"accuracy": loss})
        return super().lost(wider, before, after, expected, count)

    def describe(self, config: Any, meaning: Mapping[str, Any], multiple_of: int) -> ModelSpec:
        """Pixels of the training images' size in, probabilities out."""
        height, width = meaning.get("size", (28, 28))
        coloured = len(meaning.get("mean", (0,))) == 3
        return ModelSpec(
            name="",
            task=self.name,
            precision="fp32",
            inputs=(
                TensorSpec(_INPUT, "uint8", ("n", height, width, *((3,) if coloured else ()))),
            ),
            outputs=(TensorSpec(_OUTPUT, "float32", ("n", config.classes)),),
            labels=tuple(meaning.get("labels", map(str, range(config.classes)))),
            colour="rgb" if coloured else "grey",
            resize=str(meaning.get("resize", "stretch")),
            pages=bool(meaning.get("pages", False)),
        )

    def wrap(self, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
        """Normalisation and resizing before the network, softmax behind it."""
        from dlkit.tasks.recognize.pixels import PixelClassifier

        names = ("temperature", "levels", "mean", "std", "probabilities")
        known = {name: meaning[name] for name in names if name in meaning}
        return PixelClassifier(network.eval(), config.image_size, **known).eval()

    def labelled(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None = None
    ) -> Labelled:
        """A dataset in the size, the channels (grey, or RGB) and the classes of a model; the one
        named, else what the network was trained on, if it is here, else the bundled digits.

        Raises:
            InputError: it cannot be read, or does not fit.
            UsageError: none was named, and nobody knows which would fit.
        """
        return self._load(spec, data or _trained_on(origin, spec), to_test=True)

    def _load(self, spec: ModelSpec, data: str, to_test: bool = False) -> Labelled:
        size = (int(spec.input.shape[1]), int(spec.input.shape[2]))
        found = load_labelled(data, size, spec.resize, to_test)
        wanted = 1 if spec.colour == "grey" else 3
        if found.channels == 1 and wanted == 3:  # grey pictures among colour ones stay usable
            train, test = (np.repeat(part[..., None], 3, axis=3)
                           for part in (found.train_images, found.test_images))  # fmt: skip
            found = replace(found, train_images=train, test_images=test)
        if (found.size, found.channels) != (size, wanted):
            raise InputError(
                f"{found.name} has {_form(found.size, found.channels)} images, the model takes "
                f"{_form(size, wanted)}",
                "Name data that fit with --data",
            )
        return as_labels_of(spec, found)


def _trained_on(origin: Mapping[str, Any], spec: ModelSpec, exactly: bool = False) -> str:
    """Data that a network was trained on, where it is here; the bundled digits for digits.

    Args:
        exactly: other images of the same kind will not do.
    """
    wanted = str(origin.get("recipe", {}).get("data", ""))
    named = str(origin.get("dataset", wanted))
    if named == "fashion-mnist" or (wanted and Path(wanted).exists()):
        return wanted or named
    known = not named or named in NAMES or not exactly
    if known and (spec.pages or spec.labels == tuple(map(str, range(10)))):
        return "mnist-mini"
    raise UsageError(
        f"{spec.name} was trained on '{named}', which is not here"
        if named
        else f"nobody knows what {spec.name} was trained on",
        "Name images in the same form with --data",
    )


def _more(found: Labelled) -> str:
    """How more of a dataset is tested on than was."""
    if found.parted:
        return ""
    whole = len(found.train_labels) + len(found.test_labels)
    return (
        f"{found.name} has {whole} images and no test part: {len(found.test_labels)} were drawn, "
        "those that training leaves out. Of images that it was not trained on, all are taken "
        "if their class folders lie in FOLDER/test: --data FOLDER"
    )


def _ordered(spec: ModelSpec, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey or RGB images in the order of colours that the model takes."""
    return np.ascontiguousarray(pixels[..., ::-1]) if spec.colour == "bgr" else pixels


def _guess(classes: int) -> float:
    """An accuracy that is hardly above chance."""
    chance = 1 / classes
    return min(2 * chance, chance + 0.1 * (1 - chance))


def _form(size: tuple[int, int], channels: int) -> str:
    return f"{size[0]}x{size[1]} {'grey' if channels == 1 else 'colour'}"


def _score(labels: NDArray[np.int64]) -> Score:
    """Accuracy, 0 to 1."""

    def score(outputs: Outputs) -> dict[str, float]:
        answers = np.concatenate(single(outputs)).argmax(axis=1)
        return {"accuracy": float((answers == labels).mean())}

    return score


TASK = Recognize()
