"""AVIF files of 10 and 12 bits, whose values OpenCV gives and takes as they are."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit.images.geometry import Image

_MOST = 4095  # 12 bits, the most that AV1 has


def is_avif(data: bytes) -> bool:
    """Whether a file begins as they do."""
    return data[4:10] == b"ftypav"


def widened(data: bytes, image: Image) -> Image:
    """An image of such a file, in the whole range of 16 bits where it has more than 8."""
    at = data.find(b"av1C")  # two bytes after its name (AV1 in ISOBMFF, 2.3.3)
    if image.dtype != np.uint16 or not 0 <= at < len(data) - 6:
        return image
    most = _MOST if data[at + 6] & 0x20 else 1023
    return np.rint(np.minimum(image, most) * (65535 / most)).astype(np.uint16)


def encoded(image: Image) -> tuple[bool, np.ndarray[tuple[int], np.dtype[np.uint8]]]:
    """As ``cv2.imencode`` has it; 16 bits as 12."""
    if image.dtype != np.uint16:
        return cv2.imencode(".avif", image)
    values = np.rint(image * (_MOST / 65535)).astype(np.uint16)
    return cv2.imencode(".avif", values, [cv2.IMWRITE_AVIF_DEPTH, 12])
