"""Simulated pages as files, with what is written on them.

OUT/
  000000000.png    a page; the file's name is its seed
  pages.json       of each page its kind, its pen, its size, and its lines with their signs
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.atomic import write_bytes
from dlkit.errors import UsageError
from dlkit.paper.page import Digits, Line, Page
from dlkit.paper.pens import PENS
from dlkit.paper.simulate import KINDS, simulate

ANY = "any"


def check_names(kind: str, pen: str) -> None:
    """Refuse what is no kind of page, or no pen.

    Raises:
        UsageError: which.
    """
    for name, known, what in ((kind, KINDS, "kind of page"), (pen, PENS, "pen")):
        if name not in (*known, ANY):
            raise UsageError(f"there is no {what} '{name}'", f"Use {', '.join(known)}, or {ANY}")


def write_pages(
    out: Path,
    digits: Digits,
    seeds: Sequence[int],
    kind: str = ANY,
    pen: str = ANY,
    touching: float = 0.0,
) -> int:
    """Simulate a page for each seed into the folder ``out``; gives how many digits they have."""
    entries, count = [], 0
    for seed in seeds:
        page = simulate(np.random.default_rng(seed), digits, kind, pen, touching=touching)
        images.write(out / f"{seed:09d}.png", page.image)
        entries.append({"file": f"{seed:09d}.png", **described(page)})
        count += sum(sign.is_digit for sign in page.signs)
    write_bytes(out / "pages.json", (json.dumps(entries, indent=1) + "\n").encode())
    return count


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """A compressed .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # no array has that name
    write_bytes(path, buffer.getvalue())


def described(page: Page) -> dict[str, Any]:
    """What is written on a page, as plain JSON values; boxes in pixels, to a tenth."""
    height, width = page.image.shape[:2]
    head = {"kind": page.kind, "pen": page.pen, "width": width, "height": height}
    return {**head, "touching": page.touching, "lines": [_line(line) for line in page.lines]}


def _line(line: Line) -> dict[str, Any]:
    signs = [
        {"sign": sign.text, "box": [round(value, 1) for value in sign.box]} for sign in line.signs
    ]
    return {"text": line.text, "signs": signs}
