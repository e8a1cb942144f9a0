"""Denoiser: a loaded bundle that cleans images."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import InputError, UsageError
from dlkit.tasks._door import Door, Reply
from dlkit.tasks._model import Answers, Model, Session
from dlkit.tasks.denoise import strips

# Part of the range below which all of an image's values lie when the range is most likely wrong:
# 12 bits in 16 fill a sixteenth. Scans of nothing fill more, and come out all black with right.
_DARK = 0.25
# Mean distance of a pixel's channels, in levels, from which an image is taken for a coloured one:
# JPEG files of grey pictures have 1 to 3.
_COLOURED = 16
TWELVE_BITS = (0, 4095)


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
        pixels = self._to_bytes(sample)
        if spec.colour == "grey" and (apart := _apart(pixels)) > _COLOURED:
            raise InputError(
                f"is in colours (channels are {apart:.0f} levels apart), and the network takes "
                "grey images: false colours have no brightness that it could know",
                "Save the image in grey, or take a bundle for colours",
            )
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
        if self.range is None:
            return images.like(note, cleaned, spec.colour)
        low, high = self.range
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

    def save(self, answer: images.Image, path: Path) -> None:
        """An image file of the input's name and format."""
        images.write(path, answer)

    def save_all(self, answers: Sequence[images.Image], path: Path) -> None:
        """As many frames or pages as came."""
        images.write_frames(path, answers)

    def _dark(self, image: images.Image) -> bool:
        """Whether all values lie in the lowest part of the range."""
        low, high = self.range or (0, np.iinfo(image.dtype).max)
        colours = image[:, :, :3] if image.ndim == 3 else image
        return bool(low < colours.max() < low + _DARK * (high - low))

    def _to_bytes(self, image: images.Image) -> images.Image:
        """Into 8 bits (or 16 of the whole range), by the range."""
        if not isinstance(image, np.ndarray) or image.dtype != np.float32:
            images.check(image)
        if self.range is None:
            if image.dtype == np.float32:
                raise InputError(
                    f"has float32 values from {image.min():g} to {image.max():g}, and nobody knows "
                    "which stand for black and white",
                    "Say it with --range LOW:HIGH",
                )
            return image
        low, high = self.range
        if image.dtype != np.float32 and not (
            np.iinfo(image.dtype).min <= low and high <= np.iinfo(image.dtype).max
        ):
            raise InputError(f"is {image.dtype}, which does not hold a range of {self.setting}")
        colours = image[:, :, :3] if image.ndim == 3 else image
        if colours.min() < low or colours.max() > high:
            raise InputError(
                f"has values from {colours.min():g} to {colours.max():g}, outside the range of "
                f"{low:g} to {high:g}",
                "Give the range of all images with --range LOW:HIGH",
            )
        scaled = (colours.astype(np.float64) - low) * (255 / (high - low))
        return np.rint(scaled).astype(np.uint8)


def parse_range(text: str) -> tuple[float, float]:
    """``"0:4095"`` as (0, 4095).

    Raises:
        UsageError: something else.
    """
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (0.0, 0.0)
    if not (np.isfinite(found).all() and found[0] < found[1]):
        raise UsageError(f"--range is '{text}', expected LOW:HIGH, e.g. 0:4095")
    return found


def twelve_bits(found: Sequence[images.Image]) -> bool:
    """Whether images of 16 bits hold 12: no value is above 4095."""
    wide = [image for image in found if image.dtype == np.uint16]
    return bool(wide) and all(int(image.max()) <= TWELVE_BITS[1] for image in wide)


def _apart(image: images.Image) -> float:
    """Mean distance of a pixel's lowest and highest channel, in levels of 8 bits."""
    if image.ndim == 2 or image.shape[2] == 1:
        return 0.0
    some = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256), :3]
    apart = float((some.max(axis=2).astype(np.float32) - some.min(axis=2)).mean())
    return apart / 257 if image.dtype == np.uint16 else apart
