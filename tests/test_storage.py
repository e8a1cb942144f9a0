"""Folder runs on object storage: the same answers, and the same promises."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from obstore.store import S3Store
from typer.testing import CliRunner

import dlkit as public
from dlkit.cli import app
from dlkit.errors import DlkitError, UsageError
from dlkit.storage import Address, place

from .stores import BUCKET, client, contents, environment, fill, served, use

NAMES = itertools.count()


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(port: int, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dlkit", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment(port)},
    )


class Server(NamedTuple):
    kind: str
    port: int
    folder: Path


class Bucket(NamedTuple):
    """A place of its own for a test."""

    store: S3Store
    port: int
    url: str

    def lines(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in bytes(self.store.get(key).bytes()).splitlines()]


@pytest.fixture(scope="session", params=["moto", "rclone"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    with served(request.param, folder) as port:
        yield Server(request.param, port, folder)


@pytest.fixture
def here(server: Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    use(server.port, monkeypatch)
    below = f"test{next(NAMES)}"
    return Bucket(client(server.port, below), server.port, f"s3://{BUCKET}/{below}")


def table(data: bytes) -> list[list[str]]:
    """Rows in the order of their names."""
    return sorted(csv.reader(io.StringIO(data.decode())))


def plain_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a manifest says of answers, not of dates and places."""
    keep = ("file", "status", "bytes", "written", "digit", "probability")
    rows = [{name: line[name] for name in keep if name in line} for line in lines if "file" in line]
    return sorted(rows, key=lambda line: line["file"])


@pytest.mark.long
def test_digits_are_the_same_as_from_a_folder(
    here: Bucket, digits_folder: Path, tmp_path: Path
) -> None:
    fill(here.store, digits_folder, "in/put")
    assert dlkit("recognize", digits_folder, "--out", tmp_path / "p.csv").exit_code == 0
    done = dlkit("recognize", f"{here.url}/in/put", "--out", f"{here.url}/out/p.csv")
    assert done.exit_code == 0, done.output
    assert f"{here.url}/out/p.csv" in done.output
    found = contents(here.store, "out")
    assert found.keys() == {"p.csv", "p.csv.manifest.jsonl"}  # no part is left
    assert table(found["p.csv"]) == table((tmp_path / "p.csv").read_bytes())
    assert len(table(found["p.csv"])) == 61
    text = (tmp_path / "p.csv.manifest.jsonl").read_text()
    local = [json.loads(line) for line in text.splitlines()]
    manifest = here.lines("out/p.csv.manifest.jsonl")
    assert plain_lines(manifest) == plain_lines(local)
    files = [line for line in manifest if "file" in line]
    assert all(line["etag"] and "modified_ns" not in line for line in files)
    # from a bucket into a folder, and from a folder into a bucket
    assert dlkit("recognize", f"{here.url}/in/put", "--out", tmp_path / "q.csv").exit_code == 0
    assert table((tmp_path / "q.csv").read_bytes()) == table(found["p.csv"])
    assert dlkit("recognize", digits_folder, "--out", f"{here.url}/out/q.csv").exit_code == 0
    assert table(contents(here.store, "out")["q.csv"]) == table(found["p.csv"])


@pytest.mark.long
def test_scans_are_the_same_as_from_a_folder(
    server: Server, here: Bucket, scans_folder: Path, tmp_path: Path
) -> None:
    fill(here.store, scans_folder, "scans")
    assert dlkit("denoise", scans_folder, "--out", tmp_path / "out").exit_code == 0
    done = dlkit("denoise", f"{here.url}/scans")  # beside them, as folders have it
    assert done.exit_code == 0, done.output
    found = contents(here.store, "scans-denoised")
    assert found.keys() == {"one.png", "a b/zwei-ü.png", "manifest.jsonl"}
    for name in found.keys() - {"manifest.jsonl"}:
        assert found[name] == (tmp_path / "out" / name).read_bytes()
    # rclone's server replaces what must not be there: that is said
    assert ("without regard to If-None-Match" in done.output) == (server.kind == "rclone")
    again = dlkit("denoise", f"{here.url}/scans")
    assert "2 done before, 0 done" in again.output
    with public.load("mmwave") as model:
        tally = model.run_folder(f"{here.url}/scans", tmp_path / "python")
    assert tally.done == 2
    assert (tmp_path / "python" / "one.png").read_bytes() == found["one.png"]


