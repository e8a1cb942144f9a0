"""A picture of what was found: boxes, outlines, scores."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit import images
from dlkit.tasks.detect.objects import Detection

# Orange and yellow of Okabe and Ito's palette, which colour-blind people can tell apart; BGR.
_BOX, _OUTLINE = (0, 94, 213), (66, 228, 240)
_RIM = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT = 0.0011  # of the longer side: scale of the letters


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
    scale = max(0.3, side * _TEXT * 0.6)
    for one in found.objects:
        corner = (one.x + one.width - 1, one.y + one.height - 1)
        contours, _ = cv2.findContours(
            one.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE,
            offset=(one.x, one.y),
        )  # fmt: skip
        cv2.drawContours(canvas, contours, -1, _OUTLINE, 1)
        cv2.rectangle(canvas, (one.x, one.y), corner, _BOX, thick)
        text = f"{one.score * 100:.0f}"
        (wide, high), _ = cv2.getTextSize(text, _FONT, scale, thick)
        x = min(one.x, max(canvas.shape[1] - wide - 1, 0))
        y = one.y - 3 if one.y > high + 4 else min(corner[1] + high + 4, canvas.shape[0] - 2)
        for ink, width in ((_RIM, thick + 2), (_BOX, thick)):
            cv2.putText(canvas, text, (x, y), _FONT, scale, ink, width, cv2.LINE_AA)
    return canvas
