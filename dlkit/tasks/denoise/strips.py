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


def in_strips(call: Call, batch: NDArray[Any], multiple_of: int, scale: int = 1) -> NDArray[Any]:
    """Images through a network that gives images of the same size, or ``scale`` times it.

    Args:
        call: uint8 (N, H, w) or (N, H, w, 3) to the same, for any w that is a multiple of
            ``multiple_of``.
        batch: uint8 (N, H, W) or (N, H, W, 3); a small one is given to ``call`` as it is.
    """
    count, height, width = batch.shape[:3]
    if count * height * width <= MOST_PIXELS:
        return call(batch)
    step = -(-_SHARED // multiple_of) * multiple_of
    size = max(MOST_PIXELS // (count * height) // step * step, 2 * step)
    if width <= size:
        return call(batch)
    result: NDArray[Any] | None = None
    for left in range(0, width - step, size - step):
        strip = call(batch[:, :, left : left + size])
        if result is None:
            shape = (count, height * scale, width * scale, *batch.shape[3:])
            result = np.empty(shape, strip.dtype)
        here = result[:, :, left * scale : left * scale + strip.shape[2]]
        shared = step * scale
        if left:
            # nothing of the first quarter of what is shared, all from the last quarter on
            keep = np.clip((np.arange(shared, dtype=np.float32) + 0.5) / shared * 2 - 0.5, 0, 1)
            keep = keep.reshape(-1, *(1,) * (batch.ndim - 3))
            blended = here[:, :, :shared] * (1 - keep) + strip[:, :, :shared] * keep
            here[:, :, :shared] = np.rint(blended).astype(strip.dtype)
            here[:, :, shared:] = strip[:, :, shared:]
        else:
            here[:] = strip
    assert result is not None
    return result
