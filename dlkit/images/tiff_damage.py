"""Damage in the compressed pages of a TIFF, which OpenCV passes over where they have 8 bits."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

from dlkit.images import jpeg
from dlkit.images.tiff_tags import Tags
from dlkit.limits import max_pixels

_COMPRESSION, _FILL_ORDER, _TABLES = 259, 266, 347
_STRIPS, _TILES = (273, 279), (324, 325)  # where they are, how many bytes each has
WANTED = (_COMPRESSION, _FILL_ORDER, _TABLES, *_STRIPS, *_TILES)
_LZW, _JPEG, _DEFLATE, _PACKBITS = 5, 7, (8, 32946), 32773
_BACKWARDS = 2  # the bits of each byte; such are left to the decoder
_AT_ONCE = 1 << 16  # bytes that may unpack to a thousand times as many
_LARGEST = 8  # bytes of a pixel


def check(data: bytes, pages: Sequence[Tags], numbers: Sequence[int], path: object) -> None:
    """Refuse pages of which a part does not fit its sum, or ends too soon.

    Raises:
        InputError: a part says that it is too large.
        ValueError: which part is damaged.
    """
    by_pillow = []
    for number in numbers:
        page = pages[number]
        (how, *_) = page.get(_COMPRESSION, (1,))
        if how in (_LZW, _PACKBITS):
            by_pillow.append(number)
        elif how == _JPEG or (how in _DEFLATE and page.get(_FILL_ORDER) != (_BACKWARDS,)):
            _check_parts(data, page, number, path)
    if by_pillow:
        _check_with_pillow(data, by_pillow)


def _check_parts(data: bytes, page: Tags, number: int, path: object) -> None:
    places, sizes = _TILES if _TILES[0] in page else _STRIPS
    tables = bytes(page.get(_TABLES, ()))
    parts = zip(page.get(places, ()), page.get(sizes, ()), strict=False)
    for part, (at, size) in enumerate(parts, 1):
        try:
            if _JPEG in page[_COMPRESSION]:
                # tables end, and what they are for begins, with a marker of two bytes
                jpeg.decoded(tables[:-2] + data[at + 2 * bool(tables) : at + size], path)
            elif size:
                _check_sum(data, at, at + size)
        except (ValueError, zlib.error) as error:
            raise ValueError(f"part {part} of page {number + 1} is damaged: {error}") from error


def _check_sum(data: bytes, at: int, end: int) -> None:
    view, unpacker, most = memoryview(data), zlib.decompressobj(), _LARGEST * max_pixels()
    for start in range(at, min(end, len(data)), _AT_ONCE):
        most -= len(unpacker.decompress(view[start : min(start + _AT_ONCE, end)]))
        if most < 0:
            raise ValueError("it unpacks to too much")
    if not unpacker.eof:
        raise ValueError("it is cut")


def _check_with_pillow(data: bytes, numbers: Sequence[int]) -> None:
    """Without a sum, damage is what the decoder, libtiff's, stumbles over."""
    from PIL import TiffImagePlugin

    try:
        file = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except Exception:  # of a kind that is not Pillow's
        return
    for number in numbers:
        try:
            file.seek(number)
        except Exception:
            continue
        try:
            file.load()
        except Exception as error:  # of a damaged file, which has many ways to be damaged
            raise ValueError(f"page {number + 1} is damaged: {error}") from error
