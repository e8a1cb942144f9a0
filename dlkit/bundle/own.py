"""What of a folder is a bundle's own, so that an export may replace it. All else is others'."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dlkit.atomic import MARK, PART
from dlkit.errors import BundleError

WEIGHTS = "model.onnx.data"


def own_files(path: Path) -> set[Path]:
    """The files of the bundle at ``path`` that dlkit wrote; none where nothing is there yet.

    Raises:
        BundleError: something else is there, or a graph that dlkit did not write.
    """
    if not path.exists():
        return set()
    if not path.is_dir() or (any(path.iterdir()) and not (path / "model.json").is_file()):
        raise BundleError(f"{path} exists and is no bundle", "Choose another --out")
    if not any(path.iterdir()):
        return set()
    wanted = _hash_in(path / "model.json")
    if wanted is None:
        raise BundleError(
            f"{path} exists and is no bundle: dlkit did not write its model.json",
            "Choose another --out",
        )
    graph, weights = path / "model.onnx", path / WEIGHTS
    files = [one for one in (graph, weights) if one.is_file()]
    if files and sha256(*files) != wanted:
        raise BundleError(
            f"{files[0]} is not what model.json says that dlkit wrote: it would be lost",
            f"Choose another --out, or move it away: mv {files[0]} {files[0]}.mine",
        )
    return {path / "model.json", *files, *_own_engines(path / "engines")}


def sha256(*paths: Path) -> str:
    """SHA-256 of a file, or of several as if they were one, hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def canonical(data: Any) -> bytes:
    """One spelling of a JSON value, to hash."""
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _hash_in(file: Path) -> str | None:
    """What a bundle's model.json says of its graph; None of another file of that name."""
    data = _json(file)
    try:
        known = isinstance(data["format"], int) and isinstance(data["spec"], dict)
        return str(data["onnx"]["sha256"]) if known else None
    except (KeyError, TypeError):
        return None


def _own_engines(folder: Path) -> set[Path]:
    """Engines that are as their sidecars say, with what lies beside them."""
    if folder.is_symlink() or not folder.is_dir():
        return set()
    own = {folder, *folder.glob(f"{MARK}*{PART}")}
    for sidecar in folder.glob("*.json"):
        data = _json(sidecar)
        try:
            content = data["engine"]
            if data["sha256"] != hashlib.sha256(canonical(content)).hexdigest():
                continue
            built = str(content["sha256"])
        except (KeyError, TypeError):
            continue
        engine = sidecar.with_suffix(".engine")
        own |= {sidecar, sidecar.with_suffix(".runtime-cache"), folder / f".{sidecar.stem}.lock"}
        if engine.is_file() and sha256(engine) == built:
            own.add(engine)
    return own


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
