"""Image files of every kind: frames, orientation, depth, colours, damage; done right, or said."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pil
from typer.testing import CliRunner

from dlkit import images
from dlkit.cli import app
from dlkit.errors import InputError

from .long import long

UInt8 = images.UInt8

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def close(one: images.Image, other: images.Image, levels: float = 2.0) -> bool:
    return bool(np.abs(one.astype(float) - other.astype(float)).mean() < levels)


def animated(path: Path, frames: list[UInt8]) -> None:
    pictures = [Pil.fromarray(frame) for frame in frames]
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, **lossless)


@pytest.mark.parametrize("suffix", [".tif", long(".png"), long(".webp")])
def test_every_frame_is_cleaned(suffix: str, scan: UInt8, cleaned: UInt8, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    animated(tmp_path / "in" / f"a{suffix}", [scan, scan[:, ::-1].copy(), scan[::-1].copy()])
    out = tmp_path / "out"
    assert run("denoise", tmp_path / "in", "--out", out).exit_code == 0
    data = (out / f"a{suffix}").read_bytes()
    found = images.decode_frames(data, "a")
    assert len(found) == 3
    assert close(images.grey(found[0]), cleaned)
    assert close(images.grey(found[1])[:, ::-1], cleaned, 12)  # stripes are not symmetric
    first = run("denoise", tmp_path / "in", "--out", tmp_path / "one", "--frames", "first")
    assert first.exit_code == 0
    assert len(images.decode_frames((tmp_path / "one" / f"a{suffix}").read_bytes(), "a")) == 1
    second = run("denoise", tmp_path / "in", "--out", tmp_path / "two", "--frames", "2")
    assert second.exit_code == 0
    assert close(images.grey(images.read(tmp_path / "two" / f"a{suffix}"))[:, ::-1], cleaned, 12)
    missing = run("denoise", tmp_path / "in", "--out", tmp_path / "x", "--frames", "4")
    assert "has no frame 4, but 3" in missing.output
    assert "expected all, first" in str(
        run("denoise", tmp_path / "in", "--frames", "last").exception
    )


def test_every_page_is_read(digits_folder: Path, tmp_path: Path) -> None:
    page = np.full((300, 900), 255, np.uint8)
    for place, path in enumerate(sorted(digits_folder.iterdir())[:6]):
        square = cv2.resize(images.read(path), (84, 84), interpolation=cv2.INTER_CUBIC)
        page[100:184, 100 + 110 * place : 184 + 110 * place] = 255 - square
    animated(tmp_path / "fax.tif", [page, np.full_like(page, 255), page[:, ::-1].copy()])
    seen = tmp_path / "seen"
    done = run("recognize", tmp_path / "fax.tif", "--out", tmp_path / "p.csv", "--annotate", seen)
    assert done.exit_code == 0, done.output
    names = [line.partition(",")[0] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]]
    assert names.count("fax.tif#1") == 6
    assert names.count("fax.tif#2") == 1  # a row without a digit
    assert names.count("fax.tif#3") >= 5
    assert len(images.decode_frames((seen / "fax.tif").read_bytes(), "fax")) == 3
    again = run("recognize", tmp_path / "fax.tif", "--out", tmp_path / "p.csv", "--annotate", seen)
    assert "1 done before, 0 done" in again.output
    assert names == [
        line.partition(",")[0] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]
    ]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_images_are_turned_as_exif_says(suffix: str, orientation: int, tmp_path: Path) -> None:
    picture = np.zeros((40, 60), np.uint8)
    picture[:10, :20] = 255
    exif = Pil.Exif()
    exif[0x0112] = orientation
    Pil.fromarray(picture).save(tmp_path / f"a{suffix}", exif=exif)
    data = (tmp_path / f"a{suffix}").read_bytes()
    turned = images.grey(images.decode(data, "a", upright=True))
    expected = {3: picture[::-1, ::-1], 6: np.rot90(picture, -1), 8: np.rot90(picture)}[orientation]
    assert turned.shape == expected.shape
    assert close(turned, expected, 8)


def test_alpha_survives_being_turned(tmp_path: Path) -> None:
    picture = np.zeros((20, 30, 4), np.uint8)
    picture[:5, :7] = (10, 10, 10, 200)
    exif = Pil.Exif()
    exif[0x0112] = 6
    Pil.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    found = images.decode((tmp_path / "a.png").read_bytes(), "a", upright=True)
    assert found.shape == (30, 20, 4)
    assert found[:, :, 3].max() == 200


def test_damaged_jpeg_files_are_failures(scan: UInt8, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    data = cv2.imencode(".jpg", scan)[1].tobytes()
    random = np.random.default_rng(0)
    for number in range(8):
        damaged = bytearray(data)
        for at in random.integers(len(data) // 3, 2 * len(data) // 3, 40):
            damaged[at] = random.integers(256)
        (tmp_path / "in" / f"{number}.jpg").write_bytes(damaged)
    (tmp_path / "in" / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "in" / "good.jpg").write_bytes(data)
    done = run("denoise", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "1 done, 9 failed" in done.output
    assert [path.name for path in (tmp_path / "out").glob("*.jpg")] == ["good.jpg"]


def test_a_png_that_is_damaged_says_nothing_of_its_own(
    scan: UInt8, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = cv2.imencode(".png", scan)[1].tobytes()
    for at, why in ((20, "fit its sum"), (35, "without its end"), (len(whole) // 2, "fit its sum")):
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        with pytest.raises(InputError, match=why):
            images.decode(bytes(damaged), "a.png")
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    for parts, why in (
        ([], "without pixels"),
        ([chunk(b"IDAT", b"")], "without pixels"),
        ([chunk(b"IDAT", zlib.compress(bytes(72))), chunk(b"WHAT", b"1")], "an unknown kind"),
    ):
        data = b"".join([SIGNATURE, chunk(b"IHDR", header), *parts, chunk(b"IEND", b"")])
        with pytest.raises(InputError, match=why):
            images.decode(data, "a.png")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("order", ["cv2, dlkit", "dlkit, cv2"])
def test_opencv_says_nothing_of_its_own(order: str, tmp_path: Path) -> None:
    """As the README imports them, and the other way round."""
    for suffix in (".bmp", ".gif", ".tif"):
        data = cv2.imencode(suffix, np.zeros((40, 40, 3), np.uint8))[1].tobytes()
        (tmp_path / f"a{suffix}").write_bytes(data[: len(data) // 2])
    code = f"""
