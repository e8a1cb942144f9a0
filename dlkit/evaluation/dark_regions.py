"""The classical way to find concealed objects: dark regions inside the person's filled outline."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit.evaluation.scan_metrics import HALF
from dlkit.images import UInt8
from dlkit.tasks.detect.decode import Float

# Chosen by hand.
_CLOSED = 15  # pixels: notches in the outline up to twice that wide are filled
_LEAST = 80  # pixels: smaller regions are nothing
_USUAL = 400.0  # pixels: of regions as large as this half of the greatest score is given


def dark_regions(cleaned: UInt8) -> Float:
    """Boxes around what is dark inside the person.

    Args:
        cleaned: uint8 (H, W), the person bright on black.

    Returns:
        float32 (N, 5): left, top, width, height, and a score, 0 to 1, that grows with darkness and
        area; the highest first.
    """
    bright = _opened((cleaned >= HALF).astype(np.uint8))
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(bright)
    if count < 2:
        return np.zeros((0, 5), np.float32)
    person = (labels == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _CLOSED + 1, 2 * _CLOSED + 1))
    closed = cv2.morphologyEx(np.pad(person, _CLOSED), cv2.MORPH_CLOSE, disc)
    closed = closed[_CLOSED:-_CLOSED, _CLOSED:-_CLOSED]
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(closed), contours, -1, (1,), cv2.FILLED)
    dark = _opened(((filled > 0) & (cleaned < HALF)).astype(np.uint8))
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(dark)
    found = []
    for number, (left, top, width, height, area) in enumerate(statistics[1:].tolist(), start=1):
        if area >= _LEAST:
            grey = float(cleaned[labels == number].mean())
            score = (1 - grey / 255) * area / (area + _USUAL)
            found.append((left, top, width, height, score))
    boxes = np.array(found, np.float32).reshape(-1, 5)
    return boxes[np.argsort(-boxes[:, 4], kind="stable")]


def _opened(mask: UInt8) -> UInt8:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
