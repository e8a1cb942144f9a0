"""Image files: write, whole or not at all."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dlkit.atomic import write_new
from dlkit.errors import InputError
from dlkit.images.files import reason
from dlkit.images.geometry import Image, UInt8

# Of grey levels alone, as they are written here; with what a name of such a picture has already.
_GREY = re.compile(r"\.(pgm|pnm|pbm|gif)(\.png)*$", re.IGNORECASE)
_FRAME = 100  # milliseconds of a frame: OpenCV does not tell what it was


def in_colours(name: str) -> str:
    """What a picture in colours of a file is called: ``.png`` is added where the file's format is
    written in grey alone; what would then have the name of another picture moves on as well."""
    return name + (".png" if _GREY.search(name) else "")


def write(path: Path, image: Image) -> None:
    """Encode by the path's ending and write whole or not at all; makes missing folders.

    Raises:
        InputError: the format cannot hold the image.
        MachineError: the file cannot be written.
    """
    write_frames(path, [image])


def encode(image: Image, ending: str) -> bytes:
    """An image as the bytes of a file, e.g. of the ending ``.png``.

    Raises:
        InputError: the format cannot hold it.
    """
    return _encoded("the answer", ending, lambda: cv2.imencode(ending, image), image)


def write_frames(path: Path, frames: Sequence[Image]) -> None:
    """Several images into one file, as frames or pages.

    Raises:
        InputError: the format holds one image only, or not such ones.
        MachineError: the file cannot be written.
    """
    if path.suffix.lower() == ".gif":
        _write(path, lambda: _gif(frames), frames[0])
    elif len(frames) == 1:
        _write(path, lambda: cv2.imencode(_ending(path), frames[0]), frames[0])
    elif path.suffix.lower() in (".tif", ".tiff"):
        _write(path, lambda: cv2.imencodemulti(".tif", list(frames)), frames[0])
    else:
        animation = cv2.Animation()
        animation.frames = [_animated(frame) for frame in frames]
        animation.durations = [_FRAME] * len(frames)
        _write(path, lambda: cv2.imencodeanimation(_ending(path), animation), frames[0])


def _gif(frames: Sequence[Image]) -> tuple[bool, UInt8]:
    """Every level of grey as it is: OpenCV's encoder would make dots of them."""
    from PIL import Image as Pil

    if any(frame.ndim != 2 or frame.dtype != np.uint8 for frame in frames):
        return False, np.empty(0, np.uint8)
    first, *more = [Pil.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=more, duration=_FRAME, loop=0)
    return True, np.frombuffer(file.getvalue(), np.uint8)


def _animated(frame: Image) -> Image:
    if frame.ndim == 3 and frame.shape[2] == 4:
        return frame
    code = cv2.COLOR_GRAY2BGRA if frame.ndim == 2 else cv2.COLOR_BGR2BGRA
    return np.asarray(cv2.cvtColor(frame, code))


def _ending(path: Path) -> str:
    """The ending by which OpenCV knows how to encode."""
    ending = path.suffix.lower()
    return {".jfif": ".jpg", ".jpe": ".jpg", ".apng": ".png", ".pnm": ".pgm"}.get(ending, ending)


def _write(path: Path, encode: Any, image: Image) -> None:
    write_new(path, _encoded(str(path), path.suffix, encode, image))


def _encoded(name: str, ending: str, encode: Any, image: Image) -> bytes:
    try:
        done, data = encode()
    except cv2.error as error:
        raise InputError(f"{name}: cannot be encoded ({reason(error)})") from error
    if not done:
        raise InputError(f"{name}: {ending} cannot hold {image.dtype} {image.shape}")
    return bytes(data.tobytes())
