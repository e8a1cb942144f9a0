"""TIFF files: decoded by OpenCV, but for what it would drop or turn around without a word."""

from __future__ import annotations

import io
import re

import cv2
import numpy as np

from dlkit.errors import InputError
from dlkit.images import tiff_damage
from dlkit.images.geometry import Image, check_size
from dlkit.images.tiff_tags import Tags, directories

_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _TEXT = 254, 255, 256, 257, 270
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
_DEPTH = 32997  # of a volume in one page (SGI)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _CMYK = 0, 1, 2, 3, 4, 5
_ALPHA = ((1,), (2,))  # multiplied into the colours, or not
_FLOAT = 3
_FORMATS = {2: "signed numbers", _FLOAT: "floats", 5: "complex numbers", 6: "complex floats"}
_READ_BY_PILLOW = {_WHITE_IS_ZERO: (2, 4), _BLACK_IS_ZERO: (2, 4), _PALETTE: (1, 2)}  # their bits
# How ImageJ and tifffile say that more pictures lie behind the only page.
_HIDDEN = re.compile(
    rb'\AImageJ=.*^images=(\d+)|\A\{"shape".*"truncated": true', re.DOTALL | re.MULTILINE
)


def read(data: bytes, path: object, several: bool) -> list[Image]:
    """The pages, turned as they say; black is 0 in all of them.

    Args:
        several: all of them; or the first alone.

    Raises:
        InputError: something of a page would be lost, not all can be decoded, or it is too large.
        ValueError: the file is damaged.
    """
    wanted = (_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _TEXT, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR,
              _EXTRA, _FORMAT, _DEPTH, *tiff_damage.WANTED)  # fmt: skip
    tags = directories(data, wanted)
    pages = [next(tags, {})]
    if several or _is_thumbnail(pages[0]):
        pages += tags
    numbers = [at for at, page in enumerate(pages) if not _is_thumbnail(page)] or [0]
    if not several:
        del numbers[1:]
    for number in numbers:
        (width, *_), (height, *_) = (pages[number].get(side, (1,)) for side in (_WIDTH, _HEIGHT))
        check_size(width, height, path)
        if why := _lost(pages[number]):
            raise InputError(f"{path}: is a TIFF {why}", "Save it as PNG, or in another way")
    if several and len(pages) == 1 and _hides_pictures(pages[0]):
        raise InputError(
            f"{path}: is a TIFF of several pictures in one page, of which only the first is found",
            "Save each as a page, or take the first alone with --frames first",
        )
    tiff_damage.check(data, pages, numbers, path)
    images = _decoded(data, pages, numbers)
    return [
        _page(data, number, pages[number], image)
        for number, image in zip(numbers, images, strict=True)
    ]


def _is_thumbnail(page: Tags) -> bool:
    """Whether it shows another page in a smaller size."""
    return bool(page.get(_KIND, (0,))[0] & 1) or page.get(_OLD_KIND) == (2,)


def _hides_pictures(page: Tags) -> bool:
    found = _HIDDEN.search(bytes(page.get(_TEXT, ())))
    return found is not None and int(found[1] or 2) > 1


def _decoded(data: bytes, pages: list[Tags], numbers: list[int]) -> list[Image | None]:
    """Pages as OpenCV gives them; None for those that are Pillow's."""
    pixels = np.frombuffer(data, np.uint8)
    if all(_is_for_pillow(pages[number]) for number in numbers):
        return [None] * len(numbers)
    if numbers == [0]:
        first = cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
        whole = [] if first is None else [first]
    else:
        done, found = cv2.imdecodemulti(pixels, cv2.IMREAD_UNCHANGED)
        whole = list(found) if done else []
    if len(whole) <= max(numbers):
        raise ValueError(f"{len(whole)} of its {len(pages)} pages can be read: the next one has "
                         f"{_described(pages[len(whole)])}")  # fmt: skip
    return [np.asarray(whole[number]) for number in numbers]


def _described(page: Tags) -> str:
    bits, kind = max(page.get(_BITS, (1,))), page.get(_FORMAT, (1,))[0]
    return (
        f"{page.get(_SAMPLES, (1,))[0]} channels of {bits}-bit {_FORMATS.get(kind, 'numbers')} in "
        f"colours of kind {page.get(_PHOTOMETRIC, (1,))[0]}"
    )


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
    if photometric == _MASK:
        return "with a mask that says where another page shows something"
    if page.get(_DEPTH, (1,))[0] > 1:
        return f"of {page[_DEPTH][0]} slices in one page, of which only the first would be read"
    if photometric == _WHITE_IS_ZERO and _FLOAT in page.get(_FORMAT, ()):
        return "of floats where white is zero, and nobody knows which value is black"
    return ""


def _is_for_pillow(page: Tags) -> bool:
    """Whether OpenCV cannot read a page, or loses something of it, and Pillow does not."""
    (photometric, *_), bits = page.get(_PHOTOMETRIC, (1,)), max(page.get(_BITS, (1,)))
    if bits in _READ_BY_PILLOW.get(photometric, ()):
        return True
    # OpenCV leaves out the alpha of grey, and multiplies that of 8-bit colours into them
    return bits == 8 and page.get(_EXTRA) in (_ALPHA[1:] if photometric == _RGB else _ALPHA)


def _page(data: bytes, number: int, page: Tags, image: Image | None) -> Image:
    """A page as it is meant; ``image`` is what OpenCV gives."""
    if image is None or _is_for_pillow(page):
        return _by_pillow(data, number)
    (photometric, *_) = page.get(_PHOTOMETRIC, (1,))
    if photometric == _WHITE_IS_ZERO and image.dtype == np.uint16:
        return np.iinfo(np.uint16).max - image  # OpenCV does it in 8 bits
    if photometric == _CMYK:  # in colours by then, with an alpha that says nothing
        return np.ascontiguousarray(image[:, :, :3])
    return image


def _by_pillow(data: bytes, number: int) -> Image:
    """A page of grey, or of colours, with alpha or without; Pillow turns it, too."""
    from PIL import TiffImagePlugin

    try:
        file = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        file.seek(number)
        pixels = np.asarray(file.convert("RGB") if file.mode == "P" else file)
    except Exception as error:  # of a damaged file, which has many ways to be damaged
        raise ValueError(str(error)) from error
    if pixels.ndim == 2:
        return pixels.copy()
    places = [[0, 0, 0, 1], [2, 1, 0], [2, 1, 0, 3]][pixels.shape[2] - 2]
    return np.ascontiguousarray(pixels[:, :, places])
