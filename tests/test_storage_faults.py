"""Object storage that fails: nothing is lost, nothing wrong is kept, and the exit code tells."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from obstore.store import S3Store
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import MachineError

from .faulty import Proxy, Request, proxy, slow
from .stores import BUCKET, SECRET, client, contents, environment, fill, served, use

pytestmark = pytest.mark.long
NAMES = itertools.count()


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that knows conditional puts."""
    with served("moto", tmp_path_factory.mktemp("moto")) as port:
        yield port


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    noise = np.random.default_rng(0)
    for index in range(24):
        scan = noise.integers(0, 256, (96, 64), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index:02d}.png"), scan)
    return folder


@pytest.fixture(scope="module")
def wanted(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a folder run gives."""
    out = tmp_path_factory.mktemp("out")
    assert dlkit("denoise", scans, "--out", out).exit_code == 0
    return {path.name: path.read_bytes() for path in out.glob("*.png")}


class Place:
    """A part of the bucket, behind the proxy."""

    def __init__(self, store: S3Store, below: str, server: Proxy) -> None:
        self.store, self.below, self.server = store, below, server

    def denoise(self, *more: object) -> Any:
        url = f"s3://{BUCKET}/{self.below}"
        return dlkit("denoise", f"{url}/in", "--out", f"{url}/out", *more)

    def key(self, name: str) -> str:
        return f"/{BUCKET}/{self.below}/{name}"

    def outputs(self) -> dict[str, bytes]:
        found = contents(self.store, "out")
        return {name: data for name, data in found.items() if name.endswith(".png")}

    def lines(self) -> dict[str, dict[str, Any]]:
        """The last line of each file in the manifest."""
        text = bytes(self.store.get("out/manifest.jsonl").bytes()).decode()
        return {line["file"]: line for line in map(json.loads, text.splitlines())}


@pytest.fixture
def here(port: int, scans: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    below = f"fault{next(NAMES)}"
    store = client(port, below)
    fill(store, scans, "in")
    with proxy(port) as server:
        use(server.port, monkeypatch)
        yield Place(store, below, server)


def test_errors_of_the_server_and_slow_answers(here: Place, wanted: dict[str, bytes]) -> None:
    dice = random.Random(0)
    with_errors = [dice.choice((500, 503)) if dice.random() < 0.2 else 0 for _ in range(5000)]
    here.server.rule = slow(0.3, lambda request: with_errors[request.number])
    done = here.denoise()
    assert done.exit_code == 0, done.output
    assert here.outputs() == wanted
    assert all(line["status"] == "done" for line in here.lines().values())


def test_an_object_that_cannot_be_read_is_a_failure_of_itself(
    here: Place, wanted: dict[str, bytes]
) -> None:
    key = here.key("in/07.png")
    here.server.rule = lambda request: 500 if request.path == key else 0
    done = here.denoise()
    assert done.exit_code == 1
    assert "23 done, 1 failed" in done.output
    assert "500 Internal Server Error, InternalError" in done.output.replace("\n", " ")
    assert here.lines()["07.png"]["status"] == "failed"
    assert here.outputs().keys() == wanted.keys() - {"07.png"}
    here.server.rule = lambda request: 0
    assert "23 done before, 1 done, 0 failed" in here.denoise().output
    assert here.outputs() == wanted


def test_puts_that_are_refused(here: Place, wanted: dict[str, bytes]) -> None:
    refused = {here.key("out/03.png"): 409, here.key("out/04.png"): 412}
    once = dict(refused)
    here.server.rule = lambda request: (
        once.pop(request.path, 0) if request.method == "PUT" and request.conditional else 0
    )
    assert here.denoise().exit_code == 0
    assert not once, "none was refused"
    assert here.outputs() == wanted
    # always: two others put and remove it, as it looks
    here.server.rule = lambda request: (
        refused.get(request.path, 0) if request.method == "PUT" else 0
    )
    for name in ("out/manifest.jsonl", "out/03.png", "out/04.png"):
        here.store.delete(name)
    done = here.denoise()
    assert done.exit_code == 1
    assert "22 done, 2 failed" in done.output
    assert "others put and remove it at the same time" in done.output.replace("\n", " ")
    here.server.rule = lambda request: 0
    assert here.denoise().exit_code == 0
    assert here.outputs() == wanted


def test_a_put_whose_answer_was_lost_is_no_conflict(here: Place, wanted: dict[str, bytes]) -> None:
    """The store has it, the answer was 500, and the second attempt meets the first."""
    key, first = here.key("out/05.png"), threading.Event()

    def rule(request: Request) -> int:
        if request.path == key and request.method == "PUT" and not first.is_set():
            first.set()
            here.store.put("out/05.png", wanted["05.png"])
            return 500
        return 0

    here.server.rule = rule
    assert here.denoise().exit_code == 0
    assert first.is_set()
    assert here.outputs() == wanted


def test_a_bucket_that_changes_while_it_is_read(here: Place, wanted: dict[str, bytes]) -> None:
    """One object vanishes after the listing, one changes, and one is new."""
    late = {here.key("in/20.png"), here.key("in/21.png")}  # read after the listing alone
    change = threading.Lock()
    changed = threading.Event()

    def rule(request: Request) -> int:
        if request.path in late and request.method == "GET":
            with change:
                if not changed.is_set():
                    here.store.delete("in/20.png")
                    here.store.put("in/21.png", bytes(here.store.get("in/01.png").bytes()))
                    here.store.put("in/new.png", bytes(here.store.get("in/01.png").bytes()))
                    changed.set()
        return 0

    here.server.rule = rule
    done = here.denoise("--workers", 1)
    lines = here.lines()
    assert done.exit_code == 1
    assert "23 done, 1 failed" in done.output
    assert lines["20.png"]["status"] == "failed"
    assert "is not there (404 Not Found" in done.output.replace("\n", " ")
    # the answer is for what was read, and the manifest has the ETag of that
    now = here.store.head("in/21.png")["e_tag"]
    assert here.outputs()["21.png"] == wanted["01.png"]
    assert now is not None
    assert lines["21.png"]["etag"] == now.strip('"')
    again = here.denoise()
    assert again.exit_code == 0
    outputs = here.outputs()
    assert outputs["21.png"] == outputs["new.png"] == wanted["01.png"]


def test_a_credential_that_expires(here: Place, wanted: dict[str, bytes]) -> None:
    gets = itertools.count()
    here.server.rule = lambda request: 403 if "/in/" in request.path and next(gets) > 10 else 0
    done = here.denoise()
    assert done.exit_code == 1
    text = done.output.replace("\n", " ")
    assert "403 Forbidden, ExpiredToken" in text
    assert "whether they have expired" in text
    assert SECRET not in text
    # and where not even the manifest can be put
    here.server.rule = lambda request: 403 if request.method == "PUT" else 0
    failed = here.denoise()
    assert isinstance(failed.exception, MachineError)
    assert "ExpiredToken" in str(failed.exception)
    assert SECRET not in str(failed.exception)
    here.server.rule = lambda request: 0
    assert here.denoise().exit_code == 0
    assert here.outputs() == wanted


def test_two_runs_at_once(here: Place, wanted: dict[str, bytes]) -> None:
    url = f"s3://{BUCKET}/{here.below}"
    runs = [
        subprocess.Popen(
            [
                sys.executable, "-m", "dlkit", "denoise", f"{url}/in", "--out", f"{url}/out",
                "--workers", "1",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **environment(here.server.port)},
        )
        for _ in range(2)
    ]  # fmt: skip
    assert [one.wait() for one in runs] == [0, 0]
    assert here.outputs() == wanted
    assert here.lines().keys() == wanted.keys()
    assert "24 done before, 0 done" in here.denoise().output


def test_the_processors_do_not_wait_for_the_network(here: Place, wanted: dict[str, bytes]) -> None:
    """Objects are read ahead: many requests are under way before the first is answered."""
    gate, waiting, most = threading.Lock(), 0, 0
    enough = threading.Event()

    def rule(request: Request) -> int:
        nonlocal waiting, most
        if request.method == "GET" and "/in/" in request.path and request.path[-6:] >= "05.png":
            with gate:
                waiting += 1
                most = max(most, waiting)
                if most >= 16:
                    enough.set()
            enough.wait(5)
            with gate:
                waiting -= 1
        return 0

    here.server.rule = rule
    assert here.denoise("--workers", 1).exit_code == 0
    assert most >= 16
    assert here.outputs() == wanted
