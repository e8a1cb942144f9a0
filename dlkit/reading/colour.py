"""An image of any kind in one channel in which the ink shows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.reading.crops import half

_LOOK = 256  # pixels of the longer side for a look at the colours
# Red on green of the same brightness is no contrast in grey. Only a clear gain is worth another
# axis than grey: on those noise and the coarse chroma of JPEG weigh more.
_GAIN = 4.0


def channel(image: images.Image) -> images.UInt8:
    """The image as uint8 (H, W): grey, or along the axis of colour on which ink and paper differ;
    what is transparent lies on paper."""
    image = on_paper(image)
    grey = images.grey(image)
    if image.ndim == 2 or image.shape[2] == 1:
        return grey
    small = _small(image[:, :, :3])
    width = max(small.shape[:2]) // 4 | 1
    rest = (small - np.dstack([_middle(small[:, :, part], width) for part in range(3)])).reshape(
        -1, 3
    )
    spread = rest.T @ rest
    _, vectors = np.linalg.eigh(spread)
    axis = vectors[:, -1]
    weights = np.array([0.114, 0.587, 0.299])  # of blue, green, red: ITU-R BT.601, as in grey
    weights /= np.linalg.norm(weights)
    if axis @ spread @ axis < _GAIN * (weights @ spread @ weights):
        return grey
    along = cv2.transform(image[:, :, :3].astype(np.float32), axis.astype(np.float32)[None])
    low, high = along.min(), along.max()
    return np.asarray((along - low) * (255 / max(high - low, 1e-6)), np.uint8)


def on_paper(image: images.Image) -> images.Image:
    """The image without alpha: where that varies, on black if its opaque part is bright, else on
    white."""
    if image.ndim == 2 or image.shape[2] != 4:
        return image
    alpha = image[:, :, 3]
    most = np.iinfo(image.dtype).max
    if alpha.min() == alpha.max():
        return image[:, :, :3]
    share = alpha.astype(np.float32)[:, :, None] / most
    colours = image[:, :, :3].astype(np.float32)
    bright = (colours * share).sum() / share.sum() / 3 > most / 2
    paper = 0 if bright else most
    return np.asarray(colours * share + paper * (1 - share), image.dtype)


def _small(image: images.Image) -> NDArray[np.float32]:
    while max(image.shape[:2]) >= 4 * _LOOK:
        image = half(image)
    scale = min(1.0, _LOOK / max(image.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(small / (257 if image.dtype == np.uint16 else 1), np.float32)


def _middle(plane: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The median around each pixel."""
    return cv2.medianBlur(plane.astype(np.uint8), width).astype(np.float32)
