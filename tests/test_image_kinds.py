"""What an image file holds beside plain pixels is kept, or is a failure: nothing goes unsaid."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
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


def test_damaged_frames_of_png_are_a_failure() -> None:
    two = {"save_all": True, "append_images": [Pil.fromarray(GREY[::-1])]}
    data = bytearray(saved(Pil.fromarray(GREY), "PNG", **two))
    data[data.index(b"fdAT") + 20] ^= 255  # OpenCV would end the process
    with pytest.raises(InputError, match="does not fit its sum"):
        images.decode_frames(bytes(data), "a.png")


def test_a_colour_profile_hides_no_frames() -> None:
    file = io.BytesIO()
    frames = [Pil.fromarray(GREY), Pil.fromarray(GREY[::-1])]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], icc_profile=b"x" * 500)
    assert len(images.decode_frames(file.getvalue(), "a.webp")) == 2


@pytest.mark.parametrize("count", [2, 3, 5])
def test_several_pictures_of_a_jpeg(count: int, tmp_path: Path) -> None:
    smooth = cv2.resize(GREY[:4, :6], (96, 64), interpolation=cv2.INTER_CUBIC)
    pictures = [smooth, smooth[::-1].copy(), 255 - smooth, smooth // 2, smooth][:count]
    images.write_frames(tmp_path / "a.jpg", pictures)
    data = (tmp_path / "a.jpg").read_bytes()
    found = images.decode_frames(data, "a.jpg", upright=True)
    assert len(found) == count
    with Pil.open(tmp_path / "a.jpg") as file:  # another reader's word
        file.seek(count - 1)
        assert np.abs(np.asarray(file).astype(int) - pictures[-1]).mean() < 2
    for one, picture in zip(found, pictures, strict=True):
        assert np.abs(one.astype(int) - picture).mean() < 2
    assert len(images.decode_frames(data, "a.jpg", frames="first")) == 1
    with pytest.raises(InputError, match="pictures that are not there"):
        images.decode_frames(data[:-40], "a.jpg")
    other = io.BytesIO()  # a thumbnail is no second picture
    small = Pil.fromarray(smooth[::2, ::2])
    Pil.fromarray(smooth).save(other, "MPO", save_all=True, append_images=[small])
    assert len(images.decode_frames(other.getvalue(), "a.jpg")) == 1


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
