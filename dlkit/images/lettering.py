"""Names and numbers written onto pictures."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.images.geometry import UInt8
from dlkit.printable import printable

Colour = tuple[int, int, int]
_Float = NDArray[np.float32]

_WEIGHT = 500  # of 100, thin, to 1000, black
_CAPITAL = 0.7  # height of a digit of the font, of its size
_LEAST = 7  # size below which nobody reads it
_RIM = 0.1  # of the height of a digit


def letter(
    canvas: UInt8, text: str, x: int, y: int, tall: float, colours: tuple[Colour, Colour]
) -> None:
    """Write a text of any script whose lower left corner is there, moved into the picture.

    A text that is wider than the picture becomes smaller; one that would be too small to be read
    is cut.

    Args:
        canvas: uint8 (H, W, 3); changed.
        tall: pixels of a digit's height.
        colours: of the text, and of the rim around it.
    """
    size = max(round(tall / _CAPITAL), _LEAST)
    left, over = _ink(text, size, colours)
    if over.shape[1] > canvas.shape[1]:
        left, over = _ink(text, max(size * canvas.shape[1] // over.shape[1], _LEAST), colours)
    high, wide = min(over.shape[0], canvas.shape[0]), min(over.shape[1], canvas.shape[1])
    x = min(max(x, 0), canvas.shape[1] - wide)
    y = min(max(y, high), canvas.shape[0])
    under = canvas[y - high : y, x : x + wide]
    under[:] = under * left[:high, :wide] + over[:high, :wide]


@lru_cache(maxsize=256)  # the same few labels and percents stand on thousands of pictures
def _ink(text: str, size: int, colours: tuple[Colour, Colour]) -> tuple[_Float, _Float]:
    """What is left of that which is under the text and its rim, 0 to 1, and the levels that are
    added: float32 (H, W, 1) and (H, W, 3)."""
    # OpenCV ends the process over halves of pairs, which a folder's name may hold.
    text = printable(text)
    face = cv2.FontFace("sans")  # has no locks: one for each call
    left, top, wide, high = cv2.getTextSize((0, 0), text, (0, 0), face, size, _WEIGHT)
    drawn = np.zeros((high + 2 * size, wide + 2 * size), np.uint8)
    cv2.putText(drawn, text, (size - left, size - top), (255,), face, size, _WEIGHT)
    x, y, wide, high = cv2.boundingRect(drawn)
    letters = np.pad(drawn[y : y + high, x : x + wide], _rim(size))
    wider = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _rim(size) + 1,) * 2)
    shares = (letters, cv2.dilate(letters, wider))
    ink, rim = (np.asarray(one[..., None] / np.float32(255), np.float32) for one in shares)
    above, below = np.array(colours, np.float32)
    # half a level more, since what becomes uint8 is cut
    return (1 - rim) * (1 - ink), ink * above + rim * (1 - ink) * below + np.float32(0.49)


def _rim(size: int) -> int:
    return max(1, round(size * _CAPITAL * _RIM))
