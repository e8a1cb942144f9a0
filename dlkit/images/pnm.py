"""PBM, PGM and PPM files: any number of pictures, of any largest value (netpbm's pgm(5))."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dlkit.images.geometry import Image, check_size

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEAD = re.compile(
    rb"P(?:[14]%b(\d{1,9})%b(\d{1,9})|[2356]%b(\d{1,9})%b(\d{1,9})%b(\d{1,5}))\s" % ((_GAP,) * 5)
)
_END = re.compile(rb"[\s\0]*\Z")
_PLAIN, _BITS, _COLOURS = b"123", (b"1", b"4"), (b"3", b"6")
_REMARK = re.compile(rb"#[^\r\n]*")
_DIGITS_AND_GAPS = b"0123456789 \t\n\r\v\f"


def is_pnm(data: bytes) -> bool:
    """Whether a file begins as they do, and PAM files."""
    return data[:1] == b"P" and data[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6", b"7")


def read(data: bytes, path: object, several: bool) -> list[Image]:
    """The pictures, in the whole range of 8 or 16 bits, whatever largest value they have.

    Args:
        path: for messages.
        several: all of them; or the first alone.

    Raises:
        InputError: too large.
        ValueError: the file is cut or damaged, or of a kind that is not read.
    """
    if data.startswith(b"P7"):
        raise ValueError("it is a PAM file: save it as PGM, PPM or PNG")
    found: list[Image] = []
    at = 0
    while True:
        head = _HEAD.match(data, at)
        if head is None:
            what = f"what follows its picture {len(found)} is none" if found else "no header"
            raise ValueError(what)
        width, height, *rest = (int(part) for part in head.groups() if part is not None)
        most = rest[0] if rest else 1
        check_size(width, height, path)
        if not 0 < most < 1 << 16:
            raise ValueError(f"its largest value is {most}, expected 1 to 65535")
        kind = data[at + 1 : at + 2]
        if kind in _PLAIN:  # has one picture
            return [_plain(data[head.end() :], kind, (height, width), most)]
        picture, at = _raw(data, head.end(), kind, (height, width), most)
        found.append(picture)
        if not several or _END.match(data, at):
            return found


def encoded(frames: Sequence[Image]) -> bytes:
    """Pictures one behind the other, each as PGM or PPM.

    Raises:
        ValueError: one has alpha, or floats.
    """
    parts = []
    for frame in frames:
        if frame.dtype not in (np.uint8, np.uint16) or (frame.ndim == 3 and frame.shape[2] != 3):
            raise ValueError
        height, width = frame.shape[:2]
        kind, most = 5 if frame.ndim == 2 else 6, np.iinfo(frame.dtype).max
        values = frame if frame.ndim == 2 else frame[:, :, ::-1]
        wide = values.astype(frame.dtype.newbyteorder(">"))
        parts.append(b"P%d\n%d %d\n%d\n" % (kind, width, height, most) + wide.tobytes())
    return b"".join(parts)


def _raw(data: bytes, at: int, kind: bytes, size: tuple[int, int], most: int) -> tuple[Image, int]:
    """The picture whose values begin there, and where they end."""
    height, width = size
    shape = (height, width, 3) if kind in _COLOURS else (height, width)
    if kind in _BITS:
        shape = (height, -(-width // 8))
    dtype = np.dtype(np.uint8 if most < 256 else ">u2")
    count = int(np.prod(shape))
    end = at + count * dtype.itemsize
    if end > len(data):
        raise ValueError("it is truncated")
    values = np.frombuffer(data, dtype, count, at).reshape(shape)
    if kind in _BITS:
        return _black(np.unpackbits(values.astype(np.uint8), axis=1)[:, :width]), end
    if kind in _COLOURS:
        values = values[:, :, ::-1]
    return _scaled(values, most), end


def _plain(text: bytes, kind: bytes, size: tuple[int, int], most: int) -> Image:
    """The picture whose values are that text."""
    shape = (*size, 3) if kind in _COLOURS else size
    text = _REMARK.sub(b"", text).rstrip(b"\0")
    if text.translate(None, _DIGITS_AND_GAPS):
        raise ValueError("it has values that are no whole numbers from 0")
    if kind in _BITS:  # each is one digit, with or without gaps
        values = np.frombuffer(b"".join(text.split()), np.uint8) - np.uint8(ord("0"))
    else:  # of nothing NumPy makes a 0
        values = np.fromstring(text.decode("ascii") if text.strip() else "", np.int64, sep=" ")
    if values.size != (count := int(np.prod(shape))):
        raise ValueError(f"it has {values.size} values, expected {count}")
    values = values.reshape(shape)
    if kind in _COLOURS:
        values = values[:, :, ::-1]
    picture = _scaled(values, most)
    return _black(picture // 255) if kind in _BITS else picture


def _black(ones: Image) -> Image:
    """Ones are black."""
    return (1 - ones) * np.uint8(255)


def _scaled(values: Image, most: int) -> Image:
    """To the whole range of 8 or 16 bits."""
    if values.size and int(values.max()) > most:
        raise ValueError(f"it has the value {values.max()}, and its largest is to be {most}")
    dtype = np.uint8 if most < 256 else np.uint16
    top = np.iinfo(dtype).max
    if most == top:
        return np.ascontiguousarray(values.astype(dtype))
    levels = np.rint(np.arange(most + 1) * (top / most)).astype(dtype)
    return np.ascontiguousarray(levels[values])
