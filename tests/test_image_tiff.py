"""TIFF files: pages as they are meant, or a failure that says what would be lost."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pil
from typer.testing import CliRunner

from dlkit import images
from dlkit.cli import app
from dlkit.errors import InputError

UInt8 = images.UInt8
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (20, 30), dtype=np.uint8)


def tiff(pixels: Any, **tags: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **tags)
    return file.getvalue()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_white_is_zero(depth: Any) -> None:
    pixels = np.linspace(0, np.iinfo(depth).max, 600).astype(depth).reshape(20, 30)
    data = tiff(np.iinfo(depth).max - pixels, photometric="miniswhite")
    for frames in ("all", "first"):
        (found,) = images.decode_frames(data, "a.tif", frames=frames)
        assert np.array_equal(found, pixels)
    with pytest.raises(InputError, match="of floats where white is zero"):
        images.decode(tiff(pixels.astype(np.float32), photometric="miniswhite"), "a.tif")


@pytest.mark.parametrize("frames", ["all", "first"])
def test_alpha_of_tiff_is_kept(frames: str, tmp_path: Path) -> None:
    for depth in (np.uint8, np.uint16):
        pixels = RANDOM.integers(0, np.iinfo(depth).max, (20, 30, 4)).astype(depth)
        for alpha in ("unassalpha", "assocalpha"):
            data = tiff(pixels, photometric="rgb", extrasamples=[alpha])
            (found,) = images.decode_frames(data, "a.tif", upright=True, frames=frames)
            if (depth, alpha) != (np.uint8, "assocalpha"):
                assert np.array_equal(found, pixels[:, :, [2, 1, 0, 3]])
            assert np.array_equal(found[:, :, 3], pixels[:, :, 3])
        images.write(tmp_path / "b.tif", found)
        assert np.array_equal(images.read(tmp_path / "b.tif"), found)
    both = RANDOM.integers(0, 256, (20, 30, 2), dtype=np.uint8)
    way = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    data = tiff(both, extratags=[(274, "H", 1, 6, True)], **way)  # turned
    (found,) = images.decode_frames(data, "a.tif", upright=True, frames=frames)
    assert np.array_equal(found, np.rot90(both[:, :, [0, 0, 0, 1]], -1))
    with pytest.raises(InputError, match="grey with 2 channels of 16 bits, where its alpha would"):
        images.decode_frames(tiff(both.astype(np.uint16), **way), "a.tif", frames=frames)


def test_tiff_pages_that_are_not_there() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(3):
            writer.write(GREY, photometric="minisblack")
    data = file.getvalue()
    assert len(images.decode_frames(data, "a.tif")) == 3
    with pytest.raises(InputError, match=r"leads out of the file|pages can be read"):
        images.decode_frames(data[:-700], "a.tif")  # the third is cut off
    planes = RANDOM.integers(0, 65536, (3, 20, 30), dtype=np.uint16)
    with pytest.raises(InputError, match="each colour in a plane"):
        images.decode(tiff(planes, photometric="rgb", planarconfig="separate"), "a.tif")


def test_palettes_inks_and_few_levels_of_tiff() -> None:
    palette = RANDOM.integers(0, 256, (3, 256), dtype=np.uint16)
    for bits in (1, 2, 4, 8):
        pixels = GREY[:, :24] & (2**bits - 1)
        data = few_levels(pixels, bits, 3, palette[:, : 2**bits] * 257)
        found = images.decode(data, "a.tif")
        assert np.array_equal(found, palette.T[pixels][:, :, ::-1]), bits
    inks = Pil.fromarray(RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)).convert("CMYK")
    for frames in ("all", "first"):
        (found,) = images.decode_frames(saved(inks), "a.tif", frames=frames)
        assert np.abs(found - np.asarray(inks.convert("RGB"))[:, :, ::-1].astype(int)).max() < 2
    for bits in (2, 4):
        top = 2**bits - 1
        pixels = GREY[:, :24] & top
        for white_is_zero in (True, False):
            found = images.decode(few_levels(pixels, bits, int(not white_is_zero)), "a.tif")
            expected = (top - pixels if white_is_zero else pixels) * (255 // top)
            assert np.array_equal(found, expected), (bits, white_is_zero)
    large = few_levels(pixels, 4, 1).replace(struct.pack("<I", 24), struct.pack("<I", 1 << 24), 1)
    with pytest.raises(InputError, match=r"16777216 x 20 pixels"):
        images.decode(large, "a.tif")
    with pytest.raises(InputError, match="1 channels of 16-bit floats in colours of kind 1"):
        images.decode(tiff(GREY.astype(np.float16)), "a.tif")


def few_levels(pixels: Any, bits: int, photometric: int, palette: Any = ()) -> bytes:
    """A TIFF of values of a byte or less."""
    height, width = pixels.shape
    places = np.arange(8 - bits, -1, -bits)
    packed = (pixels.reshape(height, -1, 8 // bits) << places).sum(2).astype(np.uint8)
    colours = np.asarray(palette, np.uint16).tobytes()
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 4, 1, bits), (259, 4, 1, 1),
        (262, 4, 1, photometric), (273, 4, 1, 8), (277, 4, 1, 1), (278, 4, 1, height),
        (279, 4, 1, packed.size),
    ]  # fmt: skip
    if colours:
        tags.append((320, 3, len(colours) // 2, 8 + packed.size))
    listed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    body = struct.pack("<H", len(tags)) + listed + b"\0" * 4
    head = struct.pack("<4sI", b"II*\0", 8 + packed.size + len(colours))
    return head + packed.tobytes() + colours + body


def test_thumbnails_of_tiff_are_no_pages() -> None:
    small = GREY[::2, ::2].copy()
    for order in ((GREY, small, GREY[::-1]), (small, GREY, GREY[::-1])):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            for page in order:
                writer.write(page, photometric="minisblack", subfiletype=int(page is small))
        found = images.decode_frames(file.getvalue(), "a.tif")
        assert len(found) == 2
        assert np.array_equal(found[0], GREY)
        assert np.array_equal(found[1], GREY[::-1])
        assert np.array_equal(images.decode(file.getvalue(), "a.tif"), GREY)
    mask = io.BytesIO()
    with tifffile.TiffWriter(mask) as writer:
        writer.write(GREY, photometric="minisblack")
        writer.write(GREY > 9, photometric="mask", subfiletype=4)
    with pytest.raises(InputError, match="a mask that says where"):
        images.decode_frames(mask.getvalue(), "a.tif")


def test_tiff_pages_that_hide_others() -> None:
    stack = np.stack([GREY, GREY // 2, GREY // 3])
    said = "ImageJ=1.54f\nimages=3\nslices=3\n"
    for data in (
        tiff(GREY, photometric="minisblack", description=said, metadata=None),
        tiff(stack, photometric="minisblack", truncate=True),
        tiff(stack, imagej=True, truncate=True),
    ):
        with pytest.raises(InputError, match="several pictures in one page"):
            images.decode_frames(data, "a.tif")
        assert np.array_equal(images.decode_frames(data, "a.tif", frames="first")[0], GREY)
    for data in (tiff(stack, photometric="minisblack"), tiff(stack, imagej=True)):
        assert len(images.decode_frames(data, "a.tif")) == 3


@pytest.mark.parametrize("how", ["tiff_lzw", "tiff_deflate", "jpeg"])
def test_damaged_tiff_files_are_failures(how: str, scan: UInt8, tmp_path: Path) -> None:
    """OpenCV goes on past what its decoder reports of pages of 8 bits."""
    (tmp_path / "in").mkdir()
    good = saved(Pil.fromarray(scan), how)
    for number in range(3):
        bad, dice = bytearray(good), np.random.default_rng(number)
        for at in dice.integers(len(good) // 4, 3 * len(good) // 4, 40):
            bad[at] = dice.integers(256)
        (tmp_path / "in" / f"{number}.tif").write_bytes(bad)
    (tmp_path / "in" / "good.tif").write_bytes(good)
    arguments = ["denoise", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "1 done, 3 failed" in done.output
    assert "is damaged" in done.output
    assert [path.name for path in (tmp_path / "out").glob("*.tif")] == ["good.tif"]


def test_sums_of_tiff_are_checked_in_every_part() -> None:
    deep = RANDOM.integers(0, 65536, (40, 50), dtype=np.uint16)
    for pixels in (GREY.repeat(2, 0), deep):
        for layout in ({"tile": (16, 16)}, {"rowsperstrip": 3}):
            data = tiff(pixels, compression="zlib", photometric="minisblack", **layout)
            assert np.array_equal(images.decode(data, "a.tif"), pixels)
            sums = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\x78\x9c"]
            assert len(sums) > 3
            damaged = bytearray(data)
            damaged[sums[-1] - 1] ^= 1  # the end of the last part but one
            with pytest.raises(InputError, match=r"part \d+ of page 1 is damaged"):
                images.decode(bytes(damaged), "a.tif")


def saved(picture: Pil.Image, how: str | None = None) -> bytes:
    file = io.BytesIO()
    picture.save(file, "TIFF", compression=how)
    return file.getvalue()
