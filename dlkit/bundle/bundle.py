"""Bundle: the folder that is deployed.

BUNDLE/
  model.onnx    the graph, its precision and its weights; above 2 GB those are in model.onnx.data
  model.json    ModelSpec, hash of model.onnx, where it came from, its certificate
  engines/      TensorRT engines built from model.onnx
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlkit.atomic import atomic_folder, heal, write_bytes
from dlkit.bundle.certificate import Certificate
from dlkit.bundle.own import WEIGHTS, own_files, sha256
from dlkit.errors import BundleError
from dlkit.given import path_of
from dlkit.spec import ModelSpec

FORMAT = 2
SHIPPED = Path(__file__).parent.parent / "shipped"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its files are there and its hash is right.

    Attributes:
        path: the folder.
        spec: what the model takes and gives.
        sha256: hash of model.onnx and of the weights beside it, hexadecimal.
        origin: recipe, checkpoint hash and library versions that it was made from.
        certificate: what ``dlkit verify`` measured, and of which files; None where nobody did.
    """

    path: Path
    spec: ModelSpec
    sha256: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    certificate: Certificate | None = None

    @property
    def onnx(self) -> Path:
        """The graph."""
        return self.path / "model.onnx"

    @property
    def weights(self) -> Path | None:
        """The file of weights that are too large for the graph's own; None where there is none."""
        file = self.path / WEIGHTS
        return file if file.is_file() else None

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
        origin = _part({"origin": {}, **data}, "origin", path)
        _part({"recipe": {}, **origin}, "recipe", path)
        bundle = cls(
            path=path,
            spec=spec,
            sha256=str(_part(data, "onnx", path).get("sha256")),
            origin=origin,
            certificate=_certificate(data.get("certificate"), path),
        )
        if not bundle.onnx.is_file():
            raise BundleError(
                f"{path} has no model.onnx", "Copy the whole folder, or export it again"
            )
        files = [one for one in (bundle.onnx, bundle.weights) if one is not None]
        if (found := sha256(*files)) != bundle.sha256:
            raise BundleError(
                f"{bundle.onnx} is damaged or was changed: its SHA-256 begins {found[:12]}, "
                f"model.json says {bundle.sha256[:12]}",
                "Export it again: dlkit export",
            )
        if task is not None and spec.task != task:
            raise BundleError(
                f"{path} is a bundle to {spec.task}, not to {task}", f"Use: dlkit {spec.task}"
            )
        return bundle

    @classmethod
    def create(
        cls,
        path: Path,
        onnx: bytes,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        weights: bytes = b"",
    ) -> Bundle:
        """Write a bundle whole or not at all; an older bundle at ``path`` is replaced.

        The same graph with the same spec stays as it is, with its certificate and engines. Files
        and links that dlkit did not write stay as they are in any case, in ``engines/``, too.

        Args:
            weights: what the graph says lies in model.onnx.data.

        Raises:
            BundleError: ``path`` holds something that is no bundle, or a graph that dlkit did not
                write.
            MachineError: something in it cannot be kept.
        """
        spec.check()
        if SHIPPED.resolve() in path.resolve().parents:
            raise BundleError(f"{path} ships with dlkit and is read-only", "Choose another --out")
        heal(path)
        own = own_files(path)
        if own and (there := cls._same(path, onnx + weights, spec)) is not None:
            return there
        with atomic_folder(path, own) as folder:
            (folder / "model.onnx").write_bytes(onnx)
            if weights:
                (folder / WEIGHTS).write_bytes(weights)
            bundle = cls(folder, spec, hashlib.sha256(onnx + weights).hexdigest(), origin)
            bundle._write_json()
        return cls.open(path)

    @classmethod
    def _same(cls, path: Path, whole: bytes, spec: ModelSpec) -> Bundle | None:
        """The bundle that is there, where it is what would be written."""
        try:
            there = cls.open(path)
        except BundleError:
            return None
        same = (there.sha256, there.spec) == (hashlib.sha256(whole).hexdigest(), spec)
        return there if same else None

    @property
    def shipped(self) -> bool:
        """Whether it came with dlkit: then nothing is ever written into it."""
        return self.path.resolve().parent == SHIPPED.resolve()

    def copy(self, path: Path) -> Bundle:
        """The same bundle elsewhere, with its certificate, without its engines."""
        weights = b"" if self.weights is None else self.weights.read_bytes()
        copy = Bundle.create(path, self.onnx.read_bytes(), self.spec, self.origin, weights)
        return copy if copy.certificate else copy.with_certificate(self.certificate)

    def with_certificate(self, certificate: Certificate | None) -> Bundle:
        """Write what was verified into model.json; gives the bundle with it.

        Raises:
            BundleError: it ships with dlkit, and is read-only.
        """
        if self.shipped:
            raise BundleError(
                f"{self.spec.name} ships with dlkit and is read-only", "Write a copy with --out"
            )
        bundle = replace(self, certificate=certificate)
        bundle._write_json()
        return bundle

    def uncertified(self, sha256: str, backend: str | None = None) -> str | None:
        """Why a file of the bundle counts as not verified; None when it is.

        Args:
            sha256: hash of model.onnx, or of the engine that is run.
            backend: one that computes in other types than the file has: it needs a row of its own.
        """
        found = self.certificate
        if found is None:
            return f"{self.path} has no certificate: nobody measured that it computes right."
        ours = (self.sha256, self.spec_sha256)
        if (found.onnx_sha256, found.spec_sha256) != ours or not found.rows(sha256):
            return f"{self.path}: the certificate is for other files than the one that runs."
        if backend is not None and not found.rows(sha256, backend):
            return f"{self.path}: its certificate does not cover {backend}."
        return None

    @property
    def spec_sha256(self) -> str:
        """Hash of the spec but for its name, hexadecimal."""
        values = {**self.spec.to_json(), "name": ""}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def _write_json(self) -> None:
        data = {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "onnx": {"sha256": self.sha256, "bytes": self.onnx.stat().st_size},
            "origin": self.origin,
            "certificate": self.certificate.to_json() if self.certificate else None,
        }
        write_bytes(self.path / "model.json", (json.dumps(data, indent=2) + "\n").encode())


