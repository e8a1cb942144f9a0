"""Image files and geometry: read, write, pad, crop, grey."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.atomic import write_bytes
from dlkit.errors import InputError

Pixels: TypeAlias = NDArray[np.uint8]
Image: TypeAlias = NDArray[Any]  # uint8 or uint16

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm"})
MAX_PIXELS = 256 * 1024 * 1024  # 16384 x 16384: 768 MiB in colour, before anything is computed

# A uint16 value v stands for the same brightness as the uint8 value v / 257 (65535 = 255 * 257).
_UINT16_PER_UINT8 = 257


def read(path: Path | str) -> Image:
    """Decode an image file as it is stored.

    Returns:
        uint8 or uint16, (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA.

    Raises:
        InputError: no image, truncated, empty, of another depth, or above ``MAX_PIXELS``.
    """
    return decode(read_bytes(path)[0], path)


def read_bytes(path: Path | str) -> tuple[bytes, os.stat_result]:
    """A file's bytes, and its size and date as they were when it was read.

    Raises:
        InputError: missing, no file, or not readable.
    """
    try:
        # Plain system calls: half the time of open() for small files, and there are many.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{path}: is no file")
            data = os.read(handle, status.st_size)
            while len(data) < status.st_size and (more := os.read(handle, status.st_size)):
                data += more  # one call gives at most 2 GiB
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return data, status


def decode(data: bytes, path: Path | str) -> Image:
    """What ``read`` does, from bytes; ``path`` is for messages."""
    if not data:
        raise InputError(f"{path}: is empty")
    if data.startswith(b"\x89PNG") and data.rfind(b"IEND") < 0:
        raise InputError(f"{path}: is truncated (a PNG without its end)")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        raise InputError(f"{path}: cannot be decoded ({_first_line(error)})") from error
    if image is None:
        raise InputError(f"{path}: is no image that can be decoded, or is damaged")
    try:
        check(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return image


def check(image: Image) -> None:
    """Refuse what is no image.

    Raises:
        InputError: not uint8 or uint16; not (H, W), (H, W, 3) or (H, W, 4); empty; too large.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"got {type(image).__name__}, expected a numpy array")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"has {image.dtype} pixels, expected uint8 or uint16: convert it first")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise InputError(f"has shape {image.shape}, expected (H, W), (H, W, 3) or (H, W, 4)")
    if image.size == 0:
        raise InputError(f"has shape {image.shape}: no pixels")
    if (pixels := image.shape[0] * image.shape[1]) > MAX_PIXELS:
        raise InputError(
            f"has {pixels / 1e6:.0f} million pixels, at most {MAX_PIXELS / 1e6:.0f} are taken: "
            "cut or shrink it first"
        )


def grey(image: Image) -> Pixels:
    """Any image as uint8 grey (H, W); colour by the luma weights of ITU-R BT.601, alpha ignored."""
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + _UINT16_PER_UINT8 // 2) // _UINT16_PER_UINT8).astype(
            np.uint8
        )
    if image.ndim == 2:
        return image
    if image.shape[2] == 1:
        return image[:, :, 0]
    code = cv2.COLOR_BGR2GRAY if image.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


def like(original: Image, pixels: Pixels) -> Image:
    """Grey uint8 (H, W) in the depth and channels of ``original``, its alpha kept."""
    result: Image = pixels
    if original.dtype == np.uint16:
        result = pixels.astype(np.uint16) * _UINT16_PER_UINT8
    if original.ndim == 2:
        return result
    channels = [result] * min(original.shape[2], 3)
    if original.shape[2] == 4:
        channels.append(original[:, :, 3])
    return np.stack(channels, axis=2)


def pad(pixels: Pixels, multiple_of: int) -> Pixels:
    """Repeat the last row and column until height and width are multiples; crop undoes it."""
    bottom, right = (-size % multiple_of for size in pixels.shape)
    if not (bottom or right):
        return pixels
    padded = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)


def crop(pixels: Pixels, height: int, width: int) -> Pixels:
    """The top left height x width pixels."""
    return pixels[:height, :width]


def fit(pixels: Pixels, height: int, width: int) -> Pixels:
    """Scale into height x width keeping the aspect, centred, the rest black. Grey uint8 (H, W)."""
    if pixels.shape == (height, width):
        return pixels
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    inner_h = min(height, max(1, round(pixels.shape[0] * scale)))
    inner_w = min(width, max(1, round(pixels.shape[1] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((height, width), np.uint8)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    canvas[top : top + inner_h, left : left + inner_w] = cv2.resize(
        pixels, (inner_w, inner_h), interpolation=how
    )
    return canvas


def write(path: Path, image: Image) -> None:
    """Encode by the path's ending and write whole or not at all; makes missing folders.

    Raises:
        InputError: the format cannot hold the image, or the file cannot be written.
    """
    try:
        done, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be encoded ({_first_line(error)})") from error
    if not done:
        raise InputError(f"{path}: {path.suffix} cannot hold {image.dtype} {image.shape}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data.tobytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
