"""Archives that were made to hang, to fill the memory or to crash, and what pack does not lose."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import InputError, UsageError

from .test_archives import below, dlkit, image, members, put, table


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def fields(size: int) -> bytes:
    """A header of fields for all members from there on."""
    text = b"%d a=" % size
    text += b"x" * (size - len(text) - 1) + b"\n"
    return header("g", size, tarfile.XGLTYPE) + text + bytes(-size % 512)


HOSTILE = {
    "claims a petabyte": header("a.png", 10**15) + bytes(1024),
    "claims a petabyte, of another kind": header("a.txt", 10**15) + bytes(1024),
    "names of names": (header("n", 2, tarfile.GNUTYPE_LONGNAME) + b"n\0" + bytes(510)) * 600,
    "a sparse file that is cut": header("a.png", 512, tarfile.GNUTYPE_SPARSE)[:500],
    "fields that add up": gzip.compress(
        b"".join(fields(1 << 20).replace(b" a=", b" %c=" % (97 + place)) for place in range(20))
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_lies_is_damaged(name: str) -> None:
    found = members(io.BytesIO(HOSTILE[name]))
    assert found
    assert isinstance(found[-1][1], InputError)
    assert found[-1][0] == ""


def test_names_that_no_file_can_have(digits_folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x.png")
        info.pax_headers = {"path": "a\0b.png"}
        archive.addfile(info)
        put(archive, "good.png", image(digits_folder))
        put(archive, "film.heic", b"x")
    done = dlkit("recognize", tmp_path / "a.tar", "--out", tmp_path / "p.csv")
    assert done.exit_code == 1
    assert "holds a NUL" in done.output
    assert "left out 1 files of kinds that are not read: a.tar/film.heic" in done.output
    assert below(table(tmp_path / "p.csv"), "a.tar")["good.png"][2] == ""


def test_nothing_to_pack_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "000000.tar").write_bytes(b"of somebody")
    done = CliRunner().invoke(
        app, ["pack", str(tmp_path / "in"), str(tmp_path / "out"), "--overwrite"]
    )
    assert isinstance(done.exception, InputError)
    assert (tmp_path / "out" / "000000.tar").read_bytes() == b"of somebody"


def test_pack_replaces_its_own_tar_files_alone(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"x" * 100)
    assert dlkit("pack", folder, out, "--files", 1).exit_code == 0
    for others in (b"precious", b"precious" * 1000):
        (out / "000009.tar").write_bytes(others)
        for place in (out, f"file://{out}"):
            refused = dlkit("pack", folder, place, "--overwrite").exception
            assert isinstance(refused, UsageError)
            assert "000009.tar is no tar file of dlkit pack" in str(refused)
        assert (out / "000009.tar").read_bytes() == others
    assert len(list(out.iterdir())) == 4
    (out / "000009.tar").unlink()
    assert dlkit("pack", folder, f"file://{out}", "--overwrite").exit_code == 0
    assert [path.name for path in out.iterdir()] == ["000000.tar"]


def test_many_files_of_one_name_up_to_the_point_are_cut(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):
        (tmp_path / "in" / f"scan.{number:04}.png").write_bytes(b"x" * 100)
    done = dlkit("pack", tmp_path / "in", tmp_path / "out", "--files", 10)
    assert "30 files in 3 tar files" in done.output


def test_a_plan_that_begins_anew_takes_archives_anew(digits_folder: Path, tmp_path: Path) -> None:
    assert dlkit("pack", digits_folder, tmp_path / "in", "--files", 30).exit_code == 0
    arguments = ("recognize", tmp_path / "in", "--out", tmp_path / "p.csv")
    assert dlkit(*arguments).exit_code == 0
    assert dlkit(*arguments, "--shard", "plan", "--overwrite").exit_code == 0
    for shard in ("0/1", "join"):
        done = dlkit(*arguments, "--shard", shard)
        assert done.exit_code == 0, done.output
    assert "60 done, 0 failed" in done.output
    assert "done before" not in done.output


@pytest.mark.parametrize("kind", ["tar", "gz", "zeros", "noise"])
def test_what_follows_the_end_of_an_archive(kind: str, digits_folder: Path, tmp_path: Path) -> None:
    buffers = []
    for name in ("a.png", "b.png"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            put(archive, name, image(digits_folder))
        buffers.append(buffer.getvalue())
    one, two = buffers
    data = {
        "tar": one + two,
        "gz": gzip.compress(one) + gzip.compress(two),
        "zeros": one + bytes(2 << 20),
        "noise": one + bytes(2 << 20) + b"x",
    }[kind]
    (tmp_path / "c.tar").write_bytes(data)
    done = dlkit("recognize", tmp_path / "c.tar", "--out", tmp_path / "p.csv")
    assert below(table(tmp_path / "p.csv"), "c.tar")["a.png"][2] == ""
    assert done.exit_code == (0 if kind == "zeros" else 1)
    follows = "the archive ends after 1 files, and something follows"
    assert (follows in done.output.replace("\n", " ")) == (kind != "zeros")
