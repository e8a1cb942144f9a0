"""What is done to images in memory: channels, depths, sizes."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError
from dlkit.limits import max_pixels

UInt8: TypeAlias = NDArray[np.uint8]  # (H, W) grey or (H, W, 3) colour
Image: TypeAlias = NDArray[Any]  # uint8 or uint16

# A uint16 value v stands for the same brightness as the uint8 value v / 257 (65535 = 255 * 257).
_UINT16_PER_UINT8 = 257
_ORIENTATION = 0x0112  # Exif 2.32, tag Orientation
_SMALLER = "Cut or shrink it, or allow it with --max-pixels"


def check(image: Image, floats: bool = False) -> None:
    """Refuse what is no image.

    Args:
        floats: float32 is taken, too.

    Raises:
        InputError: not uint8 or uint16; not (H, W), (H, W, 3) or (H, W, 4); empty; too large; NaN
            or infinity.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"got {type(image).__name__}, expected a numpy array")
    if image.dtype not in (np.uint8, np.uint16) and not (floats and image.dtype == np.float32):
        raise InputError(f"has {image.dtype} pixels, expected uint8 or uint16: convert it first")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise InputError(f"has shape {image.shape}, expected (H, W), (H, W, 3) or (H, W, 4)")
    if image.size == 0:
        raise InputError(f"has shape {image.shape}: no pixels")
    if (pixels := image.shape[0] * image.shape[1]) > (most := max_pixels()):
        raise InputError(
            f"has {pixels / 1e6:.0f} million pixels, at most {most / 1e6:.0f} are taken", _SMALLER
        )
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise InputError(
            "has NaN or infinity, which stands for no brightness",
            "Write a number where nothing was measured, e.g. what stands for black",
        )


def check_size(width: int, height: int, path: object) -> None:
    """Refuse what is too large before anything is decoded; of some formats that is OpenCV's to do.

    Raises:
        InputError: it has too many pixels.
    """
    if width * height > (most := max_pixels()):
        raise InputError(
            f"{path}: has {width} x {height} pixels, at most {most / 1e6:.0f} million are taken",
            _SMALLER,
        )


def grey(image: Image) -> UInt8:
    """Any image as uint8 grey (H, W); colour by the luma weights of ITU-R BT.601, alpha ignored."""
    if image.dtype == np.uint16:
        image = _to_uint8(image)
    if image.ndim == 2:
        return image
    if image.shape[2] == 1:
        return image[:, :, 0]
    code = cv2.COLOR_BGR2GRAY if image.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


def is_grey(image: Image) -> bool:
    """Whether an image has one channel, or equal ones; alpha is ignored."""
    if image.ndim == 2 or image.shape[2] == 1:
        return True
    return bool((image[:, :, :1] == image[:, :, 1:3]).all())


def colour(image: Image, order: str) -> UInt8:
    """Any image as uint8 in the channels that a network takes; alpha is ignored.

    Args:
        order: ``grey`` gives (H, W); ``rgb`` and ``bgr`` give (H, W, 3).
    """
    if order == "grey":
        return grey(image)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(grey(image)[:, :, None], 3, axis=2)
    if image.dtype == np.uint16:
        image = _to_uint8(image)
    bgr = image[:, :, :3]
    return np.ascontiguousarray(bgr if order == "bgr" else bgr[:, :, ::-1])


def like(original: Image, pixels: UInt8, order: str = "grey") -> Image:
    """What a network gave in the depth and channels of the image that went in, its alpha kept.

    Args:
        pixels: uint8 (H, W) or (H, W, 3); of another size than ``original`` alpha is scaled to it.
        order: of its channels, ``grey``, ``rgb`` or ``bgr``.
    """
    if order == "rgb":
        pixels = pixels[:, :, ::-1]
    channels = 1 if original.ndim == 2 else original.shape[2]
    if channels == 1 and pixels.ndim == 3:
        pixels = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2GRAY))
    result: Image = pixels
    if original.dtype == np.uint16:
        result = pixels.astype(np.uint16) * _UINT16_PER_UINT8
    if original.ndim == 2:
        return result
    parts = [result] * min(channels, 3) if result.ndim == 2 else list(np.moveaxis(result, 2, 0))
    if channels == 4:
        alpha = original[:, :, 3]
        if alpha.shape != parts[0].shape:
            size = parts[0].shape[::-1]
            alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_NEAREST)
        parts.append(alpha)
    return np.stack(parts, axis=2)


def turned(image: Image, exif: bytes) -> Image:
    """Upright, as an EXIF block says, where one does."""
    orientation = _orientation(exif) if exif else 1
    if orientation in (5, 6, 7, 8):
        image = np.swapaxes(image, 0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def pad(pixels: UInt8, multiple_of: int) -> UInt8:
    """Repeat the last row and column until height and width are multiples; crop undoes it."""
    bottom, right = (-size % multiple_of for size in pixels.shape[:2])
    if not (bottom or right):
        return pixels
    padded = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)


def crop(pixels: UInt8, height: int, width: int) -> UInt8:
    """The top left height x width pixels."""
    return pixels[:height, :width]


def fit(pixels: UInt8, height: int, width: int) -> UInt8:
    """Scale into height x width keeping the aspect, centred, the rest black."""
    return resize(pixels, height, width, "letterbox")


def resize(pixels: UInt8, height: int, width: int, how: str) -> UInt8:
    """Bring an image to height x width.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        how: ``stretch``; ``letterbox`` keeps the aspect and puts it in the middle of black;
            ``crop`` keeps the aspect and cuts what is too much at both sides.
    """
    here = pixels.shape[:2]
    if here == (height, width):
        return pixels
    if how == "stretch":
        return _scaled(pixels, height, width)
    ratios = (height / here[0], width / here[1])
    ratio = min(ratios) if how == "letterbox" else max(ratios)
    inner_h, inner_w = (max(1, round(side * ratio)) for side in here)
    if how == "crop":
        inner_h, inner_w = max(height, inner_h), max(width, inner_w)
        top, left = (inner_h - height) // 2, (inner_w - width) // 2
        return _scaled(pixels, inner_h, inner_w)[top : top + height, left : left + width]
    inner_h, inner_w = min(height, inner_h), min(width, inner_w)
    canvas = np.zeros((height, width, *pixels.shape[2:]), np.uint8)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    canvas[top : top + inner_h, left : left + inner_w] = _scaled(pixels, inner_h, inner_w)
    return canvas


def _scaled(pixels: UInt8, height: int, width: int) -> UInt8:
    smaller = height * width < pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _to_uint8(image: Image) -> UInt8:
    wide = image.astype(np.uint32) + _UINT16_PER_UINT8 // 2
    return (wide // _UINT16_PER_UINT8).astype(np.uint8)


def _orientation(exif: bytes) -> int:
    """As EXIF counts them, 1 to 8; 1 where there is none."""
    from PIL import Image as Pil

    try:
        found = Pil.Exif()
        found.load(exif)
        return int(found.get(_ORIENTATION, 1))
    except Exception:  # of a damaged block, which has many ways to be damaged
        return 1
