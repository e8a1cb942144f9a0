"""Engine: a TensorRT engine in a bundle's ``engines/``, with a JSON sidecar that says what it is.

The engine's file holds TensorRT's bytes and nothing else, so trtexec takes it. Its name is made of
everything that makes an engine another one; the sidecar repeats that, with the hash of the engine
and of itself. An engine is executable code: what does not match is never deserialised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dlkit.atomic import write_bytes
from dlkit.bundle import Bundle
from dlkit.bundle.own import canonical
from dlkit.errors import BundleError
from dlkit.typed import from_plain

FORMAT = 2
SUFFIX = ".engine"
_REBUILD = "Build it again: dlkit export {} --trt"

Shape: TypeAlias = tuple[int, ...]
Range: TypeAlias = tuple[Shape, Shape, Shape]  # smallest, best, largest


@dataclass(frozen=True)
class EngineKey:
    """Everything that invalidates an engine.

    Attributes:
        onnx_sha256: hash of the graph's bytes, weights included.
        flavor: ``tensorrt`` or ``tensorrt_rtx``.
        version: of the flavour that built it.
        precision: that was asked for and proved.
        compute: compute capabilities that it was built for, e.g. ``("8.9",)``; empty for the
            flavour's own default set.
        shapes: smallest, best and largest shape of each input, by its name; all the same where it
            is fixed.
        flags: builder settings that change the engine, sorted, e.g. ``version_compatible``.
    """

    onnx_sha256: str
    flavor: str
    version: str
    precision: str
    compute: tuple[str, ...]
    shapes: Mapping[str, Range]
    flags: tuple[str, ...]

    def file_name(self) -> str:
        """Name of the engine's file."""
        digest = hashlib.sha256(canonical(asdict(self))).hexdigest()
        return f"{self.flavor}-{self.version}-{self.precision}-{digest[:16]}{SUFFIX}"


@dataclass(frozen=True)
class Engine:
    """An engine whose sidecar is whole and belongs to its bundle.

    Attributes:
        path: the engine's file.
        key: what it was built from and for.
        sha256: hash of the engine's bytes, hexadecimal; ``read`` checks it.
        proof: which share of layers, arithmetic and weights is in which type.
        built: date, seconds, machine and GPU of the build.
    """

    path: Path
    key: EngineKey
    sha256: str
    proof: Mapping[str, Any]
    built: Mapping[str, Any]

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the engine."""
        return self.path.with_suffix(".json")

    @property
    def runtime_cache(self) -> Path:
        """Kernels that TensorRT for RTX compiled on this machine; it may not exist."""
        return self.path.with_suffix(".runtime-cache")

    def read(self) -> bytes:
        """The engine's bytes, whose hash is right at this moment.

        Raises:
            BundleError: missing, truncated or altered.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError as error:
            raise BundleError(
                f"{self.path} is missing, its sidecar is there", self._mend
            ) from error
        if (found := hashlib.sha256(data).hexdigest()) != self.sha256:
            raise BundleError(
                f"{self.path} is damaged or was changed: its SHA-256 begins {found[:12]}, "
                f"its sidecar says {self.sha256[:12]}",
                self._mend,
            )
        return data

    @property
    def _mend(self) -> str:
        return _REBUILD.format(self.path.parent.parent)

    @classmethod
    def open(cls, path: Path, bundle: Bundle) -> Engine:
        """Check an engine's sidecar against itself, its file's name and the bundle.

        Raises:
            BundleError: what does not match.
        """
        mend = _REBUILD.format(bundle.path)
        sidecar = path.with_suffix(".json")
        try:
            text = sidecar.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise BundleError(f"{path} has no sidecar {sidecar.name}", mend) from error
        except UnicodeDecodeError as error:
            raise BundleError(f"{sidecar} is damaged ({error})", mend) from error
        try:
            data = json.loads(text)
            content, claimed = data["engine"], data["sha256"]
            found = hashlib.sha256(canonical(content)).hexdigest()
            if found != claimed:
                raise BundleError(
                    f"{sidecar} was changed: the SHA-256 of its content begins {found[:12]}, "
                    f"it says {str(claimed)[:12]}",
                    mend,
                )
            if content["format"] != FORMAT:
                raise BundleError(
                    f"{sidecar} has format {content['format']}, this dlkit reads {FORMAT}", mend
                )
            engine = cls(
                path=path,
                key=from_plain(EngineKey, content["key"]),
                sha256=str(content["sha256"]),
                proof=dict(content["proof"]),
                built=dict(content["built"]),
            )
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            line = f"{type(error).__name__} {error}"
            raise BundleError(f"{sidecar} is damaged ({line})", mend) from error
        if engine.key.onnx_sha256 != bundle.sha256:
            raise BundleError(
                f"{path} was built from another graph: model.onnx begins {bundle.sha256[:12]}, "
                f"its sidecar says {engine.key.onnx_sha256[:12]}",
                mend,
            )
        if (name := engine.key.file_name()) != path.name:
            raise BundleError(
                f"{path} was renamed or belongs to another sidecar: "
                f"what its sidecar describes is called {name}",
                mend,
            )
        return engine

    @classmethod
    def create(
        cls,
        bundle: Bundle,
        key: EngineKey,
        plan: bytes,
        proof: Mapping[str, Any],
        built: Mapping[str, Any],
    ) -> Engine:
        """Write engine and sidecar; the engine comes first, so a sidecar never lacks its engine."""
        bundle.engines.mkdir(exist_ok=True)
        path = bundle.engines / key.file_name()
        content = {
            "format": FORMAT,
            "key": asdict(key),
            "sha256": hashlib.sha256(plan).hexdigest(),
            "bytes": len(plan),
            "proof": proof,
            "built": built,
        }
        content = json.loads(json.dumps(content))
        data = {"engine": content, "sha256": hashlib.sha256(canonical(content)).hexdigest()}
        path.with_suffix(".json").unlink(missing_ok=True)
        write_bytes(path, plan)
        write_bytes(path.with_suffix(".json"), (json.dumps(data, indent=2) + "\n").encode())
        return cls.open(path, bundle)


def engine_files(bundle: Bundle) -> list[Path]:
    """Every engine's file in a bundle, sorted by name."""
    return sorted(bundle.engines.glob(f"*{SUFFIX}"))
