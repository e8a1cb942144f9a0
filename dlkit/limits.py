"""How many pixels an image may have."""

from __future__ import annotations

import functools
import os

# 11,585 x 11,585: about 1 GiB of memory while a grey scan of that size is cleaned.
MAX_PIXELS = 128 * 1024 * 1024
# OpenCV reads it when it is loaded, and then refuses larger images by their header.
VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"


@functools.cache  # asked for every image
def max_pixels() -> int:
    """The most pixels that are taken: ``MAX_PIXELS``, or what the variable says."""
    text = os.environ.get(VARIABLE, "")
    return int(text) if text.isdecimal() else MAX_PIXELS


def allow_pixels(most: int) -> None:
    """Take images of up to so many pixels; only before OpenCV is loaded."""
    os.environ[VARIABLE] = str(most)
    max_pixels.cache_clear()
