"""Which values of images stand for black and white: as their type says, or as is asked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import dlkit
from dlkit import images
from dlkit.errors import InputError
from dlkit.ranges import parse_range

from .test_image_files import close, run

UInt8 = images.UInt8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bits_in_sixteen(suffix: str, scan: UInt8, cleaned: UInt8, tmp_path: Path) -> None:
    deep = np.rint(scan.astype(np.float64) / 255 * 4095).astype(np.uint16)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / f"a{suffix}"), deep)
    done = run("denoise", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "taken as 12 bits" in done.output
    found = images.read(tmp_path / "out" / f"a{suffix}")
    assert found.dtype == np.uint16
    assert found.max() <= 4095
    assert close(found / 4095 * 255, cleaned)
    plain = run("denoise", tmp_path / "in", "--out", tmp_path / "x", "--range", "0:65535")
    assert plain.exit_code == 1
    assert "comes out all black, though it is not black" in plain.output
    narrow = run("denoise", tmp_path / "in", "--out", tmp_path / "y", "--range", "0:1000")
    assert "outside the range of 0 to 1000" in narrow.output


@pytest.mark.long
def test_fewer_bits_are_never_taken_for_sixteen(scan: UInt8, tmp_path: Path) -> None:
    deep = np.rint(scan.astype(np.float64) / 255 * 4095).astype(np.uint16)
    (tmp_path / "in").mkdir()
    (tmp_path / "late").mkdir()
    for number in range(5):  # more than are looked at to see what range they have
        cv2.imwrite(str(tmp_path / "in" / f"a{number}.png"), scan)
    cv2.imwrite(str(tmp_path / "late" / "b.png"), deep)
    coloured = np.dstack([deep] * 3 + [np.full_like(deep, 65535)])
    cv2.imwrite(str(tmp_path / "late" / "c.png"), coloured)  # its alpha says nothing of its range
    for command, out in (("detect", tmp_path / "o.csv"), ("denoise", tmp_path / "o")):
        mixed = run(command, tmp_path / "in", tmp_path / "late", "--out", out)
        assert mixed.exit_code == 1
        assert "5 done, 2 failed" in mixed.output
        assert "no value above 4095" in mixed.output
        both = run(command, tmp_path / "in", tmp_path / "late", "--out", out, "--range", "0:4095",
                   "--overwrite")  # fmt: skip
        assert "7 done, 0 failed" in both.output  # 12 bits are not the range of 8
        if command == "denoise":
            assert images.read(out / "in" / "a0.png").max() > 200
            assert images.read(out / "late" / "b.png").max() > 3000
        alone = run(command, tmp_path / "late", "--out", out, "--overwrite")
        assert "taken as 12 bits" in alone.output
        assert "2 done, 0 failed" in alone.output


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_fewer_bits_in_memory(bits: int, scan: UInt8) -> None:
    deep = np.rint(scan.astype(np.float64) / 255 * (2**bits - 1)).astype(np.uint16)
    for name in ("mmwave", "objects"):
        with dlkit.load(name) as model:
            with pytest.raises(InputError, match=rf"--range 0:{2**bits - 1}, or"):
                model.answers([deep], 1)
            model.answers([deep * 0], 1)  # of nothing any range is right
    with dlkit.load("objects") as detector:
        detector.range = (0, 65535)
        detector.detect([deep])


def test_digits_of_fewer_bits_are_read(digits_folder: Path) -> None:
    found = [images.read(path) for path in sorted(digits_folder.glob("*.png"))[:20]]
    with dlkit.load("digits") as model:
        expected = [one.label for one in model.recognize(found)]
        for times in (1, 16):
            deep = [one.astype(np.uint16) * times for one in found]
            assert [one.label for one in model.recognize(deep)] == expected


def test_floats_need_a_range(scan: UInt8, cleaned: UInt8, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.tif"), scan.astype(np.float32) / 255)
    done = run("denoise", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "--range LOW:HIGH" in done.output
    done = run("denoise", tmp_path / "in", "--out", tmp_path / "out", "--range", "0:1")
    assert done.exit_code == 0, done.output
    (found,) = images.decode_frames((tmp_path / "out" / "a.tif").read_bytes(), "a")
    assert found.dtype == np.float32
    assert close(found * 255, cleaned)
    for text in ("1", "1:0", "a:b", "0:inf", "nan:1"):
        with pytest.raises(dlkit.UsageError, match="expected LOW:HIGH"):
            parse_range(text)
