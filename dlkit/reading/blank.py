"""Small images of nothing: where a page of that size would be one without digits."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit import images
from dlkit.reading import colour
from dlkit.reading.upright import NEAR

_ICON = 64  # pixels of the longer side: in what is larger digits are looked for anyway
_EVEN = 12  # levels: what spans less is paper; but for black ground, where levels may be unscaled
# Neighbours in noise differ by twice its variance in the mean (von Neumann, "Distribution of the
# ratio of the mean square successive difference to the variance", 1941); in a digit by far less.
# Its half varies about 1 by one part in the image's side; three deviations are allowed, as long as
# that does not take digits of few pixels for noise.
_VARIES, _LEAST = 3, 0.8


def has_ink(image: images.Image) -> bool:
    """Whether the row in the middle alone shows that an image is not blank: more quickly than
    anything else can tell it, for nearly all."""
    row = image[image.shape[0] // 2]
    if row.ndim == 2:
        row = row[:, row.shape[1] // 2]
    if row.dtype.char != "B":
        row = row // 257
    pixels = row.astype(np.uint8).tobytes()
    return bool(pixels.strip(NEAR[pixels[0]]))


def is_blank(image: images.Image) -> bool:
    """Whether a small image, any kind of (H, W), shows even ground, or faint noise alone."""
    if max(image.shape[:2]) > _ICON or has_ink(image):
        return False
    if not _is_even(images.grey(colour.on_paper(image))):
        return False
    return image.ndim == 2 or _is_even(colour.channel(image))  # slow: nearly all have ended above


def _is_even(grey: images.UInt8) -> bool:
    low, high, _, _ = cv2.minMaxLoc(grey)
    if high - low < _EVEN and (low > 0 or high == 0):
        return True
    if min(grey.shape) < 2:
        return False
    pairs = [(grey[1:], grey[:-1]), (grey[:, 1:], grey[:, :-1])]
    apart = [cv2.norm(one, other, cv2.NORM_L2SQR) / one.size for one, other in pairs]
    least = max(_LEAST, 1 - _VARIES / min(grey.shape))
    return bool(min(apart) > 2 * least * cv2.meanStdDev(grey)[1].item() ** 2)
