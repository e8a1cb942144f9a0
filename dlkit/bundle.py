"""Bundle: the folder that is deployed.

BUNDLE/
  model.onnx    the graph, its precision and its weights
  model.json    ModelSpec, hash of model.onnx, where it came from, what was verified
  engines/      TensorRT engines built from model.onnx
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlkit.atomic import atomic_folder, write_bytes
from dlkit.errors import BundleError
from dlkit.spec import ModelSpec

FORMAT = 1
SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its files are there and its hash is right.

    Attributes:
        path: the folder.
        spec: what the model takes and gives.
        sha256: hash of model.onnx, hexadecimal.
        origin: recipe, checkpoint hash and library versions that it was made from.
        certificate: what ``dlkit verify`` measured, and of which files; or empty.
    """

    path: Path
    spec: ModelSpec
    sha256: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)

    @property
    def onnx(self) -> Path:
        """The graph."""
        return self.path / "model.onnx"

    @property
    def engines(self) -> Path:
        """The folder of TensorRT engines; it may not exist."""
        return self.path / "engines"

    @classmethod
    def open(cls, path: Path | str, task: str | None = None) -> Bundle:
        """Open a bundle and check it.

        Args:
            path: a bundle's folder, or the name of one that ships with dlkit.
            task: the task that it must serve, if that matters.

        Raises:
            BundleError: missing, damaged, of a newer format, or for another task.
        """
        path = resolve(path)
        data = _read_json(path)
        spec = ModelSpec.from_json(_part(data, "spec", path))
        bundle = cls(
            path=path,
            spec=spec,
            sha256=str(_part(data, "onnx", path).get("sha256")),
            origin=data.get("origin", {}),
            certificate=data.get("certificate", {}),
        )
        if not bundle.onnx.is_file():
            raise BundleError(f"{path} has no model.onnx: copy the whole folder, or export again")
        if (found := sha256(bundle.onnx)) != bundle.sha256:
            raise BundleError(
                f"{bundle.onnx} is damaged or was changed: its SHA-256 begins {found[:12]}, "
                f"model.json says {bundle.sha256[:12]}. Export it again: dlkit export"
            )
        if task is not None and spec.task != task:
            raise BundleError(
                f"{path} is a bundle to {spec.task}, not to {task}. Use: dlkit {spec.task}"
            )
        return bundle

    @classmethod
    def create(cls, path: Path, onnx: bytes, spec: ModelSpec, origin: Mapping[str, Any]) -> Bundle:
        """Write a bundle whole or not at all; an older bundle at ``path`` is replaced.

        Raises:
            BundleError: ``path`` holds something that is no bundle.
        """
        if path.exists() and not (path / "model.json").is_file():
            if not path.is_dir() or any(path.iterdir()):
                raise BundleError(f"{path} exists and is no bundle: choose another --out")
            path.rmdir()
        with atomic_folder(path) as folder:
            (folder / "model.onnx").write_bytes(onnx)
            bundle = cls(folder, spec, hashlib.sha256(onnx).hexdigest(), origin)
            bundle._write_json()
        return cls.open(path)

    def with_certificate(self, certificate: Mapping[str, Any]) -> Bundle:
        """Write what was verified into model.json; gives the bundle with it."""
        bundle = replace(self, certificate=certificate)
        bundle._write_json()
        return bundle

    def uncertified(self, sha256: str, backend: str | None = None) -> str | None:
        """Why a file of the bundle counts as not verified, with the mend; None when it is.

        Args:
            sha256: hash of model.onnx, or of the engine that is run.
            backend: one that computes in other types than the file has: it needs a row of its own.
        """
        mend = f"Measure it: dlkit verify {self.path}"
        if not self.certificate:
            return f"{self.path} has no certificate: nobody measured that it computes right. {mend}"
        measured = [row for row in self.certificate.get("measured", []) if isinstance(row, dict)]
        hashes = {row.get("sha256") for row in measured}
        if self.certificate.get("onnx_sha256") != self.sha256 or sha256 not in hashes:
            return f"{self.path}: the certificate is for other files than the one that runs. {mend}"
        rows = [row for row in measured if row.get("backend") == backend and row.get("within")]
        if backend is not None and not any(row.get("sha256") == sha256 for row in rows):
            return f"{self.path}: its certificate does not cover {backend}. {mend}"
        return None

    def _write_json(self) -> None:
        data = {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "onnx": {"sha256": self.sha256, "bytes": self.onnx.stat().st_size},
            "origin": self.origin,
            "certificate": self.certificate,
        }
        write_bytes(self.path / "model.json", (json.dumps(data, indent=2) + "\n").encode())


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped() -> list[str]:
    """Names of the bundles that come with dlkit."""
    return sorted(folder.parent.name for folder in SHIPPED.glob("*/model.json"))


def resolve(path: Path | str) -> Path:
    """The folder of a bundle: an existing path first, else one that ships with dlkit."""
    folder = Path(path)
    if folder.exists():
        return folder
    if str(path) in shipped():
        return SHIPPED / str(path)
    raise BundleError(
        f"there is no bundle at {folder}. Make one with 'dlkit export RUN', "
        f"or use one that ships with dlkit: {', '.join(shipped())}"
    )


def _read_json(path: Path) -> Mapping[str, Any]:
    file = path / "model.json"
    if path.is_file():
        raise BundleError(f"{path} is a file; a bundle is a folder with model.onnx and model.json")
    if not file.is_file():
        raise BundleError(f"{path} is no bundle: it has no model.json. Make one: dlkit export RUN")
    try:
        data = json.loads(file.read_bytes())
    except (ValueError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} is damaged ({error}). Export it again: dlkit export") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        got = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise BundleError(f"{file} has format {got}, this dlkit reads {FORMAT}. Upgrade dlkit")
    return data


def _part(data: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    part = data.get(key)
    if not isinstance(part, dict):
        raise BundleError(f"{path}/model.json is damaged: no '{key}'. Export it again")
    return part
