"""Hugging Face's hub on this machine, as far as bundles need it: repositories of one branch."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stubstubstubstubstub"
_COMMIT = "x-repo-commit"


class Hub(ThreadingHTTPServer):
    """Keeps what is pushed in memory.

    Attributes:
        repositories: files by name, by the repository's name.
        private: those that nobody else sees.
        status: answer of everything, where it is not 0.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.large: dict[str, bytes] = {}
        self.status = 0
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, name: str) -> str:
        """Of what a repository holds now."""
        files = self.repositories[name]
        return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        if self.headers.get("transfer-encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer(data)

    do_PUT = do_POST  # noqa: N815

    def _answer(self, data: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.seen.append(f"{self.command} {path}")
        if self.server.status:
            self._send(self.server.status, b"{}")
        elif self.command == "PUT":
            self.server.large[path.rpartition("/")[2]] = data
            self._send(200, b"")
        elif self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._send(401, b"{}")
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(data))
        elif found := re.fullmatch(r"/(?:api/models/)?([\w.-]+/[\w-]+)(?:\.git/|/|)(.*)", path):
            self._of(found[1], found[2], data)
        else:
            self._send(404, b"{}")

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        there = name in self.server.repositories
        self.server.repositories.setdefault(name, {})
        if wanted.get("visibility") == "private" or wanted.get("private"):
            self.server.private.add(name)
        self._json({"url": f"{self.server.url}/{name}"}, 409 if there else 200)

    def _of(self, name: str, what: str, data: bytes) -> None:
        files = self.server.repositories.get(name)
        if files is None:
            self._send(404, b"{}", {"x-error-code": "RepoNotFound"})
        elif what.startswith("preupload/"):
            wanted = json.loads(data)["files"]
            self._json({"files": [self._mode(one) for one in wanted]})
        elif what == "info/lfs/objects/batch":
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}}
                for one in json.loads(data)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif what.startswith("commit/"):
            self._commit(name, files, data)
        elif what.startswith("tree/"):
            tree = [
                {"type": "file", "path": one, "size": len(files[one]), "oid": "0"} for one in files
            ]
            self._json(tree)
        elif what == "" or what.startswith("revision/"):
            siblings = [{"rfilename": one} for one in files]
            self._json({"id": name, "sha": self.server.commit(name), "siblings": siblings})
        elif what.startswith("resolve/") and (file := what.split("/", 2)[2]) in files:
            tag = hashlib.sha256(files[file]).hexdigest()
            headers = {"etag": f'"{tag}"', _COMMIT: self.server.commit(name)}
            self._send(200, files[file], headers)
        else:
            self._send(404, b"{}", {"x-error-code": "EntryNotFound"})

    def _mode(self, one: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if one["path"].endswith((".onnx", ".data")) else "regular"
        return {"path": one["path"], "uploadMode": mode, "shouldIgnore": False}

    def _commit(self, name: str, files: dict[str, bytes], data: bytes) -> None:
        for line in data.splitlines():
            one = json.loads(line)
            value = one["value"]
            if one["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif one["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif one["key"] == "deletedFile":
                del files[value["path"]]
        commit = self.server.commit(name)
        self._json({"commitUrl": f"{self.server.url}/{name}/commit/{commit}", "commitOid": commit,
                    "success": True})  # fmt: skip

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"content-type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def hub() -> Iterator[Hub]:
    """A running one."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
