"""Image files: write, whole or not at all."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath

import cv2
import numpy as np

from dlkit.atomic import write_new
from dlkit.errors import InputError
from dlkit.images import apng, avif, jpeg, pnm
from dlkit.images.files import reason
from dlkit.images.geometry import Image

# Of grey levels alone, as they are written here; with what a name of such a picture has already.
_GREY = re.compile(r"\.(pgm|pnm|pbm|gif)(\.png)*$", re.IGNORECASE)
# Endings by which the formats are told apart here, and by OpenCV.
_ENDINGS = {
    ".jpeg": ".jpg", ".jfif": ".jpg", ".jpe": ".jpg", ".apng": ".png", ".tiff": ".tif",
}  # fmt: skip
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
    return _encoded("the answer", ending, [image])


def write_frames(path: Path, frames: Sequence[Image]) -> None:
    """Several images into one file, as frames or pages.

    Raises:
        InputError: the format holds one image only, or not such ones.
        MachineError: the file cannot be written.
    """
    write_new(path, encode_frames(str(path), frames))


def encode_frames(name: str, frames: Sequence[Image]) -> bytes:
    """Several images, as frames or pages, as the bytes of a file of this name.

    Raises:
        InputError: the format holds one image only, or not such ones.
    """
    return _encoded(name, PurePath(name).suffix, frames)


def _encoded(name: str, ending: str, frames: Sequence[Image]) -> bytes:
    try:
        return _file(_ENDINGS.get(ending.lower(), ending.lower()), frames)
    except cv2.error as error:
        raise InputError(f"{name}: cannot be encoded ({reason(error)})") from error
    except ValueError as error:
        kinds = " and ".join(sorted({f"{one.dtype} {one.shape}" for one in frames}))
        many = f"{len(frames)} images of " if len(frames) > 1 else ""
        raise InputError(f"{name}: {ending} cannot hold {many}{kinds}") from error


def _file(ending: str, frames: Sequence[Image]) -> bytes:
    """A file's bytes.

    Raises:
        ValueError: the format cannot hold it.
        cv2.error: nor this.
    """
    if ending == ".gif":
        return _gif(frames)
    if ending in (".pgm", ".ppm", ".pnm"):
        if ending == ".pgm" and any(frame.ndim != 2 for frame in frames):
            raise ValueError
        return pnm.encoded(frames)
    if len(frames) > 1 and ending in (".jpg", ".png"):
        return jpeg.encoded(frames) if ending == ".jpg" else apng.encoded(frames, _FRAME)
    if len(frames) == 1:
        encode = avif.encoded if ending == ".avif" else partial(cv2.imencode, ending)
        done, data = encode(frames[0])
    elif ending == ".tif":
        done, data = cv2.imencodemulti(ending, list(frames))
    elif any(frame.dtype != np.uint8 for frame in frames):
        raise ValueError  # OpenCV would make 8 bits of them
    else:
        animation = cv2.Animation()
        animation.frames = [_animated(frame) for frame in frames]
        animation.durations = [_FRAME] * len(frames)
        done, data = cv2.imencodeanimation(ending, animation)
    if not done:
        raise ValueError
    return bytes(data.tobytes())


def _gif(frames: Sequence[Image]) -> bytes:
    """Every level of grey as it is: OpenCV's encoder would make dots of them."""
    from PIL import Image as Pil

    if any(frame.ndim != 2 or frame.dtype != np.uint8 for frame in frames):
        raise ValueError
    first, *more = [Pil.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=more, duration=_FRAME, loop=0)
    return file.getvalue()


def _animated(frame: Image) -> Image:
    if frame.ndim == 3 and frame.shape[2] == 4:
        return frame
    code = cv2.COLOR_GRAY2BGRA if frame.ndim == 2 else cv2.COLOR_BGR2BGRA
    return np.asarray(cv2.cvtColor(frame, code))
