"""The task of generating: what goes in and comes out, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BundleError, DlkitError, UsageError
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks._data import Calibration, Feeds, HeldOut, Outputs, Score
from dlkit.tasks._model import Answers
from dlkit.tasks._task import Task, Tolerance, single
from dlkit.tasks.generate.model import Generator
from dlkit.tasks.generate.neighbours import coverage, nearest_labels
from dlkit.tasks.generate.noise import codes
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.tasks.recognize.labelled import Labelled

if TYPE_CHECKING:
    from torch import nn

Name: TypeAlias = Literal["generate"]  # tells type checkers what ``dlkit.load`` gives

_INPUT, _OUTPUT = "code", "pixels"
_IMAGES = 500
_BATCH = 97  # odd, and more than most backends take at once
_RANGES = 256
_DIGITS = ("mnist", "mnist-mini")  # the bundled ones are a tenth of them
_REAL = 2000  # real images that generated ones are compared with
# Seeds of noise: nobody makes pictures with these.
_HELD_OUT_SEED, _RANGES_SEED, _VALIDATION_SEED = 2_000_000_000, 2_000_000_001, 2_000_000_002


class Generate(Task):
    """Noise in, an image out, of a class where there are classes."""

    name = "generate"
    about = "noise in, images out, of the class that is asked for"
    command = "generate"
    default_bundle = "digit_maker"
    pipeline = "unconditional-image-generation"
    model = Generator
    batch: ClassVar[Mapping[str, int]] = {"cpu": 64, "cuda": 1024}
    engine_batch = (1, 64, 512)
    unit = "grey levels"
    # A stroke's edge is steep: where it moves by a hair, single pixels change by many levels. In
    # int8 one goes from black to white, so only the mean tells: twice the shipped bundle's, 2.2.
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": Tolerance(1.0, 0.01, {"label_knn": 0.002, "coverage": 0.004}),
        "fp16": Tolerance(16.0, 0.5, {"label_knn": 0.006, "coverage": 0.01}),
        "bf16": Tolerance(96.0, 4.0, {"label_knn": 0.01, "coverage": 0.02}),
        "int8": Tolerance(255.0, 4.5, {"label_knn": 0.02, "coverage": 0.03}),
    }
    evaluation = "dlkit.evaluation.generated"

    def open(self, bundle: Bundle, opened: Answers) -> Generator:
        """A model that generates."""
        return Generator(bundle, opened)

    def check(self, spec: ModelSpec) -> None:
        """float32 codes of a fixed length in; uint8 images of a fixed size out."""
        code, pixels = spec.input, spec.output
        if code.dtype != "float32" or len(code.shape) != 2 or isinstance(code.shape[1], str):
            raise BundleError(f"input is {code}, expected float32 (N, noise and classes)")
        if int(code.shape[1]) <= len(spec.labels):
            raise BundleError(f"input is {code}, expected more than {len(spec.labels)} labels")
        axes = 3 if spec.colour == "grey" else 4
        if pixels.dtype != "uint8" or len(pixels.shape) != axes:
            wanted = "(N, H, W)" if axes == 3 else "(N, H, W, 3)"
            raise BundleError(f"output is {pixels}, expected uint8 {wanted} ({spec.colour})")

    def held_out(
        self,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        data: str | None = None,
        count: int | None = None,
    ) -> HeldOut:
        """Noise of a seed of its own, with every class in turn, then noise that is wider.

        Scored beside real images, in pixels: ``label_knn``, the share whose nearest real image has
        the asked class, and ``coverage``. Where the data that it was trained on are not here,
        nothing is.
        """
        count = count or _IMAGES
        made, classes = _codes(spec, count, _HELD_OUT_SEED)
        parts = np.split(made, range(1, count, _BATCH)) if count > 1 else [made]
        batches: list[Feeds] = [{spec.input.name: part} for part in parts]
        others = np.random.default_rng(0).normal(0, 2, (7, made.shape[1])).astype(np.float32)
        real = _real(spec, origin, data)
        name = f"noise beside {real.name}" if real else "noise"
        score = _score(real, spec, classes) if real else _nothing
        return HeldOut(name, [*batches, {spec.input.name: others}], len(batches), score)

    def calibration(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None, multiply_adds: int
    ) -> Calibration:
        """Noise of other seeds."""
        ranges, _ = _codes(spec, _RANGES, _RANGES_SEED)
        checked, classes = _codes(spec, _IMAGES, _VALIDATION_SEED)
        real = _real(spec, origin, data)
        score = _score(real, spec, classes) if real else _nothing
        name = spec.input.name
        batches: list[Feeds] = [{name: part} for part in np.array_split(ranges, 4)]
        some: list[Feeds] = [{name: part} for part in np.array_split(checked, 5)]
        return Calibration("noise", batches, HeldOut("noise", some, len(some), score))

    def agreement(self, expected: Outputs, outputs: Outputs) -> float:
        """1 minus the mean difference as a share of white."""
        gaps = [np.abs(one.astype(np.float64) - other).mean()
                for one, other in zip(single(expected), single(outputs), strict=True)]  # fmt: skip
        return 1 - float(np.mean(gaps)) / 255

    def describe(self, config: Any, meaning: Mapping[str, Any], multiple_of: int) -> ModelSpec:
        """Noise and class in, images of the training images' size out.

        Of a module that came without a recipe, what it takes and gives says it: one float32
        (N, latent), and float32 (N, C, H, W), -1 to 1.
        """
        known = meaning if "latent" in meaning else _of_module(meaning)
        labels = tuple(str(label) for label in known.get("labels", ()))
        coloured = int(known["channels"]) == 3
        shape = ("n", *(int(side) for side in known["size"]), *((3,) if coloured else ()))
        return ModelSpec(
            name="",
            task=self.name,
            precision="fp32",
            inputs=(TensorSpec(_INPUT, "float32", ("n", int(known["latent"]) + len(labels))),),
            outputs=(TensorSpec(_OUTPUT, "uint8", shape),),
            labels=labels,
            colour="rgb" if coloured else "grey",
        )

    def wrap(self, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
        """Rounding to pixels behind the network."""
        from dlkit.tasks.generate.pixels import PixelGenerator

        known = meaning if "latent" in meaning else _of_module(meaning)
        return PixelGenerator(network.eval(), int(known["channels"])).eval()


def _of_module(meaning: Mapping[str, Any]) -> dict[str, Any]:
    """What a module makes of noise, from the tensors that it takes and gives.

    Raises:
        UsageError: it makes no images of noise.
    """
    inputs, outputs = meaning["inputs"], meaning["outputs"]
    fits = len(inputs) == len(outputs) == 1 and len(inputs[0]["shape"]) == 2
    if not fits or len(outputs[0]["shape"]) != 4 or outputs[0]["shape"][1] not in (1, 3):
        raise UsageError(
            "to generate, a module takes one float32 (N, noise) and gives images (N, C, H, W), C 1 "
            "or 3, from -1 to 1",
            "Export it to tensors",
        )
    _, channels, height, width = outputs[0]["shape"]
    return {"latent": inputs[0]["shape"][1], "size": [height, width], "channels": channels}


def _codes(
    spec: ModelSpec, count: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    classes = np.arange(count) % len(spec.labels) if spec.labels else None
    latent = int(spec.input.shape[1]) - len(spec.labels)
    return codes(count, latent, seed, classes, len(spec.labels)), classes


def _real(spec: ModelSpec, origin: Mapping[str, Any], data: str | None) -> Labelled | None:
    """Real images in the form of the generated ones: those named, else what the network was trained
    on, or the bundled tenth of it; None where nobody named any and they are not here."""
    named = data or str(origin.get("recipe", {}).get("data", ""))
    if data is None and (not named or not Path(named).exists()):
        if origin.get("dataset", named) not in _DIGITS:
            return None
        named = "mnist-mini"
    height, width = (int(side) for side in spec.output.shape[1:3])
    try:
        found = load_labelled(named, (height, width))
    except DlkitError:
        if data is not None:
            raise
        return None
    fits = found.size == (height, width) and found.channels == (3 if spec.colour != "grey" else 1)
    if spec.labels:
        fits = fits and found.classes == spec.labels
    if not fits and data is not None:
        raise UsageError(
            f"{found.name} has other images or classes than {spec.name} makes", "Name others"
        )
    return found if fits else None


def _score(real: Labelled, spec: ModelSpec, classes: NDArray[np.int64] | None) -> Score:
    """Metrics of images, uint8, beside real ones."""
    shown, labels = real.train_images[:_REAL], real.train_labels[:_REAL]

    def score(outputs: Outputs) -> dict[str, float]:
        made = np.concatenate(single(outputs))
        found = {"coverage": coverage(shown, made)}
        if classes is not None:
            right = nearest_labels(shown, labels, made) == classes
            found = {"label_knn": float(right.mean()), **found}
        return found

    return score


def _nothing(outputs: Outputs) -> dict[str, float]:
    return {}


TASK = Generate()
