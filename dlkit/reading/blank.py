"""Small images of nothing: where a page of that size would be one without digits."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit import images
from dlkit.reading import colour

_ICON = 64  # pixels of the longer side: in what is larger digits are looked for anyway
_EVEN = 12  # levels: what spans less is paper; but for black ground, where levels may be unscaled
# Neighbours in noise differ by twice its variance in the mean (von Neumann, "Distribution of the
# ratio of the mean square successive difference to the variance", 1941); in a digit by far less.
# Its half varies about 1 by one part in the image's side; three deviations are allowed, as long as
# that does not take digits of few pixels for noise.
_VARIES, _LEAST = 3, 0.8


def is_blank(image: images.Image) -> bool:
    """Whether a small image, any kind of (H, W), shows even ground, or noise alone."""
    if max(image.shape[:2]) > _ICON:
        return False
    grey = colour.channel(image)
    low, high, _, _ = cv2.minMaxLoc(grey)
    if high - low < _EVEN and (low > 0 or high == 0):
        return True
    levels = grey.astype(np.float32)
    if min(grey.shape) < 2:
        return False
    apart = [np.square(np.diff(levels, axis=axis)).mean() for axis in (0, 1)]
    least = max(_LEAST, 1 - _VARIES / min(grey.shape))
    return bool(min(apart) > 2 * least * levels.var())