def shipped() -> list[str]:
    """Names of the bundles that come with dlkit."""
    return sorted(folder.parent.name for folder in SHIPPED.glob("*/model.json"))


def resolve(path: Path | str) -> Path:
    """The folder of a bundle: an existing path first, else one that ships with dlkit.

    Raises:
        BundleError: there is none.
        UsageError: it is no name or path.
    """
    if isinstance(path, str) and not path:
        raise BundleError(
            "the name of a bundle is empty",
            f"Give its folder, or one that ships with dlkit: {', '.join(shipped())}",
        )
    folder = path_of(path, "the bundle")
    heal(folder)
    if folder.exists():  # what lies beside '.' is found from its name
        return folder if folder.name not in ("", "..") else folder.resolve()
    if str(path) in shipped():
        return SHIPPED / str(path)
    if folder.suffix == ".onnx":
        raise BundleError(f"there is no file {folder}")
    raise BundleError(
        f"there is no bundle at {folder}",
        "Make one with 'dlkit export RUN', or use one that ships with dlkit: "
        + ", ".join(shipped()),
    )


def _read_json(path: Path) -> Mapping[str, Any]:
    file = path / "model.json"
    if path.is_file():
        raise BundleError(f"{path} is a file, expected a folder with model.onnx and model.json")
    if not file.is_file():
        raise BundleError(
            f"{path} is no bundle: it has no model.json", "Make one: dlkit export RUN"
        )
    try:
        data = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        line = str(error).partition("\n")[0]
        raise BundleError(f"{file} is damaged ({line})", "Export it again: dlkit export") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        got = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise BundleError(
            f"{file} has format {got}, this dlkit reads {FORMAT}",
            "Upgrade dlkit, or export it again: dlkit export",
        )
    return data


def _part(data: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    part = data.get(key)
    if not isinstance(part, dict):
        raise BundleError(
            f"{path}/model.json is damaged: '{key}' is {type(part).__name__}, expected an object",
            "Export it again: dlkit export",
        )
    return part


def _certificate(data: Any, path: Path) -> Certificate | None:
    if not data:
        return None
    try:
        return Certificate.from_json(data)
    except BundleError as error:
        raise BundleError(
            f"{path}/model.json: {error}", "Measure it again: dlkit verify"
        ) from error
