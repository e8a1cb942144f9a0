"""Tar and Parquet files as inputs: as the folder that they hold; nothing of them is trusted."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import DlkitError, InputError, UsageError
from dlkit.runtime.folders.parquet_files import parquet_members
from dlkit.runtime.folders.tar_files import tar_members
from dlkit.storage import ObjectFile

from .stores import BUCKET, client, contents, served, use

NAMES = itertools.count()


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def table(path: Path) -> dict[str, list[str]]:
    """Rows by the file's name."""
    with path.open(newline="") as file:
        return {row[0]: row[1:] for row in csv.reader(file)}


def below(rows: dict[str, list[str]], name: str) -> dict[str, list[str]]:
    """Those in an archive, by their names there."""
    return {one.removeprefix(f"{name}/"): row for one, row in rows.items() if f"{name}/" in one}


def put(archive: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "a.png"
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    archive.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def digits(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits in three tar files."""
    out = tmp_path_factory.mktemp("shards")
    done = dlkit("pack", digits_folder, out, "--files", 25)
    assert done.exit_code == 0, done.output
    assert "60 files in 3 tar files" in done.output
    return out


@pytest.fixture(scope="module")
def wanted(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the folder gives."""
    out = tmp_path_factory.mktemp("out") / "p.csv"
    assert dlkit("recognize", digits_folder, "--out", out).exit_code == 0
    rows = table(out)
    del rows["file"]
    return rows


def members(file: io.BytesIO) -> list[Any]:
    return list(tar_members(file, lambda name: name.endswith(".png"), bool, lambda why, name: None))


def image(digits_folder: Path) -> bytes:
    return min(digits_folder.glob("*.png")).read_bytes()


def test_pack_is_the_same_every_time(digits: Path, digits_folder: Path, tmp_path: Path) -> None:
    again = dlkit("pack", digits_folder, tmp_path, "--files", 25)
    assert again.exit_code == 0
    names = sorted(path.name for path in digits.iterdir())
    assert names == ["000000.tar", "000001.tar", "000002.tar"]
    for name in names:
        assert (tmp_path / name).read_bytes() == (digits / name).read_bytes()
    found = {}
    for name in names:
        with tarfile.open(digits / name) as archive:
            for info in archive:
                content = archive.extractfile(info)
                assert content is not None
                found[info.name] = content.read()
    assert list(found) == sorted(found)
    assert found == {path.name: path.read_bytes() for path in digits_folder.glob("*.png")}
    # there are some: they stay, or all are replaced
    assert isinstance(dlkit("pack", digits_folder, tmp_path).exception, UsageError)
    assert dlkit("pack", digits_folder, tmp_path, "--overwrite").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["000000.tar"]


def test_what_belongs_together_stays_together(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        for ending in ("png", "cls", "json"):
            (folder / f"{index}.{ending}").write_bytes(bytes(300))
    (folder / ".hidden").write_bytes(b"")
    done = dlkit("pack", folder, tmp_path / "out", "--size", "1KB")
    assert done.exit_code == 0
    assert "left out 1 hidden files" in done.output
    for number in range(5):
        with tarfile.open(tmp_path / "out" / f"{number:06d}.tar") as archive:
            assert archive.getnames() == [f"{number}.{one}" for one in ("cls", "json", "png")]
    for arguments in ((folder, folder), (tmp_path / "none", tmp_path / "x")):
        assert isinstance(dlkit("pack", *arguments).exception, UsageError)
    (tmp_path / "empty").mkdir()
    assert isinstance(dlkit("pack", tmp_path / "empty", tmp_path / "x").exception, InputError)


def test_tar_files_are_folders(digits: Path, wanted: dict[str, list[str]], tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    done = dlkit("recognize", digits, "--out", out)
    assert done.exit_code == 0, done.output
    rows = table(out)
    del rows["file"]
    assert len(rows) == 60
    assert {name.partition("/")[2]: row for name, row in rows.items()} == wanted
    assert {name.partition("/")[0] for name in rows} == {f"00000{one}.tar" for one in range(3)}
    again = dlkit("recognize", digits, "--out", out)
    assert "60 done before, 0 done" in again.output
    dry = dlkit("recognize", digits, "--out", out, "--dry-run")
    assert "would do 0, done before 60" in dry.output
    # an archive that changed is done again
    path = tmp_path / "one.tar"
    path.write_bytes((digits / "000000.tar").read_bytes())
    arguments = ("recognize", path, "--out", tmp_path / "q.csv")
    assert "25 done, 0 failed" in dlkit(*arguments).output
    path.write_bytes((digits / "000001.tar").read_bytes())
    assert "25 done, 0 failed" in dlkit(*arguments).output
    assert below(table(tmp_path / "q.csv"), "one.tar").items() <= wanted.items()


def test_scans_in_archives_have_their_outputs(scans_folder: Path, tmp_path: Path) -> None:
    assert dlkit("pack", scans_folder, tmp_path / "in").exit_code == 0
    packed = tmp_path / "in" / "000000.tar"
    (tmp_path / "in" / "more.TGZ").write_bytes(gzip.compress(packed.read_bytes()))
    assert dlkit("denoise", scans_folder, "--out", tmp_path / "a").exit_code == 0
    done = dlkit("denoise", tmp_path / "in", "--out", tmp_path / "b")
    assert done.exit_code == 0, done.output
    for archive in ("000000.tar", "more.TGZ"):
        for name in ("one.png", "a b/zwei-ü.png"):
            assert (tmp_path / "b" / archive / name).read_bytes() == (
                tmp_path / "a" / name
            ).read_bytes()
    assert "4 done before" in dlkit("denoise", tmp_path / "in", "--out", tmp_path / "b").output


def test_nothing_in_a_tar_file_is_trusted(digits_folder: Path, tmp_path: Path) -> None:
    data = image(digits_folder)
    folder = tmp_path / "in"
    folder.mkdir()
    with tarfile.open(folder / "evil.tar", "w") as archive:
        put(archive, "./good.png", data)
        put(archive, "../up.png", data)
        put(archive, "a/../../up.png", data)
        put(archive, str(tmp_path / "absolute.png"), data)
        put(archive, "link.png", b"", tarfile.SYMTYPE)
        put(archive, "hard.png", b"", tarfile.LNKTYPE)
        put(archive, "pipe.png", b"", tarfile.FIFOTYPE)
        put(archive, "device.png", b"", tarfile.CHRTYPE)
        put(archive, "folder.png", b"", tarfile.DIRTYPE)
        put(archive, "good.png", data)
        put(archive, "._good.png", data)
        put(archive, "notes.txt", data)
        put(archive, "=1+1.png", data)
        put(archive, "no.png", b"nonsense")
    done = dlkit("denoise", folder, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "left out 1 hidden files: evil.tar/._good.png" in done.output
    text = (tmp_path / "out" / "manifest.jsonl").read_text()
    lines = {line["file"]: line for line in map(json.loads, text.splitlines()) if "file" in line}
    errors = {name: line["error"] for name, line in lines.items() if line["status"] == "failed"}
    above = "its name leads out of the archive"
    assert errors.pop(f"evil.tar/{tmp_path}/absolute.png") == above
    assert "is no image" in errors.pop("evil.tar/no.png")
    assert errors == {
        "evil.tar/../up.png": above,
        "evil.tar/a/../../up.png": above,
        "evil.tar/link.png": "is a link, and no file",
        "evil.tar/hard.png": "is a link, and no file",
        "evil.tar/pipe.png": "is a device or the like, and no file",
        "evil.tar/device.png": "is a device or the like, and no file",
        "evil.tar/good.png (2)": "the archive has this name twice",
    }
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    made = {"good.png", "=1+1.png"}
    assert files == {"in/evil.tar", "out/manifest.jsonl"} | {f"out/evil.tar/{one}" for one in made}


def cases(data: bytes) -> Iterator[tuple[str, bytes, str, int]]:
    """Name, content, part of the error, and images that are found all the same."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for index in range(4):
            put(archive, f"{index}.png", data)
    whole = buffer.getvalue()
    each = 512 + -(-len(data) // 512) * 512
    packed = gzip.compress(whole)
    yield "nothing.tar", b"", "damaged or cut after 0 files", 0
    yield "zeros.tar", bytes(10240), "holds no file", 0
    yield "nonsense.tar", b"nonsense" * 1000, "damaged or cut after 0 files", 0
    yield "cut.tar", whole[: 2 * each + 600], "damaged or cut after 2 files", 2
    yield "cut_between.tar", whole[: 2 * each], "damaged or cut after 2 files", 2
    yield "header.tar", whole[:each] + b"\xff" * 512 + whole[each + 512 :], "after 1 files", 1
    yield "gzip_cut.tar.gz", packed[:-20], "damaged or cut after", -1
    yield "gzip_sum.tar.gz", packed[:-6] + b"\0\0\0\0\0\0", "after 4 files", 4
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        put(archive, "a" * 2_000_000 + ".png", data)
    yield "name.tar", buffer.getvalue(), "fields of 2000005 bytes", 0
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as archive:
        put(archive, "notes.txt", data)
    yield "texts.tar", buffer.getvalue(), "holds no file of a kind that is taken", 0


def test_damaged_archives_are_rows_and_the_others_are_done(
    digits_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    some = list(cases(image(digits_folder)))
    for name, content, _, _ in some:
        (folder / name).write_bytes(content)
    (folder / "broken.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    (folder / "single.png").write_bytes(image(digits_folder))
    for _ in range(2):  # and again
        done = dlkit("recognize", folder, "--out", tmp_path / "p.csv")
        assert done.exit_code == 1
        rows = table(tmp_path / "p.csv")
        for name, _, error, count in some:
            assert error in rows[name][2], name
            found = below(rows, name)
            assert all(row[2] == "" for row in found.values())
            assert count in (len(found), -1), name
        assert "cannot be read as a Parquet file after 0 rows" in rows["broken.parquet"][2]
        assert rows["single.png"][2] == ""


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_files_have_images(
    struct: bool, digits_folder: Path, wanted: dict[str, list[str]], tmp_path: Path
) -> None:
    paths = sorted(digits_folder.glob("*.png"))
    data: list[Any] = [path.read_bytes() for path in paths]
    data.insert(1, None)
    data.insert(2, b"nonsense")
    if struct:  # as Hugging Face's datasets have it
        data = [{"bytes": one, "path": "../x.png"} for one in data]
    columns = {"label": list(range(62)), "image": data, "other": [b""] * 62}
    parquet.write_table(arrow.table(columns), tmp_path / "d.parquet", row_group_size=10)
    done = dlkit("recognize", tmp_path / "d.parquet", "--out", tmp_path / "p.csv")
    assert done.exit_code == 1
    assert "60 done, 2 failed" in done.output
    rows = below(table(tmp_path / "p.csv"), "d.parquet")
    assert rows.pop("00000001")[2] == "row 1 has no image"
    assert "00000002: is no image" in rows.pop("00000002")[2]
    names = [f"{index:08d}.png" for index in (0, *range(3, 62))]
    assert [rows[name] for name in names] == [wanted[path.name] for path in paths]
    assert "60 done before" in dlkit(
        "recognize", tmp_path / "d.parquet", "--out", tmp_path / "p.csv"
    ).output  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"a": [1], "b": ["x"]}, "has no column of images (bytes); it has a int64, b string"),
        ({"a": [b"x"], "b": [b"x"]}, "several columns of bytes: a, b"),
        ({"a": arrow.array([], arrow.binary())}, "has no rows"),
    ],
)
def test_parquet_files_without_images(columns: dict[str, Any], error: str, tmp_path: Path) -> None:
    parquet.write_table(arrow.table(columns), tmp_path / "d.parquet")
    done = dlkit("recognize", tmp_path / "d.parquet", "--out", tmp_path / "p.csv")
    assert done.exit_code == 1
    assert error in table(tmp_path / "p.csv")["d.parquet"][2]


def test_arrays_in_archives(tmp_path: Path) -> None:
    """Bundles of other tasks take what they take of folders."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 28, 28), np.uint8))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        put(archive, "x.npy", buffer.getvalue())
    done = dlkit(
        "run", "digits", tmp_path / "a.tar", "--task", "tensors", "--out", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "out" / "a.tar" / "x.npy.npz") as found:
        assert found["probabilities"].shape == (2, 10)


def test_a_table_in_parquet(digits_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted(digits_folder.glob("*.png"))[:5]:
        (folder / f"={path.name}").write_bytes(path.read_bytes())
    (folder / "bad.png").write_bytes(b"nonsense")
    options = ("--reject", "0.999999")
    assert dlkit("recognize", folder, "--out", tmp_path / "p.csv", *options).exit_code == 1
    assert dlkit("recognize", folder, "--out", tmp_path / "p.parquet", *options).exit_code == 1
    found = parquet.read_table(tmp_path / "p.parquet")
    types = dict(zip(found.schema.names, map(str, found.schema.types), strict=True))
    assert types == {
        "file": "string", "digit": "string", "probability": "double", "error": "string",
        "line": "int32", "place": "int32", "x": "int32", "y": "int32", "width": "int32",
        "height": "int32", "text": "string", "unsure": "bool",
    }  # fmt: skip
    rows = table(tmp_path / "p.csv")
    names = rows.pop("file")
    assert found.num_rows == len(rows) == 6
    for one in found.to_pylist():
        name = one.pop("file")
        assert not name.startswith("'")  # no spreadsheet reads it
        row = dict(zip(names, rows[f"'{name}" if name[0] == "=" else name], strict=True))
        assert row.pop("unsure") == ("yes" if one.pop("unsure") else "")
        assert {key: "" if cell is None else str(cell) for key, cell in one.items()} == row


def test_a_name_that_is_no_text_in_parquet(digits_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    (folder / name).write_bytes(image(digits_folder))
    assert dlkit("recognize", folder, "--out", tmp_path / "p.parquet").exit_code == 0
    (row,) = parquet.read_table(tmp_path / "p.parquet").to_pylist()
    assert row["file"] == "\\xff.png"


@pytest.fixture(scope="module", params=["moto", "rclone"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served(request.param, tmp_path_factory.mktemp(request.param)) as port:
        yield port


@pytest.mark.long
def test_archives_in_a_bucket(
    port: int, monkeypatch: pytest.MonkeyPatch, digits_folder: Path, digits: Path,
    wanted: dict[str, list[str]], tmp_path: Path,
) -> None:  # fmt: skip
    use(port, monkeypatch)
    below_it = f"archives{next(NAMES)}"
    store, url = client(port, below_it), f"s3://{BUCKET}/{below_it}"
    assert dlkit("pack", digits_folder, f"{url}/in", "--files", 25).exit_code == 0
    packed = contents(store, "in")
    assert packed == {path.name: path.read_bytes() for path in digits.iterdir()}
    buffer = io.BytesIO()
    paths = sorted(digits_folder.glob("*.png"))
    data = {"image": [path.read_bytes() for path in paths]}
    parquet.write_table(arrow.table(data), buffer)
    store.put("in/d.parquet", buffer.getvalue())
    store.put("in/cut.tar", packed["000000.tar"][:9000])
    done = dlkit("recognize", f"{url}/in", "--out", tmp_path / "p.csv")
    assert done.exit_code == 1
    assert "1 failed" in done.output
    rows = table(tmp_path / "p.csv")
    assert "cut after" in rows["cut.tar"][2]
    for name in packed:
        assert below(rows, name).items() <= wanted.items()
    assert list(below(rows, "d.parquet").values()) == [wanted[path.name] for path in paths]
    again = dlkit("recognize", f"{url}/in", "--out", tmp_path / "p.csv")
    assert "0 done, 1 failed" in again.output
    assert table(tmp_path / "p.csv") == rows


class Memory:
    """A store of one object that changes now and then."""

    def __init__(self, data: bytes) -> None:
        self.data, self.tag, self.asked = data, "1", 0

    def get_range(self, key: str, start: int, stop: int) -> tuple[bytes, str]:
        self.asked += 1
        return self.data[start:stop], self.tag


def test_an_object_is_a_file() -> None:
    data = np.random.default_rng(0).bytes(1000)
    store: Any = Memory(data)
    with ObjectFile(store, "x", 1000, "1", block=64) as file:
        assert file.read() == data
        assert store.asked == 16  # each block once
        for at, whence in ((10, 0), (-10, 2), (0, 2), (500, 0)):
            file.seek(at, whence)
            place = file.tell()
            assert file.read(100) == data[place : place + 64][: 64 - place % 64]
        store.tag = "2"
        file.seek(0)
        with pytest.raises(InputError, match="changed while it was read"):
            file.read(1)


@pytest.mark.long
def test_shards_are_archives_as_they_are(
    digits: Path, digits_folder: Path, wanted: dict[str, list[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in digits.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "single.png").write_bytes(image(digits_folder))
    (folder / "cut.tar").write_bytes((digits / "000000.tar").read_bytes()[:9000])
    out = tmp_path / "p.csv"
    arguments = ("recognize", folder, "--out", out)
    planned = dlkit(*arguments, "--shard", "plan")
    assert "5 inputs in 5 shards" in planned.output
    for part in range(3):
        assert dlkit(*arguments, "--shard", f"{part}/3").exit_code in (0, 1)
    joined = dlkit(*arguments, "--shard", "join")
    assert joined.exit_code == 1
    assert "1 failed" in joined.output
    rows = table(out)
    assert dlkit("recognize", folder, "--out", tmp_path / "q.csv").exit_code == 1
    assert {name: row for name, row in rows.items() if name != "cut.tar"} == {
        name: row for name, row in table(tmp_path / "q.csv").items() if name != "cut.tar"
    }
    for name in ("000000.tar", "000001.tar", "000002.tar"):
        assert below(rows, name).items() <= wanted.items()
    # the next plan takes over what is as it was, and does again what changed
    (folder / "cut.tar").write_bytes((digits / "000000.tar").read_bytes())
    assert "5 inputs in 5 shards" in dlkit(*arguments, "--shard", "plan").output
    assert dlkit(*arguments, "--shard", "0/1").exit_code == 0
    joined = dlkit(*arguments, "--shard", "join")
    assert "61 done before, 25 done, 0 failed" in joined.output
    again = table(out)
    assert again.items() >= {name: row for name, row in rows.items() if "cut" not in name}.items()
    assert len(below(again, "cut.tar")) == 25


def test_what_is_left_out_is_said_of_shards_too(digits_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as archive:
        put(archive, "._a.png", b"")
        put(archive, "a.png", image(digits_folder))
    arguments = ("recognize", tmp_path / "in", "--out", tmp_path / "p.csv", "--shard")
    assert dlkit(*arguments, "plan").exit_code == 0
    part = dlkit(*arguments, "0/1")
    assert "left out 1 hidden files: a.tar/._a.png" in part.output
    joined = dlkit(*arguments, "join")
    assert joined.exit_code == 0, joined.exception
    assert "left out 1 hidden files\n" in joined.output


@pytest.mark.long
def test_outputs_of_shards_that_are_archives(scans_folder: Path, tmp_path: Path) -> None:
    assert dlkit("pack", scans_folder, tmp_path / "in", "--files", 1).exit_code == 0
    arguments = ("denoise", tmp_path / "in", "--out", tmp_path / "out")
    for _ in range(2):
        for shard in ("0/2", "1/2", "join"):
            done = dlkit(*arguments, "--shard", shard)
            assert done.exit_code == 0, done.output
    assert "2 done before, 0 done" in done.output
    (tmp_path / "out" / "000000.tar" / "a b" / "zwei-ü.png").unlink()
    # an archive that changed: what dlkit wrote is replaced
    (tmp_path / "in" / "000001.tar").write_bytes((tmp_path / "in" / "000000.tar").read_bytes())
    for shard in ("0/1", "join"):
        done = dlkit(*arguments, "--shard", shard)
    assert "\n2 done, 0 failed" in done.output


def test_mutants_of_archives(digits_folder: Path) -> None:
    """Whatever the bytes, there are members and errors, and no other exception."""
    data = image(digits_folder)
    seeds = [content for name, content, *_ in cases(data) if name in ("name.tar", "texts.tar")]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w", format=form) as archive:
            for name in ("a.png", f"b/{'c' * 120}.png", "ü.png"):
                put(archive, name, data)
        seeds += [buffer.getvalue(), gzip.compress(buffer.getvalue())]
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({"image": [data] * 20}), buffer, row_group_size=5)
    seeds += [buffer.getvalue()] * 3
    chance = random.Random(0)
    failed = 0
    for number in range(int(os.environ.get("DLKIT_MUTANTS", 300))):
        mutant = bytearray(seeds[number % len(seeds)])
        for _ in range(chance.randint(1, 4)):
            # the end of a Parquet file says where everything is
            at = chance.choice([0, max(0, len(mutant) - 700)])
            at = min(at + chance.randrange(700), len(mutant) - 1)
            if chance.random() < 0.7:
                mutant[at] = chance.randrange(256)
            else:
                del mutant[at : at + chance.randint(1, 600)]
        file = io.BytesIO(bytes(mutant))
        if mutant.startswith(b"PAR1") or mutant.endswith(b"PAR1"):
            found = list(parquet_members(file))
        else:
            found = members(file)
        assert found
        for name, content in found:
            assert isinstance(content, bytes | DlkitError)
            assert not isinstance(content, bytes) or ".." not in name.split("/")
        failed += isinstance(found[-1][1], DlkitError)
    assert failed
