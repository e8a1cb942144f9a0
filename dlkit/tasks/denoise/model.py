"""Denoiser: a loaded bundle that cleans images."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import InputError
from dlkit.ranges import parse_range
from dlkit.tasks._door import Door, Reply
from dlkit.tasks._levels import range_of, refuse_colours, to_bytes
from dlkit.tasks._model import Answers, Model
from dlkit.tasks._session import Session
from dlkit.tasks.denoise import strips

# Part of the range below which all of an image's values lie when the range is most likely wrong:
# 12 bits in 16 fill a sixteenth. Scans of nothing fill more, and come out all black with right.
_DARK = 0.25


class Denoiser(Model[images.Image, images.Image, images.Image]):
    """A loaded bundle that cleans images.

    Attributes:
        range: values that stand for black and white in the images that come and go; None for those
            of the dtype: 0 and 255, 0 and 65535. Images of floats need one.
    """

    suffixes = images.SUFFIXES
    door = Door(
        "A cleaned image, in the size, depth and channels of the one that came, as PNG.",
        "image",
        "image/png",
        {"range": "values that stand for black and white, LOW:HIGH, e.g. 0:4095"},
    )

    def __init__(self, bundle: Bundle, opened: Answers) -> None:
        super().__init__(bundle, opened)
        self.range: tuple[float, float] | None = None

    @property
    def setting(self) -> str:
        """The range."""
        return "" if self.range is None else f"{self.range[0]:g}:{self.range[1]:g}"

    def denoise(self, images: Iterable[images.Image], batch: int = 4) -> list[images.Image]:
        """Clean images in memory.

        Args:
            images: uint8 or uint16 arrays (float32 with a ``range``), (H, W), (H, W, 3) BGR or
                (H, W, 4) BGRA, of any and of different sizes.
            batch: images of equal padded size that are run together.

        Returns:
            Cleaned images in the same order, each in the size (times the spec's ``scale``), dtype,
            range and channels of its input. The network computes on 8 bits, grey or colour as the
            spec says; alpha is kept.

        Raises:
            InputError: something is no image, is in colours that a network for grey images cannot
                take, has values outside the range, or is dark and comes out all black.
        """
        return self.answers(images, batch)

    def decode(self, data: bytes, path: str) -> images.Image:
        """An image, upright."""
        return images.decode(data, path, upright=True)

    def decode_all(self, data: bytes, path: str, frames: str) -> list[images.Image]:
        """All frames or pages, upright."""
        return images.decode_frames(data, path, upright=True, frames=frames)

    def prepare(self, sample: images.Image) -> tuple[images.UInt8, images.Image]:
        """In the network's channels, padded to the sizes that it takes."""
        spec = self.bundle.spec
        pixels = to_bytes(sample, self.range)
        if spec.colour == "grey":
            refuse_colours(pixels)
        return images.pad(images.colour(pixels, spec.colour), spec.multiple_of), sample

    def infer(self, session: Session, batch: NDArray[Any]) -> NDArray[Any]:
        """A large image in strips, where the network takes any width."""
        spec = self.bundle.spec
        if not isinstance(spec.input.shape[2], str):
            return session(batch)
        return strips.in_strips(session, batch, spec.multiple_of, spec.scale)

    def finish(self, output: NDArray[Any], note: images.Image) -> images.Image:
        """Cropped back, in the depth, range and channels that came."""
        spec = self.bundle.spec
        if output.dtype != np.uint8:
            raise InputError(f"the model gave {output.dtype} pixels, expected uint8")
        height, width = (side * spec.scale for side in note.shape[:2])
        cleaned = images.crop(output, height, width)
        if not cleaned.any() and self._dark(note):
            raise InputError(
                "comes out all black, though it is not black, but dark: no value is above "
                f"{note.max():g}",
                "Say what range its values have: --range LOW:HIGH. Or check it: dlkit verify",
            )
        values = range_of(note, self.range)
        if values is None:
            return images.like(note, cleaned, spec.colour)
        low, high = values
        eight = np.zeros(note.shape, np.uint8)
        if note.ndim == 3 and note.shape[2] == 4:
            eight[:, :, 3] = 255
        same = images.like(eight, cleaned, spec.colour)
        scaled = low + same.astype(np.float64) * ((high - low) / 255)
        if note.dtype != np.float32:
            scaled = np.rint(scaled)
        result: images.Image = scaled.astype(note.dtype)
        if note.ndim == 3 and note.shape[2] == 4 and spec.scale == 1:
            result[:, :, 3] = note[:, :, 3]
        return result

    def reply(self, data: bytes, options: Mapping[str, str]) -> Reply:
        """An image in, a PNG file out."""
        values = self.options(options).get("range")
        model = copy.copy(self)  # the range is this request's alone
        model.range = self.range if values is None else parse_range(values)
        found = self.decode_all(data, "the image", "all")
        if len(found) != 1:
            raise InputError(f"the image has {len(found)} frames or pages", "Send one each")
        return Reply("image/png", images.encode(model.denoise(found)[0], ".png"))

    def output_name(self, name: str) -> str:
        """As the input's."""
        return name

    def encode(self, answer: images.Image, name: str) -> bytes:
        """An image file of the input's name and format."""
        return images.encode_frames(name, [answer])

    def encode_all(self, answers: Sequence[images.Image], name: str) -> bytes:
        """As many frames or pages as came."""
        return images.encode_frames(name, answers)

    def _dark(self, image: images.Image) -> bool:
        """Whether all values lie in the lowest part of the range."""
        low, high = range_of(image, self.range) or (0, np.iinfo(image.dtype).max)
        colours = image[:, :, :3] if image.ndim == 3 else image
        return bool(low < colours.max() < low + _DARK * (high - low))
