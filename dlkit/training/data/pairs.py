"""Pairs of noisy and clean images, from folders or from the simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import InputError
from dlkit.training.data.mmwave import simulate
from dlkit.training.data.mmwave.folder import one_thread

SIMULATED = "simulated"
# Seeds of held-out scans start here, far above any that is trained on.
HELD_OUT_SEED = 1_000_000_000


@dataclass(frozen=True)
class Pairs:
    """Image pairs in memory.

    Attributes:
        noisy, clean: uint8 (H, W) each, equal sizes within a pair.
        objects: uint8 (H, W), k where the k-th concealed object is, else 0; None where nobody
            marked them.
        bodies: uint8 (H, W), not 0 where the person is; None where nobody marked them.
        names: one each, for reports; a file's name without its ending, or a seed.
    """

    noisy: list[images.Pixels]
    clean: list[images.Pixels]
    objects: list[images.Pixels] | None = None
    bodies: list[images.Pixels] | None = None
    names: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Hash of everything in it."""
        digest = hashlib.sha256()
        for image in (*self.noisy, *self.clean):
            digest.update(str(image.shape).encode() + image.tobytes())
        return digest.hexdigest()


def load_pairs(folder: Path) -> Pairs:
    """Pairs from ``folder/noisy`` and ``folder/clean``, matched by name.

    Names match without their endings, so ``noisy/7.png`` belongs to ``clean/7.tif``. Masks are
    taken from ``folder/objects`` and ``folder/bodies`` where ``dlkit simulate --masks`` or somebody
    else put one for each pair.

    Raises:
        InputError: a folder or a partner is missing, sizes differ, or an image cannot be read.
    """
    sides = []
    for side in ("noisy", "clean"):
        if not (folder / side).is_dir():
            raise InputError(f"{folder} has no folder '{side}': expected noisy/ and clean/")
        sides.append(_by_name(folder / side))
    noisy, clean = sides
    for have, lack, name in ((noisy, clean, "clean"), (clean, noisy, "noisy")):
        if missing := sorted(set(have) - set(lack)):
            raise InputError(
                f"{have[missing[0]]} has no partner in {folder / name} "
                f"({len(missing)} without one): add it or take the image away"
            )
    if not noisy:
        raise InputError(f"{folder / 'noisy'} has no images")
    names = sorted(noisy)
    first = [images.grey(images.read(noisy[name])) for name in names]

    def partners(side: dict[str, Path]) -> list[images.Pixels]:
        found = [images.grey(images.read(side[name])) for name in names]
        for name, one, other in zip(names, first, found, strict=True):
            if one.shape != other.shape:
                raise InputError(
                    f"{side[name]} is {other.shape}, its noisy scan {one.shape}: not a pair"
                )
        return found

    masks = []
    for side in ("objects", "bodies"):
        there = _by_name(folder / side) if (folder / side).is_dir() else {}
        masks.append(partners(there) if set(names) <= set(there) else None)
    return Pairs(first, partners(clean), masks[0], masks[1], names)


def simulate_pairs(
    seeds: Iterable[int], size: tuple[int, int], workers: int = 0, bodies: bool = False
) -> Pairs:
    """Simulated pairs, one a seed, made in parallel processes; the same on every machine.

    Args:
        size: height and width in pixels.
        workers: processes; all processors by default, 1 simulates in this process.
        bodies: keep the masks of the persons too.
    """
    jobs = [(seed, size, bodies) for seed in seeds]
    if workers == 1 or len(jobs) < 8:
        made = [_simulate(job) for job in jobs]
    else:
        # spawn: forking a process that runs torch's threads can deadlock
        with ProcessPoolExecutor(
            workers or torch.get_num_threads(),
            mp_context=get_context("spawn"),
            initializer=one_thread,
        ) as pool:
            made = list(pool.map(_simulate, jobs, chunksize=8))
    noisy, clean, objects, *rest = (list(side) for side in zip(*made, strict=True))
    names = [str(seed) for seed, _, _ in jobs]
    return Pairs(noisy, clean, objects, rest[0] if bodies else None, names)


def _simulate(job: tuple[int, tuple[int, int], bool]) -> tuple[NDArray[np.uint8], ...]:
    seed, size, bodies = job
    scan = simulate(seed, size)
    sides = (scan.noisy, scan.clean, scan.object_mask)
    return (*sides, scan.body_mask.astype(np.uint8)) if bodies else sides


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in images.SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(f"{path} and {found[path.stem].name} have one name: which is meant?")
        found[path.stem] = path
    return found
