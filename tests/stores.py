"""Servers of S3 on this machine: moto's, and rclone's, whose promises are weaker."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from obstore.store import S3Store

BUCKET = "bucket"
KEY, SECRET = "testkeytestkey", "testsecrettestsecret"


def free_port() -> int:
    """A port that no process is given by the system (Linux begins at 32768) before it is used."""
    for port in random.Random().sample(range(20_000, 32_000), 100):
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are taken")


def environment(port: int) -> dict[str, str]:
    """What makes a client use a server here."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "DLKIT_STORE_RETRIES": "3",
    }


@contextmanager
def served(kind: str, folder: Path) -> Iterator[int]:
    """A running server; gives its port.

    Args:
        kind: ``moto`` or ``rclone``.
        folder: for what it keeps.
    """
    port = free_port()
    (folder / BUCKET).mkdir(exist_ok=True)  # rclone's bucket
    if kind == "moto":
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    else:
        program = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
        command = [
            program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}",
            "--config", os.devnull, str(folder),
        ]  # fmt: skip
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        if kind == "moto":
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=30).close()
        yield port
    finally:
        server.kill()
        server.wait()


def client(port: int, below: str = "") -> S3Store:
    """A client that is not dlkit's."""
    return S3Store(
        BUCKET, prefix=below or None, endpoint=f"http://127.0.0.1:{port}", access_key_id=KEY,
        secret_access_key=SECRET, region="us-east-1", client_options={"allow_http": True},
    )  # fmt: skip


def fill(store: S3Store, folder: Path, below: str) -> None:
    """Put a folder's files."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.put(f"{below}/{path.relative_to(folder)}", path.read_bytes())


def contents(store: S3Store, below: str) -> dict[str, bytes]:
    """All objects below a key, by what comes behind it."""
    found = {}
    for part in store.list(below):
        for one in part:
            with contextlib.suppress(FileNotFoundError):  # a run deleted it since it was listed
                found[one["path"].removeprefix(f"{below}/")] = bytes(store.get(one["path"]).bytes())
    return found


def use(port: int, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Make dlkit in this process use a server."""
    from dlkit.storage.opening import _open

    _open.cache_clear()
    variables = environment(port)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables
