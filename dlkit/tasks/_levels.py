"""The values of images as they come, and the 8 bits that networks take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from dlkit import images
from dlkit.errors import InputError

# Mean distance of a pixel's channels, in levels, from which an image is taken for a coloured one:
# JPEG files of grey pictures have 1 to 3.
_COLOURED = 16
_FEWER = (255, 1023, 4095)  # largest values of 8, 10 and 12 bits, which files of 16 often hold
_ALL = 65535
_MORE = tuple((0, 2**bits - 1) for bits in (10, 12, 14, 16))
Range = tuple[float, float]


@runtime_checkable
class Ranged(Protocol):
    """A model that takes images of any range.

    Attributes:
        range: values that stand for black and white; None for those of the dtype.
    """

    range: Range | None


def range_of(image: images.Image, values: Range | None) -> Range | None:
    """What of a run's range an image has: all of 10 bits or more is that of 16-bit images beside
    one of 8, which means what its type says."""
    return None if image.dtype == np.uint8 and values in _MORE else values


def to_bytes(image: images.Image, values: Range | None) -> images.Image:
    """Into 8 bits (or 16 of the whole range).

    Args:
        values: that stand for black and white; None for those of the dtype.

    Raises:
        InputError: something is no image, has NaN or infinity, does not lie in the range, or has
            none and holds fewer bits than its dtype has.
    """
    images.check(image, floats=True)
    values = range_of(image, values)
    if values is None:
        if image.dtype == np.float32:
            raise InputError(
                f"has float32 values from {image.min():g} to {image.max():g}, and nobody knows "
                "which stand for black and white",
                "Say it with --range LOW:HIGH",
            )
        if fewer := fewer_bits([image]):
            raise InputError(
                f"has 16 bits and no value above {fewer[1]}, as if it held "
                f"{fewer[1].bit_length()}: taken for all 16 it is almost black",
                f"Say what it holds: --range {fewer[0]}:{fewer[1]}, or --range 0:{_ALL} for all 16 "
                "bits (in Python model.range)",
            )
        return image
    low, high = values
    if image.dtype != np.float32 and not (low >= 0 and high <= np.iinfo(image.dtype).max):
        raise InputError(f"is {image.dtype}, which does not hold a range of {low:g}:{high:g}")
    colours = _colours(image)
    if colours.min() < low or colours.max() > high:
        raise InputError(
            f"has values from {colours.min():g} to {colours.max():g}, outside the range of "
            f"{low:g} to {high:g}",
            "Give the range of all images with --range LOW:HIGH",
        )
    scaled = (colours.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(scaled).astype(np.uint8)


def refuse_colours(pixels: images.Image) -> None:
    """Refuse what a network for grey images cannot take.

    Raises:
        InputError: it is in colours.
    """
    if (apart := _apart(pixels)) > _COLOURED:
        raise InputError(
            f"is in colours (channels are {apart:.0f} levels apart), and the network takes "
            "grey images: false colours have no brightness that it could know",
            "Save the image in grey, or take a bundle for colours",
        )


def fewer_bits(found: Sequence[images.Image]) -> tuple[int, int] | None:
    """The range of 16-bit images that hold 8, 10 or 12 bits; None where they hold more, or none."""
    wide = [image for image in found if image.dtype == np.uint16]
    most = max((int(_colours(image).max()) for image in wide), default=0)
    return next(((0, top) for top in _FEWER if 0 < most <= top), None)


def _colours(image: images.Image) -> images.Image:
    """Without alpha."""
    return image[:, :, :3] if image.ndim == 3 else image


def _apart(image: images.Image) -> float:
    """Mean distance of a pixel's lowest and highest channel, in levels of 8 bits."""
    if image.ndim == 2 or image.shape[2] == 1:
        return 0.0
    some = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256), :3]
    apart = float((some.max(axis=2).astype(np.float32) - some.min(axis=2)).mean())
    return apart / 257 if image.dtype == np.uint16 else apart