@pytest.mark.long
def test_a_second_run_redoes_what_changed_and_nothing_else(
    here: Bucket, scans_folder: Path
) -> None:
    fill(here.store, scans_folder, "in")
    arguments = ("denoise", f"{here.url}/in", "--out", f"{here.url}/out")
    assert dlkit(*arguments).exit_code == 0
    before = contents(here.store, "out")
    # another content of the same size: the ETag tells
    data = bytearray((scans_folder / "one.png").read_bytes())
    other = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_UNCHANGED)
    here.store.put("in/one.png", cv2.imencode(".png", other[::-1])[1].tobytes())
    assert "1 done before, 1 done" in dlkit(*arguments).output
    after = contents(here.store, "out")
    assert after["one.png"] != before["one.png"]
    # an output that is gone, and one that somebody replaced by as many bytes
    here.store.delete("out/one.png")
    name = "a b/zwei-ü.png"
    mine = bytes(len(after[name]))
    here.store.put(f"out/{name}", mine)
    done = dlkit(*arguments)
    assert "1 done, 1 failed" in done.output
    assert "was changed since dlkit wrote it" in done.output.replace("\n", " ")
    assert contents(here.store, "out")[name] == mine
    here.store.delete(f"out/{name}")
    assert "1 done before, 1 done, 0 failed" in dlkit(*arguments).output
    assert contents(here.store, "out") | {"manifest.jsonl": b""} == after | {"manifest.jsonl": b""}
    here.store.put("in/new.png", (scans_folder / "one.png").read_bytes())
    assert "2 done before, 1 done" in dlkit(*arguments).output


@pytest.mark.long
def test_only_what_dlkit_put_is_replaced(here: Bucket, scans_folder: Path) -> None:
    fill(here.store, scans_folder, "in")
    here.store.put("out/one.png", b"mine")
    arguments = ("denoise", f"{here.url}/in", "--out", f"{here.url}/out")
    done = dlkit(*arguments)
    assert done.exit_code == 1
    said = done.output.replace("\n", " ")
    assert "is there already, and this manifest does not say that dlkit wrote it" in said
    assert contents(here.store, "out")["one.png"] == b"mine"
    failed = [line for line in here.lines("out/manifest.jsonl") if line["status"] == "failed"]
    assert [line["file"] for line in failed] == ["one.png"]
    assert dlkit(*arguments, "--overwrite").exit_code == 0
    assert contents(here.store, "out")["one.png"] != b"mine"
    # what a killed run put before it could say so is dlkit's own
    here.store.delete("out/manifest.jsonl")
    assert dlkit(*arguments, "--backend", "openvino").exit_code == 0
    here.store.put("table.csv", b"mine")
    refused = dlkit("recognize", f"{here.url}/in", "--out", f"{here.url}/table.csv")
    assert isinstance(refused.exception, UsageError)
    assert bytes(here.store.get("table.csv").bytes()) == b"mine"


def test_every_input_is_done_or_listed(here: Bucket, scans_folder: Path) -> None:
    fill(here.store, scans_folder, "in")
    here.store.put("in/bad.png", b"nonsense")
    here.store.put("in/.hidden/x.png", b"nonsense")
    here.store.put("in/x.dcm", b"nonsense")
    here.store.put("in/notes.txt", b"nonsense")
    done = dlkit("denoise", f"{here.url}/in", "--out", f"{here.url}/in/out")
    assert done.exit_code == 1
    assert "in/bad.png: is no image" in done.output
    assert "left out 1 hidden files" in done.output
    assert "left out 1 files of kinds that are not read" in done.output
    assert len(here.lines("in/out/manifest.jsonl")) == 3
    again = dlkit("denoise", f"{here.url}/in", "--out", f"{here.url}/in/out")
    assert "2 done before, 0 done, 1 failed" in again.output  # outputs are no inputs


