"""What was found on a scan, and what files keep of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ConcealedObject:
    """One object.

    Attributes:
        x, y, width, height: of its box, in pixels of the scan; (x, y) is the upper left corner.
        score: chance that it is one, as the network says, 0 to 1.
        mask: bool (height, width), which pixels of the box are the object.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    mask: NDArray[np.bool_]

    def record(self) -> dict[str, Any]:
        """Plain JSON values: ``x``, ``y``, ``width``, ``height``, ``score``; ``area`` of the mask
        in pixels, and its ``outlines``: of each part a list of x and y in turn, in the scan."""
        return {
            "x": self.x, "y": self.y, "width": self.width, "height": self.height,
            "score": round(self.score, 4), "area": int(self.mask.sum()), "outlines": self._lines(),
        }  # fmt: skip

    def _lines(self) -> list[list[int]]:
        contours, _ = cv2.findContours(
            self.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE,
            offset=(self.x, self.y),
        )  # fmt: skip
        thin = [cv2.approxPolyDP(contour, 1.0, True).reshape(-1) for contour in contours]
        # a polygon has three corners
        return [[int(value) for value in one] for one in thin if len(one) >= 6]


@dataclass(frozen=True)
class Detection:
    """The answer for one scan.

    Attributes:
        objects: the most likely first.
        height, width: of the scan, in pixels.
    """

    objects: tuple[ConcealedObject, ...]
    height: int
    width: int

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "height": self.height,
            "width": self.width,
            "objects": [one.record() for one in self.objects],
        }
