"""Pictures of generated digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dlkit import images
from dlkit.evaluation.manifold import nearest
from dlkit.images import UInt8
from dlkit.tasks.generate import Generator
from dlkit.tasks.generate.grid import grid

_ROWS, _COLUMNS = 10, 10
_STEPS = 10  # of a way from one digit to the next


def draw_generated(
    name: str, generator: Generator, training: UInt8, seed: int, folder: Path
) -> None:
    """Write three pictures of a generator.

    grid-NAME.png: every class in its column. nearest-NAME.png: digits, and below each the training
    digit that is nearest in pixels: is it copied? ways-NAME.png: from one digit to the next.

    Args:
        training: uint8 (N, H, W).
    """
    stem = "".join(one if one.isalnum() else "-" for one in name).strip("-")
    made = generator.generate(_ROWS * _COLUMNS, seed=seed)
    images.write(folder / f"grid-{stem}.png", grid(made, _COLUMNS))
    places, _ = nearest(made, training)
    pairs = []
    for at in range(0, len(made) // 2, _COLUMNS):
        pairs += [made[at : at + _COLUMNS], training[places[at : at + _COLUMNS]]]
    images.write(folder / f"nearest-{stem}.png", grid(np.concatenate(pairs), _COLUMNS))
    ways = generator.interpolate(_ROWS, _STEPS, seed=seed)
    images.write(folder / f"ways-{stem}.png", grid(ways, _STEPS))
