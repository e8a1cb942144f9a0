"""What an image file holds beside plain pixels is kept, or is a failure: nothing goes unsaid."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pil
from PIL import ImageOps
from typer.testing import CliRunner

from dlkit import images
from dlkit.cli import app
from dlkit.errors import InputError
from dlkit.mmwave import simulate

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (20, 30), dtype=np.uint8)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tiff(pixels: Any, **tags: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **tags)
    return file.getvalue()


def pgm(values: Any, most: int, colours: bool = False) -> bytes:
    height, width = values.shape[:2]
    kind = 6 if colours else 5
    head = f"P{kind} # by hand\n{width} {height}\n# its largest\n{most}\n".encode()
    return head + values.astype(np.uint8 if most < 256 else ">u2").tobytes()


@pytest.mark.parametrize("most", [1, 15, 100, 255, 256, 1023, 65535])
def test_the_largest_value_of_a_pgm_is_white(most: int) -> None:
    values = np.linspace(0, most, 60).round().reshape(6, 10).astype(int)
    top = 255 if most < 256 else 65535
    expected = np.rint(values * (top / most)).astype(np.uint8 if most < 256 else np.uint16)
    found = images.decode(pgm(values, most), "a.pgm")
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    coloured = np.stack([values, values // 2, values * 0], axis=2)
    found = images.decode(pgm(coloured, most, True), "a.ppm")
    assert np.array_equal(found[:, :, 2], expected)  # red is last
    assert not found[:, :, 0].any()
    text = f"P2 10 6\n{most}\n" + "\n".join(" ".join(map(str, row)) for row in values) + "\n"
    plain = images.decode(text.encode(), "a.pgm")
    assert plain.dtype == expected.dtype
    assert np.abs(plain.astype(int) - expected).max() <= 1


def test_a_scan_of_few_levels_is_cleaned(tmp_path: Path) -> None:
    scan = simulate(3, (170, 101)).noisy
    (tmp_path / "in").mkdir()
    dark = np.rint(scan * (100 / 255)).astype(np.uint8)
    (tmp_path / "in" / "a.pgm").write_bytes(pgm(dark, 100) + pgm(dark[::-1], 100))
    cv2.imwrite(str(tmp_path / "in" / "b.png"), scan)
    done = run("denoise", tmp_path / "in", "--out", tmp_path / "out")
    assert "2 done, 0 failed" in done.output
    first, second = images.decode_frames((tmp_path / "out" / "a.pgm").read_bytes(), "a")
    whole = images.read(tmp_path / "out" / "b.png").astype(float)
    assert np.abs(first - whole).mean() < 2
    assert np.abs(second[::-1] - whole).mean() < 12


def test_pgm_files_that_are_none() -> None:
    bits = images.decode(b"P4\n3 2\n\x40\xe0", "a.pbm")
    assert bits.tolist() == [[255, 0, 255], [0, 0, 0]]
    for data, why in (
        (pgm(GREY, 255)[:-1], "is truncated"),
        (pgm(GREY, 100), "its largest is to be 100"),
        (pgm(GREY, 255) + b"more", "what follows its picture 1 is none"),
        (b"P5 3 2 0\n123456", "expected 1 to 65535"),
        (b"P5 99999 99999 255\n", "99999 x 99999 pixels"),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 15\nENDHDR\n\0", "is a PAM file"),
        (b"P5 none", "no header"),
        (b"P2 3 2 100\n1 2 3 4 5 101\n", "the value 101, and its largest is to be 100"),
        (b"P2 3 2 255\n1 2 3 4 5 99999999999999999999\n", "and its largest is to be 255"),
        (b"P2 3 2 255\n1.0 2.0 3.0\n", "no whole numbers"),
        (b"P2 3 2 255\n1 2 3 4 5 -6\n", "no whole numbers"),
        (b"P2 3 2 255\n1 2 3 4 5", "5 values, expected 6"),
        (b"P2 1 1 255\n \n", "0 values, expected 1"),
        (b"P2 3 2 255\n1 2 3 4 5 6 7\n", "7 values, expected 6"),
        (b"P1 3 1\n1 2 1\n", "the value 2"),
    ):
        with pytest.raises(InputError, match=why):
            images.decode_frames(data, "a.pgm")
    assert len(images.decode_frames(pgm(GREY, 255) + b"\n", "a.pgm")) == 1
    for text in (b"P2 3 1 255\n1 2 #three\n3", b"P2 3 1 255\n1\t2\n3\n\n"):
        assert images.decode(text, "a.pgm").tolist() == [[1, 2, 3]]
    assert images.decode(b"P3 1 1 255\n1 2 3", "a.ppm").tolist() == [[[3, 2, 1]]]
    for text in (b"P1 3 1\n101", b"P1 3 1\n1 0\n1\n"):
        assert images.decode(text, "a.pbm").tolist() == [[0, 255, 0]]
    assert len(images.decode_frames(pgm(GREY, 255) + b"more", "a.pgm", frames="first")) == 1


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


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_frames_of_png_keep_depth_and_channels(channels: int, depth: Any, tmp_path: Path) -> None:
    shape = (20, 30, channels) if channels > 1 else (20, 30)
    frames = [RANDOM.integers(0, np.iinfo(depth).max, shape).astype(depth) for _ in range(3)]
    frames.append(frames[-1])  # the same again is a frame, too
    images.write_frames(tmp_path / "a.png", frames)
    found = images.decode_frames((tmp_path / "a.png").read_bytes(), "a.png")
    assert [one.dtype for one in found] == [depth] * 4
    assert all(map(np.array_equal, found, frames))
    with Pil.open(tmp_path / "a.png") as seen:
        assert seen.n_frames == 4  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"\.png cannot hold 2 images of"):
        images.write_frames(tmp_path / "b.png", [frames[0], frames[0][:5]])


def test_a_colour_profile_hides_no_frames() -> None:
    file = io.BytesIO()
    frames = [Pil.fromarray(GREY), Pil.fromarray(GREY[::-1])]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], icc_profile=b"x" * 500)
    assert len(images.decode_frames(file.getvalue(), "a.webp")) == 2


def test_several_pictures_of_a_jpeg(tmp_path: Path) -> None:
    smooth = cv2.resize(GREY[:4, :6], (96, 64), interpolation=cv2.INTER_CUBIC)
    pictures = [smooth, smooth[::-1].copy()]
    images.write_frames(tmp_path / "a.jpg", pictures)
    data = (tmp_path / "a.jpg").read_bytes()
    found = images.decode_frames(data, "a.jpg", upright=True)
    assert len(found) == 2
    for one, other in zip(found, pictures, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 2
    assert len(images.decode_frames(data, "a.jpg", frames="first")) == 1
    with pytest.raises(InputError, match="pictures that are not there"):
        images.decode_frames(data[:-40], "a.jpg")
    file = io.BytesIO()  # a thumbnail is no second picture
    small = Pil.fromarray(smooth[::2, ::2])
    Pil.fromarray(smooth).save(file, "MPO", save_all=True, append_images=[small])
    assert len(images.decode_frames(file.getvalue(), "a.jpg")) == 1


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_than_8_bits(bits: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 80 * 64).reshape(64, 80)
    values = np.rint(ramp * ((2**bits - 1) / 65535)).astype(np.uint16)
    how = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100]
    found = images.decode(cv2.imencode(".avif", values, how)[1].tobytes(), "a.avif")
    assert found.dtype == np.uint16
    assert np.abs(found - ramp).mean() < 200
    images.write(tmp_path / "a.avif", found)
    assert np.abs(images.read(tmp_path / "a.avif") - ramp).mean() < 800


def saved(picture: Pil.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def shown(picture: Pil.Image, orientation: int) -> Any:
    """As Pillow turns it."""
    file = io.BytesIO()
    exif = Pil.Exif()
    exif[0x0112] = orientation
    picture.save(file, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Pil.open(file)))[:, :, ::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_frame_of_every_format_is_turned(orientation: int) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:10, :20], pixels[30:, 40:, 1] = 255, 200
    picture, other = Pil.fromarray(pixels), Pil.fromarray(pixels // 2)
    exif = Pil.Exif()
    exif[0x0112] = orientation
    two = {"save_all": True, "append_images": [other], "exif": exif}
    jpeg = saved(picture, "JPEG", exif=exif, quality=100, subsampling=0)
    at = jpeg.index(b"\xff\xe1")
    files = {
        "a.webp": saved(picture, "WEBP", lossless=True, exif=exif),
        "moving.webp": saved(picture, "WEBP", lossless=True, **two),
        "moving.png": saved(picture, "PNG", **two),
        "a.avif": saved(picture, "AVIF", quality=100, exif=exif),
        "filled.jpg": jpeg[:at] + b"\xff\xff\xff" + jpeg[at:],
    }
    for name, data in files.items():
        expected = [shown(picture, orientation), shown(other, orientation)]
        found = images.decode_frames(data, name, upright=True)
        assert len(found) == 1 + name.startswith("moving")
        for one, right in zip(found, expected, strict=False):
            assert one.shape == right.shape, name
            assert np.abs(one.astype(int) - right).mean() < 3, name
        assert images.decode(data, name).shape == pixels.shape


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_level_of_png_that_stands_for_nothing(depth: Any) -> None:
    pixels = RANDOM.integers(0, np.iinfo(depth).max, (20, 30)).astype(depth)
    level = int(pixels[3, 4])
    file = io.BytesIO()
    Pil.fromarray(pixels).save(file, "PNG", transparency=level)
    found = images.decode(file.getvalue(), "a.png")
    assert found.dtype == depth
    assert np.array_equal(found[:, :, 0], pixels)
    assert np.array_equal(found[:, :, 3] == 0, pixels == level)
    assert found[:, :, 3].max() == np.iinfo(depth).max
    data = saved(Pil.fromarray(GREY), "PNG", transparency=7, save_all=True,
                 append_images=[Pil.fromarray(GREY[::-1])])  # fmt: skip
    with pytest.raises(InputError, match="a level that stands for nothing"):
        images.decode_frames(data, "a.png")


def test_colours_of_bmp_lie_where_it_says() -> None:
    pixels = RANDOM.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    red, green, blue, alpha = 0xFF, 0xFF00, 0xFF0000, 0xFF000000
    for masks, size, order in (
        ((red, green, blue), 40, [2, 1, 0]),
        ((blue, green, red), 40, [0, 1, 2]),
        ((red, green, blue, 0), 108, [2, 1, 0]),
        ((red, green, blue, alpha), 108, [2, 1, 0, 3]),
        ((alpha, blue, green), 40, [1, 2, 3]),
    ):
        named = struct.pack(f"<{len(masks)}I", *masks)
        head = struct.pack("<IiiHHI20x", size, 30, -20, 1, 32, 3) + named
        head = head.ljust(max(size, 40 + len(named)), b"\0")
        begin = struct.pack("<2sIII", b"BM", 14 + len(head) + pixels.size, 0, 14 + len(head))
        found = images.decode(begin + head + pixels.tobytes(), "a.bmp")
        assert np.array_equal(found, pixels[:, :, order]), (masks, size)
    head = struct.pack("<IiiHHI20x3I", 40, 30, -20, 1, 32, 3, 0x3FF, 0xFFC00, 0x3FF00000)
    with pytest.raises(InputError, match="not of 8 bits each"):
        images.decode(b"BM" + struct.pack("<III", 0, 0, 66) + head + pixels.tobytes(), "a.bmp")


def test_palettes_inks_and_few_levels_of_tiff() -> None:
    levels = Pil.fromarray(GREY // 128)
    levels.putpalette([10, 20, 30, 200, 100, 50])
    for bits in (1, 2, 8):
        found = images.decode(saved(levels, "TIFF", bits=bits), "a.tif")
        assert np.array_equal(found, np.asarray(levels.convert("RGB"))[:, :, ::-1]), bits
    inks = Pil.fromarray(RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)).convert("CMYK")
    for frames in ("all", "first"):
        (found,) = images.decode_frames(saved(inks, "TIFF"), "a.tif", frames=frames)
        assert np.abs(found - np.asarray(inks.convert("RGB"))[:, :, ::-1].astype(int)).max() < 2
    for bits in (2, 4):
        for kind, turned in (("minisblack", False), ("miniswhite", True)):
            top = 2**bits - 1
            pixels = GREY[:, :24] & top
            packed = (pixels.reshape(20, -1, 8 // bits) << np.arange(8 - bits, -1, -bits)).sum(2)
            data = few_levels(packed.astype(np.uint8), 24, bits, kind)
            found = images.decode(data, "a.tif")
            expected = (top - pixels if turned else pixels) * (255 // top)
            assert np.array_equal(found, expected), (bits, kind)
    with pytest.raises(InputError, match="1 channels of 16-bit floats in colours of kind 1"):
        images.decode(tiff(GREY.astype(np.float16)), "a.tif")


def few_levels(packed: Any, width: int, bits: int, kind: str) -> bytes:
    """A TIFF of values below a byte."""
    height = len(packed)
    tags = [
        (256, width), (257, height), (258, bits), (259, 1), (262, int(kind == "minisblack")),
        (273, 8), (277, 1), (278, height), (279, packed.size),
    ]  # fmt: skip
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    body = struct.pack("<H", len(tags)) + listed + b"\0" * 4
    return struct.pack("<4sI", b"II*\0", 8 + packed.size) + packed.tobytes() + body


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