@pytest.mark.long
def test_a_run_that_is_killed_goes_on_as_if_it_was_not(here: Bucket, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for index in range(40):
        scan = noise.integers(0, 256, (160, 120), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index:02d}.png"), scan)
    assert dlkit("denoise", folder, "--out", tmp_path / "out").exit_code == 0
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    fill(here.store, folder, "in")
    arguments = ("denoise", f"{here.url}/in", "--out", f"{here.url}/out", "--workers", "1")
    dice = random.Random(0)
    for _ in range(3):
        run = start(here.port, *arguments)
        while run.poll() is None and len(contents(here.store, "out")) < 2:
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 0.4))
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert run.stderr is not None
        run.stderr.close()
    done = dlkit(*arguments)
    assert done.exit_code == 0, done.output
    found = contents(here.store, "out")
    lines = here.lines("out/manifest.jsonl")
    assert found.keys() == wanted.keys() | {"manifest.jsonl"}
    assert {name: found[name] for name in wanted} == wanted
    assert {line["file"] for line in lines if line["status"] == "done"} == wanted.keys()


@pytest.mark.long
def test_tables_and_pictures_go_there_too(here: Bucket, digits_folder: Path) -> None:
    fill(here.store, digits_folder, "in")
    arrays = np.stack([cv2.imread(str(path), 0) for path in sorted(digits_folder.glob("*.png"))])
    buffer = io.BytesIO()
    np.save(buffer, arrays)
    here.store.put("in/all.npy", buffer.getvalue())
    done = dlkit(
        "recognize", f"{here.url}/in", "--out", f"{here.url}/p.jsonl", "--annotate",
        f"{here.url}/seen",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = here.lines("p.jsonl")
    answers = {row["file"]: row["digit"] for row in rows}
    assert len(answers) == 120
    names = sorted(path.name for path in digits_folder.glob("*.png"))
    assert [answers[f"all.npy[{at}]"] for at in range(60)] == [answers[name] for name in names]
    assert contents(here.store, "seen").keys() == set(names)


def test_what_cannot_be(here: Bucket, tmp_path: Path, scans_folder: Path) -> None:
    fill(here.store, scans_folder, "in")
    for arguments, text in (
        (("denoise", f"{here.url}/none"), "there is nothing at"),
        (("denoise", f"{here.url}/in", "--out", f"{here.url}/in"), "is where the inputs are"),
        (("denoise", f"{here.url}/in", "--out", here.url), "is where the inputs are"),
        (("denoise", f"s3://{BUCKET}"), "is a whole bucket"),
        (("denoise", f"{here.url}/in", "--watch"), "--watch is for folders"),
        (("denoise", "ftp://x/y"), "is no kind of address"),
        (("denoise", "s3:///y"), "names no bucket"),
        (("denoise", "s3://no-such-bucket/x"), "no-such-bucket"),
    ):
        error = dlkit(*arguments).exception
        assert isinstance(error, DlkitError), (arguments, error)
        assert text in str(error)


def test_file_addresses(scans_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(scans_folder, tmp_path / "in")
    assert dlkit("denoise", tmp_path / "in", "--out", tmp_path / "a").exit_code == 0
    for _ in range(2):
        done = dlkit("denoise", f"file://{tmp_path}/in", "--out", f"file://{tmp_path}/b")
        assert done.exit_code == 0, done.output
    assert "2 done before" in done.output
    for path in (tmp_path / "a").rglob("*.png"):
        assert (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes() == path.read_bytes()
    assert {one.name for one in (tmp_path / "b").iterdir()} == {"one.png", "a b", "manifest.jsonl"}


def test_addresses() -> None:
    one = place("s3://bucket/a/b.csv")
    assert isinstance(one, Address)
    assert (one.bucket, one.key, one.name, one.suffix) == ("bucket", "a/b.csv", "b.csv", ".csv")
    assert str(one.with_name("c")) == "s3://bucket/a/c"
    assert str(one.parent) == "s3://bucket/a"
    assert one.parent.holds(one)
    assert not Address("s3://bucket", "a/b").holds(Address("s3://bucket", "a/bc"))
    assert place("C:/x") == Path("C:/x")
    assert place("file:///a/../b/") == Address("file://", "b")