import {order}
with dlkit.load("digits", "onnxruntime") as model:
    print(model.run_folder({str(tmp_path)!r}, {str(tmp_path / "out")!r}).failed)
"""
    bare = {name: value for name, value in os.environ.items() if name != "OPENCV_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=bare
    )
    assert (done.stdout.strip(), done.stderr) == ("3", "")


def test_a_word_in_a_text_is_no_animation(scan: UInt8) -> None:
    """It is the parts of a PNG that tell, not bytes anywhere in it."""
    whole = cv2.imencode(".png", scan)[1].tobytes()
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turned
    more = chunk(b"tEXt", b"Comment\0acTL") + chunk(b"eXIf", exif)
    data = whole[:33] + more + whole[33:]
    for frames in ("first", "all", "1"):
        (found,) = images.decode_frames(data, "a.png", upright=True, frames=frames)
        assert found.shape == scan.shape[::-1], frames
        (found,) = images.decode_frames(data, "a.png", frames=frames)
        assert np.array_equal(found, scan), frames


def test_grey_gifs_keep_every_level(scan: UInt8, tmp_path: Path) -> None:
    frames = [scan, scan[::-1].copy(), scan[:, ::-1].copy()]
    for many in (frames[:1], frames):
        images.write_frames(tmp_path / "a.gif", many)
        found = images.decode_frames((tmp_path / "a.gif").read_bytes(), "a.gif")
        assert len(found) == len(many)
        assert all(map(np.array_equal, found, many))
    with pytest.raises(InputError, match=r"\.gif cannot hold"):
        images.write(tmp_path / "b.gif", np.zeros((8, 8, 3), np.uint8))


def test_false_colours_are_refused(scan: UInt8, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "jet.png"), cv2.applyColorMap(scan, cv2.COLORMAP_JET))
    cv2.imwrite(str(tmp_path / "in" / "grey.jpg"), np.dstack([scan] * 3))
    done = run("denoise", tmp_path / "in", "--out", tmp_path / "out")
    assert "1 done, 1 failed" in done.output
    assert "false colours have no brightness" in done.output


def test_what_is_left_out_is_said(scan: UInt8, tmp_path: Path) -> None:
    source, other = tmp_path / "in", tmp_path / "other"
    source.mkdir()
    other.mkdir()
    for place in (source / "a.png", source / ".hidden.png", other / "far.png"):
        cv2.imwrite(str(place), scan)
    for name in ("b.heic", "c.dcm", "notes.txt"):
        (source / name).write_bytes(b"x")
    (source / "linked").symlink_to(other)
    (source / "loop").symlink_to(source)
    done = run("denoise", source, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "1 done, 0 failed, 5 left out" in done.output
    assert "left out 1 hidden files: .hidden.png" in done.output
    assert "left out 2 linked folders (--follow-symlinks)" in done.output
    assert "left out 2 files of kinds that are not read" in done.output
    done = run("denoise", source, "--out", tmp_path / "out2", "--follow-symlinks")
    assert "2 done, 0 failed" in done.output
    assert (tmp_path / "out2" / "linked" / "far.png").is_file()
    assert not (tmp_path / "out2" / "loop").exists()


def png(width: int, height: int) -> bytes:
    """A small file that promises a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return SIGNATURE + parts


def test_sizes_are_read_before_anything_is_decoded(tmp_path: Path) -> None:
    """In a process of its own, whose memory tells."""
    (tmp_path / "large.png").write_bytes(png(65_000, 65_000))
    bmp = bytearray(cv2.imencode(".bmp", np.zeros((8, 8), np.uint8))[1].tobytes())
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    (tmp_path / "large.bmp").write_bytes(bmp)
    code = """
import resource, sys
from dlkit import images
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        images.read(name)
    except images.files.InputError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    names = [str(tmp_path / "large.png"), str(tmp_path / "large.bmp")]
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    first, second, more = done.stdout.splitlines()
    assert "has 65000 x 65000 pixels" in first
    assert "--max-pixels" in second
    assert int(more) < 100  # MB


@pytest.mark.long
def test_larger_images_can_be_allowed(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 50), np.uint8))
    for most, code in ((1000, 1), (2000, 0)):
        done = subprocess.run(
            [sys.executable, "-m", "dlkit", "denoise", str(tmp_path / "a.png"),
             "--out", str(tmp_path / str(most)), "--max-pixels", str(most)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
    with pytest.raises(InputError, match="no pixels"):
        images.check(np.zeros((0, 5), np.uint8))
