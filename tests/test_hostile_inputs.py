"""What would end, block or blind a run is a row with its reason, and the others are done."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from typer.testing import CliRunner

import dlkit
from dlkit import images
from dlkit.cli import app
from dlkit.runtime.folders import array_files
from dlkit.tasks.recognize import Recognizer

DIGITS = np.zeros((3, 28, 28), np.uint8)


def recognized(folder: Path, code: int = 1, *more: str) -> dict[str, str]:
    """Names of a folder's rows, and their errors; "" where there is none."""
    table = folder.parent / "p.jsonl"
    done = CliRunner().invoke(app, ["recognize", str(folder), "--out", str(table), *more])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == code, done.output
    rows = map(json.loads, table.read_text(encoding="utf-8").splitlines())
    return {row["file"]: row.get("error", "") for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good array."""
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "good.npy", DIGITS)
    return tmp_path / "in"


GOOD = {f"good.npy[{number}]": "" for number in range(3)}


def test_devices_and_pipes_in_the_place_of_files(folder: Path) -> None:
    names = ("a.png", "a.npy", "a.npz", "a-ubyte", "a-ubyte.gz", "a.tar", "a.parquet")
    for name in names:
        (folder / name).symlink_to("/dev/zero")
        os.mkfifo(folder / f"pipe-{name}")
    found = recognized(folder)
    assert found.keys() >= GOOD.keys()
    for name in names:
        for one in (name, f"pipe-{name}"):
            assert "is no file, but a folder, a pipe or a device" in found[one], one


def npz(data: bytes, name: str = "x.npy", way: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", way) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def changed(data: bytes, at: int, value: int, size: int = 2) -> bytes:
    """Both heads of a zip's only member, the second of which has the field two bytes later."""
    second = data.rindex(b"PK\x01\x02")
    for place in (at, second + at + 2):
        data = data[:place] + value.to_bytes(size, "little") + data[place + size :]
    return data


def broken_arrays() -> Iterator[tuple[str, bytes]]:
    whole = npz(npy(DIGITS))
    yield "encrypted.npz", changed(whole, 6, 1)
    yield "unknown.npz", changed(whole, 8, 99)
    yield "sum.npz", whole.replace(bytes(2000), b"\1" + bytes(1999), 1)
    yield "empty.npz", npz(b"")
    yield "none.npz", b"PK\5\6" + bytes(18)
    yield "text.npz", npz(b"text", "x.txt")
    yield "bytes.npz", b""
    yield "pickle.npy", pickle.dumps(DIGITS)
    yield "pickled.npz", npz(pickle.dumps(DIGITS))
    # NumPy pickles objects, which is never loaded
    yield "object.npy", npy(np.array([{}], object))
    yield "struct.npy", npy(np.zeros(3, [("a", "u1"), ("b", "u1")]))
    yield "string.npy", npy(np.array(["abc"]))
    yield "date.npy", npy(np.zeros((3, 28, 28), "datetime64[s]"))
    yield "version.npy", npy(DIGITS).replace(b"NUMPY\1", b"NUMPY\7")
    huge = npy(DIGITS).replace(b"(3, 28, 28), }" + b" " * 12, b"(3, 28, 28" + b"0" * 12 + b"), }")
    assert len(huge) == len(npy(DIGITS))
    yield "huge.npy", huge
    yield "huge.npz", npz(huge)
    yield "huge-ubyte", struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)


def test_arrays_of_every_wrong_kind(folder: Path) -> None:
    names = []
    for name, data in broken_arrays():
        (folder / name).write_bytes(data)
        names.append(name)
    found = recognized(folder)
    assert found.keys() >= GOOD.keys()
    assert not any(found[name] for name in GOOD)
    for name in names:
        assert found[name].strip(), name
        assert "\n" not in found[name], name


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a-ubyte"])
def test_arrays_that_are_cut_while_they_are_read(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = np.random.default_rng(0).integers(0, 256, (4000, 28, 28), dtype=np.uint8)
    path = folder / name
    if name == "a-ubyte":
        path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, *many.shape) + many.tobytes())
    elif name == "a.npz":
        np.savez(path, x=many)
    else:
        np.save(path, many)
    read: Callable[..., Any] = array_files._Stream._read

    def cutting(self: Any, size: int, first: int) -> Any:
        data = read(self, size, first)
        if self.path.name == name and first == 0:
            os.truncate(path, path.stat().st_size // 2)
        return data

    monkeypatch.setattr(array_files._Stream, "_read", cutting)
    found = recognized(folder, 1, "--batch", "64")
    assert found.keys() >= GOOD.keys()
    assert found[name]
    assert not found[f"{name}[0]"]


def test_one_image_without_memory(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = sorted(path.name for path in digits_folder.iterdir())[7]
    prepare = Recognizer.decode_all

    def full(self: Recognizer, data: bytes, path: Any, *more: Any) -> Any:
        if Path(path).name == bad:
            raise MemoryError
        return prepare(self, data, path, *more)

    monkeypatch.setattr(Recognizer, "decode_all", full)
    source = tmp_path / "in"
    source.symlink_to(digits_folder)
    found = recognized(source)
    assert len(found) == 60
    assert {name for name, error in found.items() if error} == {bad}
    assert "not enough memory" in found[bad]


@pytest.mark.parametrize("first", ["\t", "\r"])
def test_names_that_begin_with_tab_or_return_are_quoted(
    first: str, digits_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    data = next(digits_folder.iterdir()).read_bytes()
    (tmp_path / "in" / f"{first}=1+1.png").write_bytes(data)
    table = tmp_path / "p.csv"
    done = CliRunner().invoke(app, ["recognize", str(tmp_path / "in"), "--out", str(table)])
    assert done.exit_code == 0
    assert table.read_bytes().count(f"'{first}=1+1.png".encode()) == 1


def test_what_a_callback_of_a_folder_run_raises(digits_folder: Path, tmp_path: Path) -> None:
    def boom(*_: object) -> None:
        raise ValueError("of the user's own")

    with dlkit.load("digits", backend="onnxruntime") as model:
        with pytest.raises(ValueError, match="of the user's own"):
            model.run_folder(digits_folder, tmp_path / "out", watch=boom)
        assert model.run_folder(digits_folder, tmp_path / "out").failed == 0


def test_animated_gifs_are_cleaned_frame_by_frame(scan: images.UInt8, tmp_path: Path) -> None:
    frames = [scan, scan[::-1].copy(), scan[:, ::-1].copy()]
    first, *more = map(Pil.fromarray, frames)
    (tmp_path / "in").mkdir()
    first.save(tmp_path / "in" / "a.gif", save_all=True, append_images=more, duration=100)
    done = CliRunner().invoke(
        app, ["denoise", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    with Pil.open(tmp_path / "out" / "a.gif") as file:
        assert file.n_frames == 3
    found = images.decode_frames((tmp_path / "out" / "a.gif").read_bytes(), "a.gif")
    with dlkit.load("mmwave") as model:
        for got, wanted in zip(found, model.denoise(frames), strict=True):
            assert np.array_equal(got, wanted)


def test_a_watched_file_of_the_future_is_done_once(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.png"
    path.write_bytes(next(digits_folder.iterdir()).read_bytes())
    os.utime(path, (2_208_988_800, 2_208_988_800))  # 2040
    passes = []

    def pause(seconds: float) -> None:
        passes.append(seconds)
        if len(passes) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("dlkit.runtime.folders.job.time.sleep", pause)
    done = CliRunner().invoke(
        app, ["denoise", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--watch"]
    )
    assert "1 done, 0 failed" in done.output
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert sum('"status"' in line for line in lines) == 1
