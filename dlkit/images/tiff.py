"""TIFF files: decoded by OpenCV, but for what it would drop or turn around without a word."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterator
from typing import Any

import cv2
import numpy as np

from dlkit.errors import InputError
from dlkit.images.geometry import Image

# By TIFF 6.0; BigTIFF has 43 in the place of 42, and numbers of eight bytes.
_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
_NUMBERS = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}  # types of values
_MOST = 4096  # values of a tag, bytes of a list of images in MPO files among them
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ALPHA = ((1,), (2,))  # multiplied into the colours, or not
_FLOAT = 3
Tags = dict[int, tuple[int, ...]]


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as they do."""
    return data.startswith(_HEADS)


def directories(data: bytes, wanted: Collection[int]) -> Iterator[Tags]:
    """The wanted tags of each page, in order.

    Raises:
        ValueError: a page's tags are not all in the file.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = b"+" in data[2:4]
    number, entry, offset = (
        (struct.Struct(order + form) for form in ("Q", "HHQ8s", "Q"))
        if big
        else (struct.Struct(order + form) for form in ("H", "HHI4s", "I"))
    )

    def unpacked(form: struct.Struct, at: int) -> tuple[Any, ...]:
        if at + form.size > len(data):
            raise ValueError("its list of pages leads out of the file: it is cut or damaged")
        return form.unpack_from(data, at)

    (at,) = unpacked(offset, 8 if big else 4)
    seen = set[int]()
    while at:
        if at in seen:
            raise ValueError("its list of pages has no end")
        seen.add(at)
        (count,) = unpacked(number, at)
        at += number.size
        tags: Tags = {}
        for place in range(at, min(at + count * entry.size, len(data)), entry.size):
            tag, kind, many, inside = unpacked(entry, place)
            if tag in wanted and kind in _NUMBERS and many <= _MOST:
                form = struct.Struct(f"{order}{many}{_NUMBERS[kind]}")
                if form.size <= len(inside):
                    tags[tag] = form.unpack_from(inside)
                else:
                    tags[tag] = unpacked(form, *offset.unpack(inside))
        yield tags
        (at,) = unpacked(offset, at + count * entry.size)


def read(data: bytes, path: object, several: bool) -> list[Image]:
    """The pages, turned as they say; black is 0 in all of them.

    Args:
        several: all of them; or the first alone.

    Raises:
        InputError: something of a page would be lost, or not all can be decoded.
        ValueError: the file is damaged.
    """
    tags = directories(data, (_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _FORMAT))
    pages = list(tags) if several else [next(tags, {})]
    for page in pages:
        if why := _lost(page):
            raise InputError(f"{path}: is a TIFF {why}", "Save it as PNG, or in another way")
    pixels = np.frombuffer(data, np.uint8)
    if several:
        done, found = cv2.imdecodemulti(pixels, cv2.IMREAD_UNCHANGED)
        whole = list(found) if done else []
    else:
        first = cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
        whole = [] if first is None else [first]
    if len(whole) != len(pages):
        raise ValueError(f"{len(whole)} of its {len(pages)} pages can be read")
    return [
        _as_meant(data, number, page, np.asarray(image))
        for number, (page, image) in enumerate(zip(pages, whole, strict=True))
    ]


def _lost(page: Tags) -> str:
    """What OpenCV, and Pillow in its place, would make something else of; empty if nothing."""
    (photometric, *_), (samples, *_) = page.get(_PHOTOMETRIC, (1,)), page.get(_SAMPLES, (1,))
    bits, extra = max(page.get(_BITS, (1,))), page.get(_EXTRA, ())
    grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if grey and samples > 1 and not (bits == 8 and samples == 2 and extra in _ALPHA):
        what = "its alpha" if extra in _ALPHA else "the others"
        return f"of grey with {samples} channels of {bits} bits, where {what} would be lost"
    if bits > 8 and not grey and photometric != _RGB:
        return f"of {bits} bits in colours of kind {photometric}, expected grey or RGB"
    if bits > 8 and samples > 1 and page.get(_PLANAR, (1,)) != (1,):
        return f"of {bits} bits with each colour in a plane of its own, which is not read"
    if photometric == _WHITE_IS_ZERO and _FLOAT in page.get(_FORMAT, ()):
        return "of floats where white is zero, and nobody knows which value is black"
    return ""


def _as_meant(data: bytes, number: int, page: Tags, image: Image) -> Image:
    grey = page.get(_PHOTOMETRIC, (1,)) != (_RGB,)
    eight = max(page.get(_BITS, (1,))) == 8
    # OpenCV leaves out the alpha of grey, and multiplies that of 8-bit colours into them
    if eight and page.get(_EXTRA) in (_ALPHA if grey else _ALPHA[1:]):
        return _by_pillow(data, number)
    if page.get(_PHOTOMETRIC) == (_WHITE_IS_ZERO,) and image.dtype == np.uint16:
        return np.iinfo(np.uint16).max - image  # OpenCV does it in 8 bits
    return image


def _by_pillow(data: bytes, number: int) -> Image:
    """A page of grey or colours with alpha as BGRA; Pillow turns it, too."""
    from PIL import TiffImagePlugin

    try:
        file = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        file.seek(number)
        pixels = np.asarray(file)
    except Exception as error:  # of a damaged file, which has many ways to be damaged
        raise ValueError(str(error)) from error
    places = [0, 0, 0, 1] if pixels.shape[2] == 2 else [2, 1, 0, 3]
    return np.ascontiguousarray(pixels[:, :, places])
