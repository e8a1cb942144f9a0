"""A digit as MNIST has it.

"The original black and white images were size normalized to fit in a 20x20 pixel box while
preserving their aspect ratio. The resulting images contain grey levels as a result of the
anti-aliasing technique [...]; the images were centered in a 28x28 image by computing the center of
mass of the pixels" (yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

SIDE = 28
_BOX = 20
EDGE = 0.35  # ink weaker than this share of a stroke's is outside its box
# A stroke of MNIST's is 2 to 4 of 20 pixels wide. A thinner one would be grey after scaling.
_THIN = 0.075
_RAMP = np.stack([np.ones(_BOX), np.arange(_BOX)], axis=1).astype(np.float32)  # for moments
_CROSS = np.ones((3, 3), np.uint8)
_LARGE = 320  # pixels: a side from which a thin digit is reduced before it is widened


def mnist(ink: NDArray[np.float32]) -> images.UInt8:
    """Ink (H, W), 0 to 1, as uint8 (28, 28)."""
    x, y, across, down = cv2.boundingRect((ink > EDGE).view(np.uint8))
    square = np.zeros((SIDE, SIDE), np.uint8)
    if not across:
        return square
    ink = ink[y : y + down, x : x + across]
    ink = _thicken(ink)
    scale = _BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    if scale < 1:
        small = np.asarray(cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA))
    else:
        small = cv2.resize(ink, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    (mass, by_x), (by_y, _) = _RAMP[:height].T @ small @ _RAMP[:width]
    middle_x, middle_y = by_x / (mass or 1), by_y / (mass or 1)
    top = min(max(round(SIDE / 2 - middle_y), 0), SIDE - height)
    left = min(max(round(SIDE / 2 - middle_x), 0), SIDE - width)
    square[top : top + height, left : left + width] = (small * 255).round()
    return square


def stroke_width(mask: NDArray[np.uint8]) -> float:
    """Of what is above 0 in uint8 (H, W), in pixels: a long stroke of width w has half of its edge
    on each side, so that w is about 2 area / edge."""
    area = cv2.countNonZero(mask)
    edge = area - cv2.countNonZero(cv2.erode(mask, _CROSS))
    return 2 * area / max(edge, 1)


def _thicken(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Strokes at least as wide, beside the digit, as the thin ones of MNIST."""
    width = stroke_width((ink > 0.5).view(np.uint8))
    if _THIN * max(ink.shape) - width < 2:
        return ink
    if (step := -(-max(ink.shape) // _LARGE)) > 1:
        # Thin and large: most of it is air, and widening takes time with the square of the size.
        ink = np.ascontiguousarray(cv2.dilate(ink, np.ones((step, step)))[::step, ::step])
        width = max(1.0, width / step)
    missing = max(1, round((_THIN * max(ink.shape) - width) / 2))
    wide = cv2.copyMakeBorder(
        ink, missing, missing, missing, missing, cv2.BORDER_CONSTANT, value=0.0
    )
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * missing + 1, 2 * missing + 1))
    return np.asarray(cv2.dilate(wide, round_), np.float32)
