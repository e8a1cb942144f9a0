"""AVIF files: how they are turned, which OpenCV passes over, and their 10 and 12 bits, whose values
it gives and takes as they are."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from dlkit.images.geometry import Image

_MOST = 4095  # 12 bits, the most that AV1 has
_FULL = 4  # bytes of version and flags, at the beginning of some boxes


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


def turned(data: bytes, image: Image) -> Image:
    """Upright: first ``irot``, then ``imir`` (ISO/IEC 23000-22, 7.3.6.7). What EXIF says beside
    them is for nobody's eyes (ISO/IEC 23008-12, A.2.1)."""
    for kind, value in _transforms(data):
        if kind == b"irot":
            image = np.rot90(image, value & 3)  # to the left
        else:
            image = image[:, ::-1] if value & 1 else image[::-1]
    return np.ascontiguousarray(image)


def encoded(image: Image) -> tuple[bool, np.ndarray[tuple[int], np.dtype[np.uint8]]]:
    """As ``cv2.imencode`` has it; 16 bits as 12."""
    if image.dtype != np.uint16:
        return cv2.imencode(".avif", image)
    values = np.rint(image * (_MOST / 65535)).astype(np.uint16)
    return cv2.imencode(".avif", values, [cv2.IMWRITE_AVIF_DEPTH, 12])


def _transforms(data: bytes) -> list[tuple[bytes, int]]:
    """Kind and value of what is done to the picture that is shown, in order (23008-12, 9.3)."""
    try:
        meta = _within(data, _boxes(data, 0, len(data)), b"meta", _FULL)
        primary = next(data[at:end] for kind, at, end in meta if kind == b"pitm")
        number = int.from_bytes(primary[_FULL:], "big")  # 16 bits or 32, nothing behind
        parts = _within(data, meta, b"iprp")
        properties = _within(data, parts, b"ipco")
        found = []
        for kind, at, end in parts:
            if kind == b"ipma":
                for place in _places(data[at:end], number):
                    name, start, _ = properties[place - 1]
                    if place and name in (b"irot", b"imir"):
                        found.append((name, data[start]))
        return sorted(found, reverse=True)
    except (IndexError, StopIteration):  # of a damaged file, and of one without such a list
        return []


Box = tuple[bytes, int, int]  # kind, where its content begins and ends


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """One behind the other (ISO/IEC 14496-12, 4.2)."""
    while at + 8 <= end:
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or end - at  # 0: to the end
        if size < head:
            return
        yield kind, at + head, min(at + size, end)
        at += size


def _within(data: bytes, boxes: Iterator[Box] | list[Box], kind: bytes, skip: int = 0) -> list[Box]:
    """The boxes inside the first one of a kind."""
    _, at, end = next(box for box in boxes if box[0] == kind)
    return list(_boxes(data, at + skip, end))


def _places(ipma: bytes, number: int) -> list[int]:
    """The properties of an item, counted from 1."""
    wide_items, wide_places = ipma[0] > 0, ipma[3] & 1
    width, step = (4 if wide_items else 2), (2 if wide_places else 1)
    at = _FULL + 4
    for _ in range(int.from_bytes(ipma[_FULL:at], "big")):
        item = int.from_bytes(ipma[at : at + width], "big")
        at += width
        count = ipma[at]
        at += 1
        if item == number:
            mask = 0x7FFF if wide_places else 0x7F  # without the bit that says it is needed
            ends = range(at, at + count * step, step)
            return [int.from_bytes(ipma[one : one + step], "big") & mask for one in ends]
        at += count * step
    return []
