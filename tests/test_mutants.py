"""Damaged files of every kind: each is read, or refused in one line; nothing else happens.

``make fuzz`` tries twenty-five times as many.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, EngineKey
from dlkit.cli import app
from dlkit.errors import DlkitError, InputError
from dlkit.idx import read_idx, write_idx
from dlkit.runtime.folders.journal import Journal
from dlkit.runtime.folders.lines import checked
from dlkit.tasks._arrays import read_arrays
from dlkit.training.engine.run import Run

from .conftest import untrained_run
from .long import long

MOST_MEMORY = 300_000_000  # bytes that a file of some kilobytes may cost
MUTANTS = int(os.environ.get("DLKIT_MUTANTS", "200"))
SIZES = (-28, -1, 0, 28, 784, 1 << 62, 1 << 80, 2.5, None)  # pictures of a pixel take their time
COUNTS = (1, 3, 20, 1 << 31, True, *SIZES)

STRANGE: list[Any] = [
    None, True, -1, 0, 1e308, float("inf"), float("nan"), 10**400, "", "x" * 5000, "../../x", "\0",
    [], {}, [[]], {"": {}}, -(2**63), 2**64, "é\ud800", [1, "a", None],
    json.loads("[" * 400 + "]" * 400),
]  # fmt: skip


def bytes_mutant(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    how = dice.randrange(6)
    if how == 0:
        return bytes(changed[: dice.randrange(len(changed) + 1)])
    if how == 1:
        at = dice.randrange(len(changed) + 1)
        return bytes(changed[:at] + dice.randbytes(dice.randrange(1, 40)) + changed[at:])
    if how == 2:
        start = dice.randrange(len(changed))
        del changed[start : start + dice.randrange(1, 200)]
        return bytes(changed)
    for _ in range(1 if how == 3 else dice.randrange(1, 30)):
        at = dice.randrange(min(len(changed), 200) if how == 4 else len(changed))
        changed[at] = dice.randrange(256)
    return bytes(changed)


def json_mutant(data: bytes, dice: random.Random) -> bytes:
    """A JSON document in which one value is another, is missing, or stands elsewhere."""
    if dice.random() < 0.3:
        return bytes_mutant(data, dice)
    if dice.random() < 0.05:
        return b"[" * 100_000
    document = json.loads(data)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(document)
    node, key = dice.choice(places)
    if dice.random() < 0.25 and isinstance(node, dict):
        del node[key]
    else:
        node[key] = dice.choice(STRANGE)
    return json.dumps(document).encode()


Mutate = Callable[[bytes, random.Random], bytes]


def survive(
    original: bytes, mutate: Mutate, use: Callable[[bytes], object], least: int = 1
) -> None:
    """Use mutants; every error is one that dlkit raises on purpose, in one line.

    Args:
        least: so many are refused: a test that refuses nothing tests nothing.
    """
    use(original)
    begun = peak(afresh=True)
    refused = 0
    for seed in range(MUTANTS):
        mutant = mutate(original, random.Random(seed))
        try:
            use(mutant)
        except DlkitError as error:
            told = str(error)
        except Exception as error:
            pytest.fail(f"mutant {seed}: {type(error).__name__}: {error}", pytrace=True)
        else:
            continue
        refused += 1
        assert "\n" not in told, (seed, told)
        assert len(told) < 2000, seed
        assert "weights_only" not in told, seed
    assert refused >= least
    assert peak() - begun < MOST_MEMORY


def peak(afresh: bool = False) -> int:
    """Bytes of memory that this process held at most, since it was counted afresh; on Linux."""
    status, refs = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not refs.exists():
        return 0
    if afresh:
        refs.write_text("5")  # proc(5): resets the peak
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])


def encoded(suffix: str, depth: Any = np.uint8) -> bytes:
    picture = np.random.default_rng(0).integers(0, 255, (40, 30, 3)).astype(depth)
    if suffix == ".pgm":
        picture = picture[:, :, 0]
    if suffix == ".tiff":
        return bytes(np.asarray(cv2.imencodemulti(".tif", [picture, picture])[1]).tobytes())
    return bytes(np.asarray(cv2.imencode(suffix, picture)[1]).tobytes())


def shape_mutant(data: bytes, dice: random.Random) -> bytes:
    """An array whose header promises another shape; or any mutant."""
    found = re.search(rb"'shape': \(([^)]*)\), } *", data)
    if found is None or dice.random() < 0.6:
        return bytes_mutant(data, dice)
    sizes = [
        dice.choice(COUNTS),
        *(dice.choice(SIZES) for _ in range(dice.choice((0, 1, 2, 2, 3)))),
    ]
    text = f"'shape': ({', '.join(map(str, sizes))},), }}".encode()
    return data[: found.start()] + text.ljust(len(found[0])) + data[found.end() :]


Row = dict[str, Any]


def recognized(folder: Path) -> dict[str, list[Row]]:
    """What ``dlkit recognize`` says of each file of a folder, one that is good among them."""
    table = folder.with_suffix(".jsonl")
    done = CliRunner().invoke(
        app, ["recognize", str(folder), "--out", str(table), "--mode", "single", "--overwrite"]
    )
    assert isinstance(done.exception, SystemExit | None), done.exception  # and no bug
    found: dict[str, list[Row]] = {path.name: [] for path in folder.iterdir()}
    for line in table.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[re.split(r"[\[#]", row.pop("file"))[0]].append(row)
    return found


def survive_the_door(original: bytes, mutate: Mutate, ending: str, folder: Path, sums: bool) -> int:
    """Recognize a folder of mutants: each has rows, or an error of one line, or both where it goes
    wrong later on. Gives how many were refused.

    Args:
        sums: the format has some, so what is read of a mutant must be what the original holds.
    """
    folder.mkdir()
    (folder / f"good{ending}").write_bytes(original)
    (good,) = recognized(folder).values()
    assert not any("error" in row for row in good)
    begun = peak(afresh=True)
    for seed in range(MUTANTS):
        mutant = mutate(original, random.Random(seed))
        (folder / f"{seed}{ending}").write_bytes(mutant)
    refused = 0
    for name, rows in recognized(folder).items():
        assert rows, f"{name} is neither read nor refused"
        errors = [row["error"] for row in rows if "error" in row]
        refused += bool(errors)
        assert all("\n" not in one and len(one) < 2000 for one in errors), name
        if sums and not errors:
            assert rows == good, name
    assert peak() - begun < MOST_MEMORY
    return refused


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".tif", *map(long, (".bmp", ".webp", ".pgm", ".tiff"))]
)
def test_images(suffix: str, tmp_path: Path) -> None:
    data = encoded(suffix)
    refused = survive_the_door(data, bytes_mutant, suffix, tmp_path / "in", suffix == ".png")
    assert refused >= MUTANTS // 20


@pytest.mark.parametrize("kind", ["npy", "npz", *map(long, ("zip", "idx", "gz"))])
def test_arrays(kind: str, tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, digits)
    elif kind in ("npz", "zip"):
        (np.savez if kind == "npz" else np.savez_compressed)(
            buffer, images=digits, labels=digits[:, 0, 0]
        )
    else:
        write_idx(tmp_path / "b", digits)
        raw = (tmp_path / "b").read_bytes()
        buffer.write(gzip.compress(raw, mtime=0) if kind == "gz" else raw)
    ending = {"npy": ".npy", "idx": "-ubyte", "gz": "-ubyte.gz"}.get(kind, ".npz")
    sums = kind in ("npz", "zip", "gz")
    refused = survive_the_door(buffer.getvalue(), shape_mutant, ending, tmp_path / "in", sums)
    assert refused >= MUTANTS // 10
    if kind in ("idx", "gz"):
        path = tmp_path / "c"

        def use(data: bytes) -> None:
            path.write_bytes(data)
            read_idx(path)

        survive(buffer.getvalue(), bytes_mutant, use)


def test_arrays_of_tensors() -> None:
    spec = Bundle.open("digits").spec
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=np.zeros((2, 28, 28), np.uint8))
    survive(buffer.getvalue(), bytes_mutant, lambda data: read_arrays(data, "mutant", spec), 10)


def test_manifests(tmp_path: Path) -> None:
    """Lines whose sum fits, with values that no journal wrote."""
    path = tmp_path / "m.jsonl"
    line = {"file": "a.png", "status": "done", "time": 1.5, "model": "m" * 16, "bytes": 3,
            "modified_ns": 4, "changed_ns": 5, "inode": 6, "path": "/x",
            "to": "a.png", "put": "e1"}  # fmt: skip
    text = "".join(json.dumps(one) + "\n" for one in ({"claim": [["a.png", 5, "00000000"]]}, line))

    def mutate(data: bytes, dice: random.Random) -> bytes:
        lines = data.splitlines(keepends=True)
        at = dice.randrange(len(lines))
        lines[at] = json_mutant(lines[at], dice).rstrip(b"\n") + b"\n"
        return b"".join(lines)

    def use(data: bytes) -> None:
        fields = [one.decode("latin-1").strip()[1:-1] for one in data.splitlines()]
        path.write_bytes("".join(map(checked, fields)).encode())
        journal = Journal(path, "m" * 64)
        journal.wrote("a.png", "5 00000000")
        journal.close()
        if journal.damaged:
            raise InputError("it has lines that do not count")

    survive(text.encode(), mutate, use)


def test_bundles(tmp_path: Path) -> None:
    bundle = Bundle.open("digits").copy(tmp_path / "b")
    path = bundle.path / "model.json"

    def use(data: bytes) -> None:
        path.write_bytes(data)
        opened = Bundle.open(bundle.path)
        opened.uncertified(opened.sha256)

    survive(path.read_bytes(), json_mutant, use, least=MUTANTS // 4)


def test_sidecars(tmp_path: Path) -> None:
    bundle = Bundle.open("digits").copy(tmp_path / "b")
    key = EngineKey(
        bundle.sha256,
        "tensorrt_rtx",
        "1.0",
        "fp32",
        ("8.9",),
        {"image": ((1, 28, 28),) * 3},
        ("x",),
    )
    engine = Engine.create(bundle, key, b"plan", {"precision": "fp32"}, {"date": "2026"})

    def use(data: bytes) -> None:
        engine.sidecar.write_bytes(data)
        Engine.open(engine.path, bundle).read()

    survive(engine.sidecar.read_bytes(), json_mutant, use, least=MUTANTS // 4)


def test_recipes(tmp_path: Path) -> None:
    run = Run(untrained_run(tmp_path, "lenet_relu"))
    path = run.path / "recipe.json"

    def use(data: bytes) -> None:
        path.write_bytes(data)
        run.load_recipe().check()

    survive(path.read_bytes(), json_mutant, use, least=MUTANTS // 10)


@pytest.mark.long
def test_checkpoints(tmp_path: Path) -> None:
    """A flipped bit in the weights must be found, too: each mutant that loads is the original."""
    run = Run(untrained_run(tmp_path, "lenet_relu"))
    original = run.checkpoint.read_bytes()
    wanted = {name: value.clone() for name, value in run.load_network().state_dict().items()}

    def use(data: bytes) -> None:
        run.checkpoint.write_bytes(data)
        for name, value in run.load_network().state_dict().items():
            assert bool((value == wanted[name]).all()), name

    survive(original, bytes_mutant, use, least=MUTANTS // 4)
