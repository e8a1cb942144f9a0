"""Detector: a loaded bundle that finds concealed objects."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import InputError, UsageError
from dlkit.plugins import unknown
from dlkit.ranges import parse_range
from dlkit.spec import ModelSpec
from dlkit.tasks._door import Door, Reply
from dlkit.tasks._levels import refuse_colours, to_bytes
from dlkit.tasks._model import Answers, Model
from dlkit.tasks.detect.decode import Float, decode, mask_of
from dlkit.tasks.detect.objects import ConcealedObject, Detection
from dlkit.tasks.detect.scans import Sensitivity

# Of bundles that were exported without a training: nobody knows what these bring.
_GUESSED = {"high": 0.2, "normal": 0.35, "low": 0.6}
NORMAL = "normal"
_MEND = "Train and export the bundle again, which measures them, or leave them out"


class Detector(Model[images.Image, tuple[int, int], Detection]):
    """A loaded bundle that finds concealed objects on scans.

    Attributes:
        sensitivity: one of ``thresholds``: how little chance is enough to be said.
        thresholds: by sensitivity; least chances.
        measured: what each sensitivity brought on simulated scans; empty where nobody measured.
        range: values that stand for black and white in the scans; None for those of the dtype.
    """

    suffixes = images.SUFFIXES
    door = Door(
        "Concealed objects on a scan: boxes, scores and outlines, as JSON.",
        "image",
        "application/json",
        {
            "sensitivity": "high, normal or low; normal by default",
            "range": "values that stand for black and white, LOW:HIGH, e.g. 0:4095",
        },
    )

    def __init__(self, bundle: Bundle, opened: Answers) -> None:
        super().__init__(bundle, opened)
        self.range: tuple[float, float] | None = None
        self.measured = _measured(bundle.spec)
        self.thresholds = thresholds_of(bundle.spec)
        self.sensitivity = NORMAL

    @property
    def threshold(self) -> float:
        """Least chance of what is said.

        Raises:
            UsageError: there is no such sensitivity.
        """
        return threshold_of(self.thresholds, self.sensitivity)

    @property
    def setting(self) -> str:
        """The threshold and the range."""
        values = "" if self.range is None else f" {self.range[0]:g}:{self.range[1]:g}"
        return f"{self.threshold:.6g}{values}"

    def detect(
        self, scans: Iterable[images.Image], sensitivity: str | None = None, batch: int = 4
    ) -> list[Detection]:
        """Find objects on scans in memory.

        Args:
            scans: uint8 or uint16 arrays (float32 with a ``range``), (H, W), or with channels of
                grey, of any and of different sizes.
            sensitivity: high, normal or low; by default what ``sensitivity`` says.
            batch: scans of equal padded size that are run together.

        Returns:
            What was found on each, in the same order.

        Raises:
            InputError: something is no scan, is in colours, or has values outside the range.
            UsageError: there is no such sensitivity.
        """
        model = self.with_sensitivity(sensitivity or self.sensitivity)
        return model.answers(scans, batch)

    def with_sensitivity(self, name: str) -> Detector:
        """The same model with another sensitivity; they share the session.

        Raises:
            UsageError: there is no such sensitivity.
        """
        model = copy.copy(self)
        model.sensitivity = name
        _ = model.threshold
        return model

    def decode(self, data: bytes, path: str) -> images.Image:
        """An image, upright."""
        return images.decode(data, path, upright=True)

    def decode_all(self, data: bytes, path: str, frames: str) -> list[images.Image]:
        """The frames or pages of a file."""
        return images.decode_frames(data, path, upright=True, frames=frames)

    def prepare(self, sample: images.Image) -> tuple[images.UInt8, tuple[int, int]]:
        """In grey, padded to the sizes that the network takes; and the scan's size."""
        pixels = to_bytes(sample, self.range)
        refuse_colours(pixels)
        padded = images.pad(images.grey(pixels), self.bundle.spec.multiple_of)
        return padded, (sample.shape[0], sample.shape[1])

    def boxes(self, output: NDArray[Any], size: tuple[int, int]) -> Float:
        """All boxes of one scan, however unlikely; see ``decode``.

        Raises:
            InputError: the model gave NaN.
        """
        if not np.isfinite(output).all():
            raise InputError("the model gave NaN or infinity", "Check it: dlkit verify")
        return decode(output, size)

    def finish(self, output: NDArray[Any], note: tuple[int, int]) -> Detection:
        """What is likely enough."""
        height, width = note
        found = self.boxes(output, note)
        objects = []
        for left, top, wide, high, chance in found[found[:, 4] >= self.threshold].tolist():
            x, y = min(round(left), width - 1), min(round(top), height - 1)
            right, bottom = max(round(left + wide), x + 1), max(round(top + high), y + 1)
            box = (x, y, right - x, bottom - y)
            objects.append(ConcealedObject(*box, chance, mask_of(output, box)))
        return Detection(tuple(objects), height, width)

    def output_name(self, name: str) -> str:
        """A JSON file for each."""
        return f"{name}.json"

    def encode(self, answer: Detection, name: str) -> bytes:
        """A JSON file; see ``Detection.record``."""
        return (json.dumps(answer.record()) + "\n").encode()

    def encode_all(self, answers: Sequence[Detection], name: str) -> bytes:
        """One JSON file with a list of the frames."""
        frames = [answer.record() for answer in answers]
        return (json.dumps(frames) + "\n").encode()

    def reply(self, data: bytes, options: Mapping[str, str]) -> Reply:
        """An image in, JSON out."""
        given = self.options(options)
        model = self.with_sensitivity(given.get("sensitivity", self.sensitivity))
        if "range" in given:
            model.range = parse_range(given["range"])
        found = model.decode_all(data, "the image", "all")
        if len(found) != 1:
            raise InputError(f"the image has {len(found)} frames or pages", "Send one each")
        (answer,) = model.answers(found, 1)
        return Reply("application/json", json.dumps(answer.record()).encode())


def threshold_of(thresholds: Mapping[str, float], sensitivity: str) -> float:
    """Least chance of what a detector says.

    Raises:
        UsageError: there is no such sensitivity.
    """
    if sensitivity not in thresholds:
        raise unknown("sensitivity", sensitivity, list(thresholds))
    return thresholds[sensitivity]


def thresholds_of(spec: ModelSpec) -> dict[str, float]:
    """By sensitivity; guessed where nobody measured."""
    found = {name: one.threshold for name, one in _measured(spec).items()}
    return found or dict(_GUESSED)


def check_sensitivity(names: Any) -> None:
    """Refuse thresholds that cannot be.

    Args:
        names: of a spec's options: values of ``Sensitivity`` by name; empty where nobody measured.

    Raises:
        UsageError: what is wrong.
    """
    if not isinstance(names, Mapping):
        raise UsageError(f"the sensitivities are {names!r}, expected values by name", _MEND)
    if names and NORMAL not in names:
        raise UsageError(f"the sensitivities are {', '.join(names)}, without '{NORMAL}'", _MEND)
    for name, values in names.items():
        try:
            fine = 0 <= Sensitivity(**values).threshold <= 1
        except TypeError:
            fine = False
        if not fine:
            raise UsageError(
                f"the sensitivity '{name}' is {values!r}, expected a threshold 0 to 1", _MEND
            )


def _measured(spec: ModelSpec) -> dict[str, Sensitivity]:
    known = spec.options.get("sensitivity", {})
    return {name: Sensitivity(**values) for name, values in known.items()}
