"""Images of the network's own size: nearly all go to it as they are."""

from __future__ import annotations

import cv2

from dlkit import images
from dlkit.reading import colour
from dlkit.reading.single import plain

_DARK = 128
_SMALL = 0.58  # of the side: MNIST's digits fill 20 of 28 pixels, and none less than this


def upright_square(image: images.Image, size: tuple[int, int]) -> images.UInt8:
    """An image of the network's own size in one channel: as it is; but what is drawn by alpha is
    put on paper, and a digit that is much smaller than MNIST's is brought to their size."""
    drawn = image.ndim == 3 and image.shape[2] == 4
    grey = colour.channel(image) if drawn else images.grey(image)
    _, _, *sides = cv2.boundingRect(grey if grey[0, 0] < _DARK else cv2.bitwise_not(grey))
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
    ground = b"\0\1" if pixels[0] < _DARK else b"\xff"
    drawn = pixels.lstrip(ground)
    first = len(pixels) - len(drawn)
    last = first + len(drawn.rstrip(ground)) - 1
    return bool(last // across - first // across >= _SMALL * max(size))
