"""Image files: read, and decode with all their frames, upright."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from dlkit.errors import InputError, UsageError
from dlkit.images import avif, bmp, jpeg, png, pnm, tiff
from dlkit.images.geometry import Image, check, turned
from dlkit.images.tiff_tags import is_tiff
from dlkit.limits import max_pixels

SUFFIXES = frozenset(
    (
        ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".pgm",
        ".ppm", ".pnm", ".gif", ".jp2", ".avif",
    )
)  # fmt: skip
FRAMES = ("all", "first")

# Plain system calls: half the time of open() for small files, and there are many. A pipe without a
# writer must not keep the run waiting.
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def read(path: Path | str) -> Image:
    """Decode an image file as it is stored; of several frames the first one.

    Returns:
        uint8 or uint16, (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA.

    Raises:
        InputError: no image, truncated, damaged, empty, of another depth, or too large.
    """
    return decode(read_bytes(path)[0], path)


def read_bytes(path: Path | str) -> tuple[bytes, os.stat_result]:
    """A file's bytes, and its size and date as they were when it was read.

    Raises:
        InputError: missing, no file, or not readable.
    """
    try:
        handle = os.open(path, _READ)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise _no_file(path)
            data = os.read(handle, status.st_size)
            while len(data) < status.st_size and (more := os.read(handle, status.st_size)):
                data += more  # one call gives at most 2 GiB
        finally:
            os.close(handle)
    except (OSError, MemoryError) as error:
        why = getattr(error, "strerror", None) or "not enough memory"
        raise InputError(f"{path}: cannot be read ({why})") from error
    return data, status


def open_file(path: Path | str) -> IO[bytes]:
    """An open file, to be read in order.

    Raises:
        InputError: missing, no file, or not readable.
    """
    try:
        handle = os.open(path, _READ)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise _no_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return os.fdopen(handle, "rb")


def decode(data: bytes, path: Path | str, upright: bool = False) -> Image:
    """What ``read`` does, from bytes.

    Args:
        path: for messages.
        upright: turn it as the file says, in most formats by EXIF.
    """
    return decode_frames(data, path, upright, "first")[0]


def decode_frames(
    data: bytes, path: Path | str, upright: bool = False, frames: str = "all"
) -> list[Image]:
    """All frames or pages of an image file, in order; or the first one alone.

    Args:
        path: for messages.
        upright: turn them as the file says, in most formats by EXIF.
        frames: ``all``, ``first``, or the number of one, from 1.

    Returns:
        uint8, uint16 or float32 (TIFF), (H, W), (H, W, 3) BGR or (H, W, 4) BGRA each.

    Raises:
        InputError: as ``read`` has it; or there is no such frame.
        UsageError: ``frames`` is none of these.
    """
    if frames not in FRAMES and not frames.isdecimal():
        raise UsageError(f"frames is '{frames}', expected all, first, or a number from 1")
    if not data:
        raise InputError(f"{path}: is empty")
    try:
        kinds = png.chunks(data, path) if png.is_png(data) else {}
        # most files of large folders are one picture each that is not turned: no detours
        if kinds and frames in FRAMES and kinds.keys().isdisjoint((b"acTL", b"eXIf", b"tRNS")):
            image = _whole(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), path)
            if image.dtype.char in "BH":  # and then nothing else can be wrong
                return [image]
        found = _decode(data, path, upright, frames != "first", kinds)
    except (cv2.error, MemoryError, ValueError) as error:
        raise InputError(f"{path}: cannot be decoded ({reason(error)})") from error
    if frames not in FRAMES:
        number = int(frames)
        if not 1 <= number <= len(found):
            raise InputError(f"{path}: has no frame {number}, but {len(found)}")
        found = [found[number - 1]]
    for image in found:
        if image.dtype == np.float32:  # of TIFF: whoever takes it must know its range
            continue
        try:
            check(image)
        except InputError as error:
            raise InputError(f"{path}: {error.what}", error.mend) from error
    return found


def _decode(
    data: bytes, path: Path | str, upright: bool, several: bool, kinds: png.Chunks
) -> list[Image]:
    if jpeg.is_jpeg(data):
        return jpeg.read(data, path, upright, several)
    if is_tiff(data):
        return tiff.read(data, path, several)
    if pnm.is_pnm(data):
        return pnm.read(data, path, several)
    moves = _moves(data)
    found = _pictures(data, path, several and (b"acTL" in kinds or moves))
    if moves:
        found = [_as_stored(one) for one in found]
    if kinds:
        found = png.with_alpha(data, kinds, found)
        return [turned(one, png.exif(data, kinds)) for one in found] if upright else found
    if bmp.is_bmp(data):
        return [bmp.as_meant(data, one) for one in found]
    if avif.is_avif(data):
        found = [avif.widened(data, one) for one in found]
        return [avif.turned(data, one) for one in found] if upright else found
    return [turned(one, _exif_of_webp(data)) for one in found] if upright else found


def _pictures(data: bytes, path: Path | str, animated: bool) -> list[Image]:
    """As OpenCV gives them."""
    pixels = np.frombuffer(data, np.uint8)
    if not animated:
        return [_whole(cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED), path)]
    done, animation = cv2.imdecodeanimation(pixels)
    if not (done and len(animation.frames)):
        raise InputError(f"{path}: is damaged: its frames cannot be decoded")
    return [np.asarray(frame) for frame in animation.frames]


def _exif_of_webp(data: bytes) -> bytes:
    """Its EXIF block; empty where there is none, and of files of other kinds."""
    at = 12 if data.startswith(b"RIFF") else len(data)
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return b""


def _whole(image: Any, path: Path | str) -> Image:
    if image is None:
        raise InputError(f"{path}: is no image that can be decoded, or is damaged")
    return np.asarray(image)


def _moves(data: bytes) -> bool:
    """Whether a WebP, GIF or AVIF may have several frames."""
    if data.startswith(b"RIFF"):  # a colour profile of any size may come before its frames
        return data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 2)
    return data.startswith(b"GIF8") or data[4:12] == b"ftypavis"


def _as_stored(image: Image) -> Image:
    """OpenCV gives every frame of GIF, WebP and AVIF colours, and some an alpha that hides
    nothing."""
    if image.ndim == 3 and image.shape[2] == 4 and (image[:, :, 3] == 255).all():
        image = image[:, :, :3]
    grey = image.ndim == 3 and image.shape[2] == 3 and (image[:, :, :1] == image[:, :, 1:]).all()
    return np.ascontiguousarray(image[:, :, 0] if grey else image)


def _no_file(path: Path | str) -> InputError:
    return InputError(f"{path}: is no file, but a folder, a pipe or a device")


def reason(error: BaseException) -> str:
    """What OpenCV says, in one line."""
    line = str(error).strip().partition("\n")[0]
    if "CV_IO_MAX_IMAGE" in line:
        return f"it has more than {max_pixels() / 1e6:.0f} million pixels; see --max-pixels"
    return line or "not enough memory"
