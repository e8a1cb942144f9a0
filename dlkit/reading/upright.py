"""Images of the network's own size: nearly all go to it as they are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.reading import colour
from dlkit.reading.single import plain

# Of the side: MNIST's digits fill 20 of 28 pixels, and none of its 70,000 less than 18, where what
# is near to the ground, by this share of the contrast, is ground: noise, paper, JPEG's ringing.
_SMALL, _SHARE = 0.63, 0.12
_LEVELS = 31  # so much of 255, or more
# As bytes, the levels that are so near to each.
NEAR = [bytes(range(max(0, v - _LEVELS), min(255, v + _LEVELS) + 1)) for v in range(256)]
_PALE = 128  # levels: grey that spans less may hide what colours show


def upright_square(image: images.Image, size: tuple[int, int]) -> images.UInt8:
    """An image of the network's own size in one channel: as it is; but what is drawn by alpha is
    put on paper, colours of one brightness are told apart, and a digit that is much smaller than
    MNIST's is brought to their size."""
    grey, drawn = images.grey(image), image.shape[2:] == (4,)
    if not drawn and is_upright(grey, size):
        return grey
    low, high, _, _ = cv2.minMaxLoc(grey)
    if drawn or (image.ndim == 3 and high - low < _PALE):
        grey = colour.channel(image)
        low, high, _, _ = cv2.minMaxLoc(grey)
    corners = sorted(grey[:: grey.shape[0] - 1, :: grey.shape[1] - 1].ravel().tolist())
    ground, near = corners[1], _SHARE * (high - low)  # a digit covers one of four, at most
    ink = cv2.bitwise_not(cv2.inRange(grey, ground - near, ground + near))
    _, _, *sides = cv2.boundingRect(ink)
    if max(sides) <= _SMALL * max(size) and (found := plain(grey)) is not None:
        return images.fit(found.squares[0], *size)
    return grey


def is_upright(image: images.Image, size: tuple[int, int]) -> bool:
    """Whether ``upright_square`` is certain to give an image back as it is; quickly, for nearly
    all.

    Told by bytes, which keeps the interpreter's lock: threads that let go of it for each of many
    small images wait for each other longer than they work.
    """
    if image.ndim != 2 or image.dtype.char != "B":
        return False
    pixels, across = image.tobytes(), image.shape[1]
    ground = NEAR[pixels[0]]
    if pixels[-1] not in ground:
        return False
    drawn = pixels.lstrip(ground)
    first = len(pixels) - len(drawn)
    last = first + len(drawn.rstrip(ground)) - 1
    return bool(last // across - first // across + 1 > _SMALL * max(size))


def are_upright(stack: images.UInt8) -> NDArray[np.bool_]:
    """The same of many at once, uint8 (N, H, W)."""
    count, height, width = stack.shape
    low = np.maximum(stack[:, :1, :1], _LEVELS) - np.uint8(_LEVELS)
    span = np.minimum(stack[:, :1, :1], 255 - _LEVELS) + np.uint8(_LEVELS) - low
    ink = (stack - low > span).reshape(count, -1)  # what is below wraps around, far above
    first, behind = ink.argmax(axis=1), ink[:, ::-1].argmax(axis=1)
    rows = (height * width - 1 - behind) // width - first // width + 1
    return np.asarray(ink.any(axis=1) & ~ink[:, -1] & (rows > _SMALL * max(height, width)))
