"""Pairs of noisy and clean images, from folders or from the simulator.

A folder has ``noisy/`` and ``clean/``, with the same names but for the endings: image files of 8 or
16 bits, TIFF with floats, or arrays (.npy; uint8, uint16 or floats, (H, W) or (H, W, 3) BGR).
Networks take 8 bits: black is 0 and white the largest value of the type, or what a range says.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images, npy
from dlkit.errors import InputError, UsageError
from dlkit.mmwave import DEFAULTS, Parameters, simulate
from dlkit.mmwave.folder import one_thread
from dlkit.mmwave.parameters_file import SIMULATED as SIMULATED
from dlkit.processors import cpu_count
from dlkit.ranges import parse_range

# Each training seed has so many scans of its own; held-out ones start far above all of them.
SEEDS_PER_TRAINING = 10_000_000
HELD_OUT_SEED = 1_000_000_000

_ARRAY, _TIFF, _TWELVE_BITS = ".npy", (".tif", ".tiff"), 4095
_Job = tuple[int, tuple[int, int], bool, Parameters]


@dataclass(frozen=True)
class Pairs:
    """Image pairs in memory.

    Attributes:
        noisy, clean: uint8 (H, W) grey or (H, W, 3) colour each, equal sizes within a pair.
        objects: uint8 (H, W), k where the k-th concealed object is, else 0; None where nobody
            marked them.
        bodies: uint8 (H, W), not 0 where the person is; None where nobody marked them.
        names: one each, for reports; a file's name without its ending, or a seed.
        notes: what is odd about them, for people.
    """

    noisy: list[images.UInt8]
    clean: list[images.UInt8]
    objects: list[images.UInt8] | None = None
    bodies: list[images.UInt8] | None = None
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Hash of everything in it."""
        digest = hashlib.sha256()
        for image in (*self.noisy, *self.clean):
            digest.update(str(image.shape).encode() + image.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ValueRange:
    """The values of black and white in files, where they are not those of their type.

    Attributes:
        low, high: ``high`` is above ``low``.
    """

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> ValueRange | None:
        """``LOW:HIGH``; None where it is empty.

        Raises:
            UsageError: it is something else.
        """
        return cls(*parse_range(text)) if text else None

    def to_uint8(self, image: NDArray[Any]) -> images.UInt8:
        """Values of the range as 0 to 255; those outside are cut off."""
        share = (image.astype(np.float64) - self.low) / (self.high - self.low)
        return (share.clip(0, 1) * 255).round().astype(np.uint8)


def training_seeds(seed: int, count: int) -> range:
    """Seeds of the simulated scans that a training sees.

    Args:
        seed: the recipe's.

    Raises:
        UsageError: they would be those of scans that are held out.
    """
    first = seed * SEEDS_PER_TRAINING
    if first < 0 or first + count > HELD_OUT_SEED:
        raise UsageError(
            f"seed is {seed}: below 0 or from {HELD_OUT_SEED // SEEDS_PER_TRAINING} on, training "
            "sees the scans that are held out",
            "Take another seed, or give --data FOLDER",
        )
    return range(first, first + count)


def load_pairs(
    folder: Path, colour: str | None = "grey", scale: int = 1, values: ValueRange | None = None
) -> Pairs:
    """Pairs from ``folder/noisy`` and ``folder/clean``, matched by name.

    Args:
        colour: channels of the images, ``grey``, ``rgb`` or ``bgr``; None is grey where all images
            are, else rgb.
        scale: how many times as high and wide the clean images are.
        values: what black and white are in the files; those of the files' types by default.

    Names match without their endings, so ``noisy/7.png`` belongs to ``clean/7.tif``. Masks are
    taken from ``folder/objects`` and ``folder/bodies`` where ``dlkit simulate --masks`` or somebody
    else put one for each pair.

    Raises:
        InputError: a folder or a partner is missing, sizes differ, an image cannot be read, or it
            has floats and no range is given.
    """
    sides = []
    for side in ("noisy", "clean"):
        if not (folder / side).is_dir():
            raise InputError(f"{folder} has no folder '{side}', expected noisy/ and clean/")
        sides.append(by_name(folder / side))
    noisy, clean = sides
    for have, lack, name in ((noisy, clean, "clean"), (clean, noisy, "noisy")):
        if missing := sorted(set(have) - set(lack)):
            raise InputError(
                f"{have[missing[0]]} has no partner in {folder / name} "
                f"({len(missing)} without one)",
                "Add it or take the image away",
            )
    if not noisy:
        raise InputError(f"{folder / 'noisy'} has no images")
    names = sorted(noisy)
    cut: list[Path] = []
    read = [[read_image(side[name], values, cut) for name in names] for side in (noisy, clean)]
    if colour is None:
        coloured = any(not images.is_grey(image) for side in read for image in side)
        colour = "rgb" if coloured else "grey"
    first, second = ([images.colour(image, colour) for image in side] for side in read)
    masks = []
    for side in ("objects", "bodies"):
        there = by_name(folder / side) if (folder / side).is_dir() else {}
        found = [images.grey(images.read(there[name])) for name in names if name in there]
        masks.append(found if len(found) == len(names) else None)
        if len(found) == len(names):
            _check_sizes(first, found, 1, [there[name] for name in names])
    _check_sizes(first, second, scale, [clean[name] for name in names])
    notes = odd_depth(read, folder)
    if cut:
        notes.append(
            f"{len(cut)} images of {folder.resolve().name} have values outside the range, which "
            f"are cut off, e.g. {cut[0].parent.name}/{cut[0].name}"
        )
    return Pairs(first, second, masks[0], masks[1], names, notes)


def _check_sizes(
    noisy: list[images.UInt8], others: list[images.UInt8], scale: int, paths: list[Path]
) -> None:
    for one, other, path in zip(noisy, others, paths, strict=True):
        wanted = (one.shape[0] * scale, one.shape[1] * scale)
        if other.shape[:2] != wanted:
            raise InputError(
                f"{path} is {other.shape[:2]}, its noisy image {one.shape[:2]}, expected {wanted}",
                "Look whether they are a pair",
            )


def odd_depth(read: list[list[images.Image]], folder: Path) -> list[str]:
    """What is odd about images as they are stored."""
    wide = [image for side in read for image in side if image.dtype == np.uint16]
    most = max((int(image.max()) for image in wide), default=0)
    if not wide or most > _TWELVE_BITS:
        return []
    return [
        f"{folder.resolve().name} has 16-bit images without a value above {most}: they are taken "
        f"as almost black; if they hold fewer bits, give the range, e.g. --range 0:{_TWELVE_BITS}"
    ]


def read_image(path: Path, values: ValueRange | None, cut: list[Path]) -> images.Image:
    """An image as uint8 or uint16, whatever its file holds; one that has values outside the range
    is noted in ``cut``.

    Raises:
        InputError: it cannot be read, or has floats and no range is given.
    """
    data, _ = images.read_bytes(path)
    if path.suffix.lower() == _ARRAY:
        image = npy.load(io.BytesIO(data), path)
        if not isinstance(image, np.ndarray):
            raise InputError(f"{path}: holds several arrays, expected one image")
    else:
        floats = _float_tiff(data, path) if path.suffix.lower() in _TIFF else None
        image = images.decode(data, path) if floats is None else floats
    if values and image.size and (image.min() < values.low or image.max() > values.high):
        cut.append(path)
    if image.dtype.kind != "f":
        try:
            images.check(image)
        except InputError as error:
            raise InputError(f"{path}: {error.what}", error.mend) from error
        return image if values is None else values.to_uint8(image)
    if values is None:
        raise InputError(
            f"{path}: has {image.dtype} pixels, and nobody knows which are black and white",
            "Say it with --range LOW:HIGH, e.g. --range 0:1",
        )
    if not np.isfinite(image).all():
        raise InputError(f"{path}: has pixels that are NaN or infinite")
    grey = values.to_uint8(image)
    images.check(grey)
    return grey


def _float_tiff(data: bytes, path: Path) -> NDArray[Any] | None:
    """The pixels of a TIFF file that holds floats, of any number of bits."""
    try:
        image = images.tiff.read(data, path, several=False)[0]
    except (ValueError, cv2.error):
        return None  # who decodes other files says what is wrong
    return image if image.dtype.kind == "f" else None


def simulate_pairs(
    seeds: Iterable[int], size: tuple[int, int], workers: int = 0, bodies: bool = False,
    parameters: Parameters = DEFAULTS,
) -> Pairs:  # fmt: skip
    """Simulated pairs, one a seed, made in parallel processes; the same on every machine.

    Args:
        size: height and width in pixels.
        workers: processes; all processors by default, 1 simulates in this process.
        bodies: keep the masks of the persons too.
        parameters: of the simulator.
    """
    jobs = [(seed, size, bodies, parameters) for seed in seeds]
    if workers == 1 or len(jobs) < 8:
        made = [_simulate(job) for job in jobs]
    else:
        # spawn: forking a process that runs torch's threads can deadlock
        with ProcessPoolExecutor(
            workers or cpu_count(),
            mp_context=get_context("spawn"),
            initializer=one_thread,
        ) as pool:
            made = list(pool.map(_simulate, jobs, chunksize=8))
    noisy, clean, objects, *rest = (list(side) for side in zip(*made, strict=True))
    names = [str(job[0]) for job in jobs]
    return Pairs(noisy, clean, objects, rest[0] if bodies else None, names)


def _simulate(job: _Job) -> tuple[NDArray[np.uint8], ...]:
    seed, size, bodies, parameters = job
    scan = simulate(seed, size, parameters)
    sides = (scan.noisy, scan.clean, scan.object_mask)
    return (*sides, scan.body_mask.astype(np.uint8)) if bodies else sides


def by_name(folder: Path) -> dict[str, Path]:
    """Files of images in a folder, by their names without endings, sorted.

    Raises:
        InputError: two have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() not in images.SUFFIXES | {_ARRAY}:
            continue
        if path.stem in found:
            raise InputError(
                f"{path} and {found[path.stem].name} have one name", "Keep one of them"
            )
        found[path.stem] = path
    return found
