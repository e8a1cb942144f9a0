"""Large images in strips of the full height, side by side, so that memory stays small.

A column keeps all of its rows, so what a network learns from whole columns (stripes run down the
whole scan) is the same. What changes: a strip does not know the picture beyond its neighbours'
nearest pixels, nor the mean of the whole picture. docs/denoising.md says how much that is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pixels that run at once. The shipped denoiser needs about 64 bytes of activations for each.
MOST_PIXELS = 8 << 20
# Columns that neighbours share: they are left out at the borders, and blended in the middle half.
_SHARED = 256

Call = Callable[[NDArray[Any]], NDArray[Any]]


def in_strips(call: Call, batch: NDArray[Any], multiple_of: int) -> NDArray[Any]:
    """Images through a network that gives images of the same size.

    Args:
        call: uint8 (N, H, w) to uint8 (N, H, w), for any w that is a multiple of ``multiple_of``.
        batch: uint8 (N, H, W); a small one is given to ``call`` as it is.
    """
    count, height, width = batch.shape
    if count * height * width <= MOST_PIXELS:
        return call(batch)
    step = -(-_SHARED // multiple_of) * multiple_of
    size = max(MOST_PIXELS // (count * height) // step * step, 2 * step)
    if width <= size:
        return call(batch)
    result = np.empty_like(batch)
    for left in range(0, width - step, size - step):
        strip = call(batch[:, :, left : left + size])
        here = result[:, :, left : left + strip.shape[2]]
        keep = np.ones(strip.shape[2], np.float32)
        if left:
            # nothing of the first quarter of what is shared, all from the last quarter on
            keep[:step] = np.clip((np.arange(step) + 0.5) / step * 2 - 0.5, 0, 1)
            blended = here[:, :, :step] * (1 - keep[:step]) + strip[:, :, :step] * keep[:step]
            here[:, :, :step] = np.rint(blended).astype(batch.dtype)
            here[:, :, step:] = strip[:, :, step:]
        else:
            here[:] = strip
    return result
