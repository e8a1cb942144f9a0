"""Where digits and other signs are: a network's answer at several scales, as boxes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

Float = NDArray[np.float32]
Network = Callable[[images.UInt8], NDArray[np.float32]]

STRIDE = 4  # pixels of a cell of the network's answer
_MULTIPLE = 16  # of its input's sides
_SIXTEEN = 16.0
_LEAST = 0.25  # chance: what is less is no sign
_SAME = 0.45  # intersection over union: two boxes of one sign


def decode(answer: Float, least: float = _LEAST) -> Float:
    """Boxes from a network's answer for one image.

    Args:
        answer: (6, rows, columns); see ``dlkit.training.networks.finder``.
        least: what has less chance than this is left out.

    Returns:
        float32 (N, 6): left, top, width and height in pixels, and the chances of a digit and of
        another sign; the most likely first.
    """
    heat = answer[:2].max(axis=0)
    peak = heat >= cv2.dilate(heat, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(peak & (heat > least))
    x = (columns + 0.5 + answer[2, rows, columns]) * STRIDE
    y = (rows + 0.5 + answer[3, rows, columns]) * STRIDE
    width, height = np.exp(answer[4:6, rows, columns].clip(-4, 4)) * _SIXTEEN
    found = np.stack([x - width / 2, y - height / 2, width, height, *answer[:2, rows, columns]], 1)
    return np.asarray(found[np.argsort(-found[:, 4:].max(axis=1), kind="stable")], np.float32)


def overlap(one: Float, other: Float) -> Float:
    """Intersection over union of boxes (N, 4) and (M, 4): (N, M)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:4])[:, None], (other[:, :2] + other[:, 2:4])[None])
    both = (high - low).clip(0).prod(axis=2)
    union = one[:, 2:4].prod(axis=1)[:, None] + other[:, 2:4].prod(axis=1)[None] - both
    return np.asarray(both / np.maximum(union, 1e-6), np.float32)
