"""Noisy images and clean ones that do not belong together: of different people.

A folder has ``noisy/`` and ``clean/``, with any names and any number of images in each. For
evaluation alone, ``held_out/`` below it may have pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dlkit import images
from dlkit.errors import InputError
from dlkit.mmwave import DEFAULTS, Parameters
from dlkit.tasks.denoise.pairs import (
    Pairs,
    ValueRange,
    by_name,
    load_pairs,
    odd_depth,
    read_image,
    simulate_pairs,
)

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Unpaired:
    """Two sets of images in memory.

    Attributes:
        noisy, clean: uint8 (H, W) grey or (H, W, 3) colour each.
        held_out: pairs for evaluation; None where there are none.
        notes: what is odd about them, for people.
    """

    noisy: list[images.UInt8]
    clean: list[images.UInt8]
    held_out: Pairs | None = None
    notes: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Hash of both sides."""
        digest = hashlib.sha256()
        for side in (self.noisy, self.clean):
            digest.update(f"{len(side)} ".encode())
            for image in side:
                digest.update(str(image.shape).encode() + image.tobytes())
        return digest.hexdigest()

    def keeping_out(self, pairs: Pairs) -> Unpaired:
        """The same with pairs for evaluation."""
        return replace(self, held_out=pairs)


def load_unpaired(
    folder: Path, colour: str | None = "grey", values: ValueRange | None = None
) -> Unpaired:
    """Images of ``folder/noisy`` and of ``folder/clean``, whatever their names.

    Args:
        colour, values: as ``load_pairs`` takes them.

    Raises:
        InputError: a side is missing or empty, an image cannot be read, or it has floats and no
            range is given.
    """
    cut: list[Path] = []
    read: list[list[images.Image]] = []
    for side in ("noisy", "clean"):
        if not (folder / side).is_dir():
            raise InputError(f"{folder} has no folder '{side}', expected noisy/ and clean/")
        found = by_name(folder / side)
        if not found:
            raise InputError(f"{folder / side} has no images")
        read.append([read_image(path, values, cut) for path in found.values()])
    if colour is None:
        coloured = any(not images.is_grey(image) for side in read for image in side)
        colour = "rgb" if coloured else "grey"
    noisy, clean = ([images.colour(image, colour) for image in side] for side in read)
    notes = odd_depth(read, folder)
    held_out = None
    if (folder / HELD_OUT).is_dir():
        held_out = load_pairs(folder / HELD_OUT, colour, values=values)
    else:
        notes.append(
            f"{folder.resolve().name} has no {HELD_OUT}/ with pairs, so that nobody can say how "
            "good the network is"
        )
    return Unpaired(noisy, clean, held_out, notes)


def simulate_unpaired(
    seeds: Sequence[int], size: tuple[int, int], workers: int = 0,
    parameters: Parameters = DEFAULTS,
) -> Unpaired:  # fmt: skip
    """Simulated scans of the people of the first half of the seeds, clean pictures of the others.

    Args:
        seeds: an even number of them.
        size, workers, parameters: as ``simulate_pairs`` takes them.
    """
    pairs = simulate_pairs(seeds, size, workers, parameters=parameters)
    half = len(pairs.noisy) // 2
    return Unpaired(pairs.noisy[:half], pairs.clean[half:])
