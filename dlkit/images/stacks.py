"""Along which axis an array holds its images: what its shape says, and what it leaves open."""

from __future__ import annotations

import math
from collections.abc import Sequence

_SQUARE = (28, 28)  # MNIST's
_FLAT = 28 * 28
_LEAST = 8 * 8  # pixels of a row that may be an image
_CHANNELS = (3, 4)  # of a last axis: these may be colours


def doubt(shape: Sequence[int]) -> tuple[str, str]:
    """Why an array of two or three axes may not be one image (H, W), or images (N, H, W), and what
    makes it certain; both empty where nothing speaks against it.

    Only where another meaning is the likelier one: three equal sides are images, and so is what is
    not stretched by more than two.
    """
    if len(shape) == 2:
        return _of_rows(*shape)
    count, height, width = shape
    if width in _CHANNELS:
        return (
            "its images may be along the last axis, or it is one in colours",
            "Move it to the front: np.moveaxis(x, -1, 0); write one in colours into a .png",
        )
    certain = (
        f"or, where they are {height} x {width}, reshape it to ({count}, 1, {height}, {width})"
    )
    if 1 < count == height != width:
        return (
            "its images may be along the last axis",
            f"Move it to the front: np.moveaxis(x, -1, 0); {certain}",
        )
    if (count, width) == _SQUARE != (height, width):
        return (
            "its images may be along the axis in the middle",
            f"Move it to the front: np.moveaxis(x, 1, 0); {certain}",
        )
    return "", ""


def _of_rows(height: int, width: int) -> tuple[str, str]:
    one = f"or, where it is one image, reshape it to (1, {height}, {width})"
    if height == width == _FLAT:
        return (
            f"it may be one image, or {_FLAT} of 28 x 28 in rows",
            "Reshape it to (1, 784, 784) or to (784, 28, 28)",
        )
    if width == _FLAT:
        return "", ""
    known = _FLAT in (height, width - 1)
    if not known and max(height, width) <= 2 * min(height, width):
        return "", ""
    for labels in (0, 1):  # a first column of them, as CSV files have it
        if side := _side(width - labels):
            rows, behind = ("x[:, 1:]", " behind their labels") if labels else ("x", "")
            return (
                f"its rows may be images of {side} x {side}{behind}",
                f"Write {rows}.reshape(-1, {side}, {side}); {one}",
            )
    if side := _side(height):
        return (
            f"its columns may be images of {side} x {side}",
            f"Write x.T.reshape(-1, {side}, {side}); {one}",
        )
    return "", ""


def _side(length: int) -> int:
    """Of a square of so many pixels; 0 where there is none."""
    side = math.isqrt(max(length, 0))
    return side if side * side == length >= _LEAST else 0
