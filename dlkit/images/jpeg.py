"""JPEG files, and several in one (MPO, by CIPA DC-007)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from dlkit.images.geometry import Image, check_size, turned
from dlkit.images.tiff_tags import directories

_APP1, _APP2, _SCAN = 0xE1, 0xE2, 0xDA
_FILL = 0xFF  # any number of them may come before a marker (ISO/IEC 10918-1, B.1.1.2)
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_MPF = b"MPF\0"
_VERSION, _NUMBER = 0xB000, 0xB001  # tags: of the standard, and how many pictures there are
_IMAGES = 0xB002  # tag: 16 bytes for each picture
_PRIMARY = 0x030000  # the first of them is the one to show
_BYTES, _LONG = 7, 4  # types of an entry (TIFF 6.0, UNDEFINED and LONG)
_HEAD = 50  # bytes before the list: its form, and three entries
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
        ValueError: one has alpha, or more than 8 bits; or they are more than their list can hold.
    """
    if any(one.dtype != np.uint8 or (one.ndim == 3 and one.shape[2] != 3) for one in frames):
        raise ValueError
    pictures = [cv2.imencode(".jpg", one)[1].tobytes() for one in frames]
    at = 4 + int.from_bytes(pictures[0][4:6], "big")  # behind the JFIF segment, which comes first
    segment = _segment([len(one) for one in pictures], at)
    return b"".join([pictures[0][:at], segment, pictures[0][at:], *pictures[1:]])


def _segment(sizes: Sequence[int], at: int) -> bytes:
    """The list of pictures, which is to stand at that byte of the first one.

    Raises:
        ValueError: they are too many for it.
    """
    count = len(sizes)
    length = 2 + len(_MPF) + _HEAD + 16 * count
    if length >= _NEAR:
        raise ValueError
    head = b"II*\0" + struct.pack("<IH", 8, 3)
    head += struct.pack("<HHI4s", _VERSION, _BYTES, 4, b"0100")
    head += struct.pack("<HHII", _NUMBER, _LONG, 1, count)
    head += struct.pack("<HHIII", _IMAGES, _BYTES, 16 * count, _HEAD, 0)
    first = sizes[0] + 2 + length
    rows, place = [struct.pack("<" + _IMAGE, _PRIMARY, first, 0, 0, 0)], first
    for size in sizes[1:]:
        rows.append(struct.pack("<" + _IMAGE, 0, size, place - at - 4 - len(_MPF), 0, 0))
        place += size
    return struct.pack(">BBH", 0xFF, _APP2, length) + _MPF + head + b"".join(rows)


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
            raise ValueError(
                "it lists pictures that are not there: it is cut, or its list is wrong"
            )
        yield others + start, size
