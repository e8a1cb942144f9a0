"""JPEG files, and several in one (MPO, by CIPA DC-007)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from dlkit.images.geometry import Image, check_size, turned
from dlkit.images.tiff_tags import directories

_QUALITY = 95  # as OpenCV writes one picture
_APP1, _APP2, _SCAN = 0xE1, 0xE2, 0xDA
_FILL = 0xFF  # any number of them may come before a marker (ISO/IEC 10918-1, B.1.1.2)
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_MPF = b"MPF\0"
_IMAGES = 0xB002  # tag: 16 bytes for each picture
_IMAGE = "IIIHH"  # what it is, size, place after the head of the list; two others
# Pictures that only tell how bright the first one is (Ultra HDR, Apple, ISO 21496-1).
_GAINS = (b"hdrgm", b"HDRGainMap", b"urn:iso:std:iso:ts:21496")
_NEAR = 1 << 16  # bytes of a picture in which that is said


def is_jpeg(data: bytes) -> bool:
    """Whether a file begins as they do."""
    return data.startswith(b"\xff\xd8")


def read(data: bytes, path: object, upright: bool, several: bool) -> list[Image]:
    """Its pictures, strictly: libjpeg goes on past damage with a warning, which must not be missed.

    Thumbnails, and how much brighter the first picture is where, are none.

    Args:
        path: for messages.
        upright: turn them as their EXIF orientation says.
        several: all of them; or the first alone.

    Raises:
        InputError: too large.
        ValueError: damaged.
    """
    exif, others = _heads(data)
    first = decoded(data, path)
    found = [turned(first, exif) if upright else first]
    if not (several and others):
        return found
    for start, size in _listed(data, others):
        other = data[start : start + size]
        if any(word in other[:_NEAR] for word in _GAINS):
            continue
        own, _ = _heads(other)
        picture = decoded(other, path)
        if picture.shape[:2] == first.shape[:2]:
            found.append(turned(picture, own or exif) if upright else picture)
    return found


def decoded(data: bytes, path: object) -> Image:
    """The first picture alone, strictly.

    Raises:
        InputError: too large.
        ValueError: damaged.
    """
    import simplejpeg

    height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    check_size(width, height, path)
    wanted = "GRAY" if space == "Gray" else "BGR"
    image = simplejpeg.decode_jpeg(data, colorspace=wanted, strict=True)
    return np.asarray(image[:, :, 0] if space == "Gray" else image)


def encoded(frames: Sequence[Image]) -> bytes:
    """Several pictures in one file.

    Raises:
        ValueError: one has alpha, or more than 8 bits.
    """
    from PIL import Image as Pil

    if any(one.dtype != np.uint8 or (one.ndim == 3 and one.shape[2] != 3) for one in frames):
        raise ValueError
    first, *more = [
        Pil.fromarray(one if one.ndim == 2 else np.ascontiguousarray(one[:, :, ::-1]))
        for one in frames
    ]
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=more, quality=_QUALITY)
    return file.getvalue()


def _heads(data: bytes) -> tuple[bytes, int]:
    """Its EXIF block, and where its list of pictures begins; empty and 0 where there is none."""
    exif, others = b"", 0
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        if data[at + 1] == _FILL or data[at + 1] in _ALONE:
            at += 1 if data[at + 1] == _FILL else 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == _APP1 and not exif and data.startswith(b"Exif\0\0", at + 4):
            exif = data[at + 4 : at + 2 + size]
        elif data[at + 1] == _APP2 and data.startswith(_MPF, at + 4):
            others = at + 4 + len(_MPF)
        at += 2 + size
    return exif, others


def _listed(data: bytes, others: int) -> Iterator[tuple[int, int]]:
    """Place and size of each picture but the first."""
    block = data[others : others + _NEAR]
    listed = bytes(next(directories(block, (_IMAGES,)), {}).get(_IMAGES, ()))
    form = struct.Struct(("<" if block.startswith(b"II") else ">") + _IMAGE)
    for place in range(form.size, len(listed) - form.size + 1, form.size):
        _, size, start, _, _ = form.unpack_from(listed, place)
        if others + start + size > len(data):
            raise ValueError("it lists pictures that are not there: it is cut")
        yield others + start, size
