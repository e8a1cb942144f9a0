"""Generator: a loaded bundle that makes images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit import images, npy
from dlkit.bundle import Bundle
from dlkit.errors import InputError, UsageError
from dlkit.given import whole_of
from dlkit.plugins import unknown
from dlkit.tasks._door import Door, Reply
from dlkit.tasks._model import Answers, Model
from dlkit.tasks.generate.grid import grid
from dlkit.tasks.generate.noise import Codes, between, codes

_MOST = 100  # images of one reply
# One class for all pictures, or one each: names, or places among ``labels``.
Labels: TypeAlias = "str | int | Sequence[str | int]"


class Generator(Model[Codes, None, images.UInt8]):
    """A loaded bundle that makes images of noise.

    A sample, for files, is a code: float32 (latent + classes,), noise and behind it one 1 among
    zeros for the class.

    Attributes:
        latent: numbers of noise.
        labels: what classes are called; empty where the network knows none.
    """

    suffixes = frozenset({".npy"})
    door = Door(
        "New images, side by side in one PNG file.",
        "",
        "image/png",
        {
            "count": f"how many, 1 to {_MOST}; 10 by default",
            "label": "the class of all; by default every class in turn",
            "seed": "whole number; the same gives the same images",
            "truncation": "0.1 or more: noise beyond is drawn again; 2 is mild",
        },
    )

    def __init__(self, bundle: Bundle, opened: Answers) -> None:
        super().__init__(bundle, opened)
        self.labels = bundle.spec.labels
        self.latent = int(bundle.spec.input.shape[1]) - len(self.labels)

    def generate(
        self,
        count: int,
        labels: Labels | None = None,
        seed: int = 0,
        truncation: float | None = None,
        batch: int = 64,
    ) -> images.UInt8:
        """Make images: the same for the same seed, on every backend but for rounding.

        Args:
            count: how many; the first ones of more are the same.
            labels: the class of all, or of each; by default every class in turn.
            truncation: noise beyond plus and minus this is drawn again: more usual pictures, fewer
                kinds of them. 0.1 or more; 2 is mild.
            batch: images that are made together.

        Returns:
            uint8 (count, H, W), or (count, H, W, 3) BGR.

        Raises:
            UsageError: classes that the network does not know, or a number that cannot be.
        """
        classes = self.classes(whole_of(count, "count"), labels)
        made = codes(count, self.latent, seed, classes, len(self.labels), truncation)
        return self.of_codes(made, batch)

    def interpolate(
        self,
        rows: int,
        steps: int,
        labels: Labels | None = None,
        seed: int = 0,
        truncation: float | None = None,
        batch: int = 64,
    ) -> images.UInt8:
        """Ways from one image to the next: row k goes from image k to image k + 1.

        Args:
            rows, steps: ways, and images of each, both ends among them.
            labels, seed, truncation, batch: of the ``rows + 1`` images, as ``generate`` has them.

        Returns:
            uint8 (rows * steps, H, W), or with 3 behind.
        """
        rows, steps = whole_of(rows, "rows"), whole_of(steps, "steps", 2)
        classes = self.classes(rows + 1, labels)
        ends = codes(rows + 1, self.latent, seed, classes, len(self.labels), truncation)
        ways = [between(ends[row], ends[row + 1], self.latent, steps) for row in range(rows)]
        return self.of_codes(np.concatenate(ways), batch)

    def of_codes(self, made: Codes, batch: int = 64) -> images.UInt8:
        """Images of codes, float32 (N, latent + classes)."""
        return np.stack(self.answers(list(made), batch))

    def classes(self, count: int, labels: Labels | None = None) -> NDArray[np.int64] | None:
        """Index of the class of each of ``count`` images; None where the network knows none.

        Raises:
            UsageError: unknown ones, or another number of them than images.
        """
        if not self.labels:
            if labels is not None:
                raise UsageError(
                    f"{self.bundle.spec.name} knows no classes, so none can be asked for",
                    "Leave the label out, or take a conditional bundle",
                )
            return None
        if labels is None:
            return np.arange(count) % len(self.labels)
        if isinstance(labels, str | int | np.integer):
            return np.full(count, self._class(labels))
        found = np.array([self._class(one) for one in labels], np.int64)
        if len(found) != count:
            raise UsageError(f"{len(found)} labels for {count} images", "Give one, or one each")
        return found

    def decode(self, data: bytes, path: str) -> Codes:
        """The one code of a .npy file."""
        found = self.decode_all(data, path, "all")
        if len(found) != 1:
            raise InputError(f"{path}: has {len(found)} codes, expected one")
        return found[0]

    def decode_all(self, data: bytes, path: str, frames: str) -> list[Codes]:
        """The codes of a .npy file: float32 (latent + classes,) or several rows of it."""
        loaded = npy.load(io.BytesIO(data), path)
        if not isinstance(loaded, np.ndarray) or loaded.ndim not in (1, 2):
            raise InputError(f"{path}: holds no code", f"Expected {self.bundle.spec.input}")
        rows: list[Codes] = list(np.atleast_2d(loaded))
        for row in rows:
            self.check(row)
        if frames == "all":
            return rows
        place = 1 if frames == "first" else int(frames)
        if not 1 <= place <= len(rows):
            raise InputError(f"{path}: has no code {place}, it has {len(rows)}")
        return [rows[place - 1]]

    def check(self, sample: Codes) -> None:
        """A code is float32 (latent + classes,)."""
        wanted = (int(self.bundle.spec.input.shape[1]),)
        if sample.dtype != np.float32 or sample.shape != wanted:
            raise InputError(f"a code is {sample.dtype} {sample.shape}, expected float32 {wanted}")
        if not np.isfinite(sample).all():
            raise InputError("a code has NaN or infinity")

    def prepare(self, sample: Codes) -> tuple[Codes, None]:
        """As it is."""
        return sample, None

    def finish(self, output: NDArray[Any], note: None) -> images.UInt8:
        """uint8 (H, W), or (H, W, 3) BGR."""
        image: images.UInt8 = output
        return np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image

    def output_name(self, name: str) -> str:
        """A PNG file for each."""
        return f"{name}.png"

    def reply(self, data: bytes, options: Mapping[str, str]) -> Reply:
        """No file in, a PNG file out."""
        given = self.options(options)
        try:
            count, seed = int(given.get("count", 10)), int(given.get("seed", 0))
            truncation = float(given["truncation"]) if "truncation" in given else None
        except ValueError as error:
            raise UsageError("count, seed and truncation are numbers") from error
        if not 1 <= count <= _MOST:
            raise UsageError(f"count is {count}, expected 1 to {_MOST}")
        made = self.generate(count, given.get("label"), seed, truncation)
        return Reply("image/png", images.encode(grid(made), ".png"))

    def encode(self, answer: images.UInt8, name: str) -> bytes:
        """An image file."""
        return images.encode_frames(name, [answer])

    def encode_all(self, answers: Sequence[images.UInt8], name: str) -> bytes:
        """One picture; of several codes side by side."""
        one = answers[0] if len(answers) == 1 else grid(np.stack(answers))
        return images.encode_frames(name, [one])

    def _class(self, label: str | int | np.integer[Any]) -> int:
        if str(label) in self.labels:
            return self.labels.index(str(label))
        if not isinstance(label, str) and 0 <= label < len(self.labels):
            return int(label)
        raise unknown("label", str(label), list(self.labels))
