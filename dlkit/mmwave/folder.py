"""Simulated pairs as files, with object masks and boxes for those who train detectors.

OUT/
  noisy/000000000.png    the scan; the file's name is its seed
  clean/000000000.png    the clean picture
  objects/  bodies/      with masks: grey k is the k-th object; 255 is the person
  boxes.json             with masks: the objects as COCO annotations
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from dlkit import images
from dlkit.atomic import write_bytes
from dlkit.errors import UsageError
from dlkit.mmwave import Scan, simulate
from dlkit.mmwave.objects import KINDS
from dlkit.processors import children_uninterrupted

# The largest pictures that need not be cut before anything else is done with them.
_LEAST, _MOST = 16, 8192

SIDES = ("noisy", "clean")
Job: TypeAlias = tuple[Path, int, tuple[int, int], bool, Sequence[str]]

CATEGORIES = [{"id": number, "name": kind} for number, (kind, _) in enumerate(KINDS, start=1)]


def parse_size(text: str) -> tuple[int, int]:
    """``"678x384"`` as (678, 384): height, width.

    Raises:
        UsageError: something else.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"size is '{text}', expected HEIGHTxWIDTH, e.g. 678x384")
    height, width = (int(part) for part in parts)
    if not all(_LEAST <= side <= _MOST for side in (height, width)):
        raise UsageError(f"size is {text}, expected sides of {_LEAST} to {_MOST} pixels")
    return height, width


def write_pairs(
    out: Path,
    seeds: Sequence[int],
    size: tuple[int, int],
    masks: bool = False,
    workers: int = 0,
    watch: Callable[[int], object] = lambda done: None,
    sides: Sequence[str] = SIDES,
) -> None:
    """Simulate one pair for each seed into the folder ``out``; what is there already stays, so that
    what was interrupted goes on.

    Args:
        size: height and width in pixels; what is there was made of the same.
        masks: also write objects/, bodies/ and boxes.json, for which all are simulated anew.
        workers: processes; 0 is one for each processor, 1 stays in this process.
        watch: called with the number of pairs that are done.
        sides: which of both pictures are written.
    """
    jobs = [
        (out, seed, size, masks, sides)
        for seed in seeds
        if masks or not all((out / side / name(seed)).is_file() for side in sides)
    ]
    annotations: list[dict[str, Any]] = []
    entries = []
    before = len(seeds) - len(jobs)
    for done, (seed, boxes) in enumerate(_run(jobs, workers), start=1 + before):
        entries.append({"id": seed, "file_name": f"noisy/{name(seed)}", "height": size[0],
                        "width": size[1]})  # fmt: skip
        for box in boxes:
            annotations.append({"id": len(annotations) + 1, "image_id": seed, **box})
        watch(done)
    if masks:
        coco = {"images": entries, "annotations": annotations, "categories": CATEGORIES}
        write_bytes(out / "boxes.json", (json.dumps(coco, indent=1) + "\n").encode())


def name(seed: int) -> str:
    """The file of a seed."""
    return f"{seed:09d}.png"


def _run(jobs: list[Job], workers: int) -> Iterator[Any]:
    if workers == 1 or len(jobs) < 8:
        yield from map(_write, jobs)
        return
    with ProcessPoolExecutor(
        workers or None, mp_context=get_context("spawn"), initializer=one_thread
    ) as pool:
        with children_uninterrupted():
            results = pool.map(_write, jobs, chunksize=4)
        yield from results


def one_thread() -> None:
    """Processes beside each other need no threads inside."""
    cv2.setNumThreads(1)


def _write(job: Job) -> tuple[int, list[dict[str, Any]]]:
    out, seed, size, masks, sides = job
    scan = simulate(seed, size)
    for side in sides:
        images.write(out / side / name(seed), getattr(scan, side))
    if masks:
        images.write(out / "objects" / name(seed), scan.object_mask)
        images.write(out / "bodies" / name(seed), scan.body_mask.astype(np.uint8) * np.uint8(255))
    return seed, _boxes(scan)


def _boxes(scan: Scan) -> list[dict[str, Any]]:
    numbers = {entry["name"]: entry["id"] for entry in CATEGORIES}
    found = []
    for number, (left, top, right, bottom, kind) in enumerate(scan.boxes, start=1):
        found.append({
            "category_id": numbers[kind],
            "bbox": [left, top, right - left, bottom - top],
            "area": int((scan.object_mask == number).sum()),
            "iscrowd": 0,
        })  # fmt: skip
    return found
