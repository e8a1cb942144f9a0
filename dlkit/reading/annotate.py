"""A picture of what was read: boxes, digits, probabilities."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit import images
from dlkit.reading.page import Box, Digit, Line, Page

# Blue and orange of Okabe and Ito's palette, which colour-blind people can tell apart; BGR.
_SURE, _UNSURE = (178, 114, 0), (0, 94, 213)
_PAPER = (255, 255, 255)
_MOST, _LEAST = 3000, 240  # pixels of the longer side
_LABEL, _PERCENT = 0.42, 0.26  # how high they are written, of the height of the digit


def picture(image: images.Image, page: Page, reject: float | None = None) -> images.UInt8:
    """The image with a box around each digit, what it is above, its probability in percent below.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA.
        reject: digits below this probability have another colour.

    Returns:
        uint8 (h, w, 3) BGR, 240 to 3000 pixels on the longer side.
    """
    side = max(image.shape[:2])
    scale = _MOST / side if side > _MOST else max(1.0, float(_LEAST // side))
    size = tuple(max(1, round(part * scale)) for part in image.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    canvas = _colours(cv2.resize(image, size, interpolation=how) if scale != 1 else image)
    for digit in page.digits:
        box = Box(*(round(value * scale) for value in digit.box))
        colour = _UNSURE if reject is not None and digit.probability < reject else _SURE
        thick = max(1, round(box.height / 40))
        corner = (box.x + box.width, box.y + box.height)
        cv2.rectangle(canvas, (box.x, box.y), corner, colour, thick)
        percent = f"{digit.probability * 100:.0f}"
        tall = min(max(box.height, 24), 0.25 * side * scale)
        inks = (colour, _PAPER)
        images.letter(canvas, digit.label, box.x, box.y - 2, tall * _LABEL, inks)
        low = box.y + box.height + round(tall * _PERCENT) + 4
        images.letter(canvas, percent, box.x, low, tall * _PERCENT, inks)
    return canvas


def whole(answer: tuple[str, float], shape: tuple[int, ...]) -> Page:
    """A digit that fills an image of that shape, as a page."""
    label, probability = answer
    digit = Digit(label, probability, Box(0, 0, shape[1], shape[0]))
    return Page((Line(label, (digit,)),), single=True)


def _colours(image: images.Image) -> images.UInt8:
    """Any image as a new uint8 (H, W, 3)."""
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.array(image[:, :, :3], np.uint8)
