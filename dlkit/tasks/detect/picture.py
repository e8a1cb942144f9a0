"""A picture of what was found: boxes, outlines, scores."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit import images
from dlkit.tasks.detect.objects import Detection

# Orange and yellow of Okabe and Ito's palette, which colour-blind people can tell apart; BGR.
_BOX, _OUTLINE = (0, 94, 213), (66, 228, 240)
_RIM = (0, 0, 0)
_TEXT = 0.015  # of the longer side: how high the scores are


def picture(image: images.Image, found: Detection) -> images.UInt8:
    """The scan with a box around each object, its outline, and its score in percent.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA; or 8 bits of floats.

    Returns:
        uint8 (H, W, 3) BGR.
    """
    canvas = np.ascontiguousarray(images.colour(image, "bgr"))
    side = max(canvas.shape[:2])
    thick = max(1, round(side / 500))
    tall = max(6.5, side * _TEXT)
    for one in found.objects:
        corner = (one.x + one.width - 1, one.y + one.height - 1)
        contours, _ = cv2.findContours(
            one.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE,
            offset=(one.x, one.y),
        )  # fmt: skip
        cv2.drawContours(canvas, contours, -1, _OUTLINE, 1)
        cv2.rectangle(canvas, (one.x, one.y), corner, _BOX, thick)
        text = f"{one.score * 100:.0f}"
        low = one.y - 2 if one.y > tall + 4 else corner[1] + round(tall) + 5
        images.letter(canvas, text, one.x, low, tall, (_BOX, _RIM))
    return canvas
