"""How good denoisers are, beside classical methods: fidelity, objects, stripes, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dlkit import images
from dlkit.errors import InputError
from dlkit.evaluation import classical
from dlkit.evaluation import scan_metrics as metrics
from dlkit.evaluation.report import Evaluation, Report, Request
from dlkit.evaluation.task_metrics import TASK_METRICS
from dlkit.images import UInt8
from dlkit.mmwave import REFERENCE_SIZE
from dlkit.tasks import Model
from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, SIMULATED, Pairs, load_pairs, simulate_pairs
from dlkit.tasks.denoise.score import psnr, ssim

# Pixels: simulated objects are 8 wide and more.
_OBJECT_WIDTH = 7

SETTINGS = {
    "psnr": "dB, uint8, peak 255, per image, then the mean over images; at most 100",
    "ssim": "scikit-image's structural_similarity: 7x7 window, data_range 255, per image",
    "ssim_wang": "SSIM with Wang's settings: Gaussian weights, sigma 1.5",
    "psnr_body": "PSNR over the pixels of the person alone",
    "stripes": "grey levels: deviation, over columns, of the error's column means inside the "
    "person, less their running mean over 15 columns",
    "contrast": "(surroundings - object) / 255, mean grey of the body 5 to 12 pixels around an "
    "object and inside it; 1 is a black object on a white body",
    "objects_kept": f"share of objects above {metrics.LEAST_OBJECT} pixels with a mean below 128",
    "without_false_region": f"share of images without an object that show no dark region above "
    f"{metrics.LEAST_OBJECT} pixels, 12 pixels or more inside the person, where the target is "
    "bright",
    "without_false_object": f"the same, but what is narrower than {_OBJECT_WIDTH} pixels does not "
    "count: slivers of an edge, stripes",
}

# Pictures have so many columns, each so wide.
_SHOWN, _COLUMN = 6, 150
_COUNT, _SEED = 200, 10_000  # simulated pairs, and the first one's seed among held-out ones


class Scans(Evaluation):
    """Denoisers of grey scans, beside classical methods; others by PSNR and SSIM of their pairs."""

    about = "PSNR, SSIM, objects and stripes of scans, beside classical methods"

    def evaluate(self, models: Mapping[str, Model[Any, Any, Any]], request: Request) -> Report:
        """A row a method and a bundle."""
        specs = [model.bundle.spec for model in models.values()]
        if any(spec.colour != "grey" or spec.scale != 1 for spec in specs):
            return TASK_METRICS.evaluate(models, request)
        return measure_scans({name: method(model) for name, model in models.items()}, request)


def method(model: Model[Any, Any, Any]) -> Callable[[UInt8], UInt8]:
    """The answer of a loaded denoiser for one scan."""

    def clean(scan: UInt8) -> UInt8:
        (answer,) = model.answers([scan], 1)
        return np.asarray(answer, np.uint8)

    return clean


def measure_scans(methods: Mapping[str, Callable[[UInt8], UInt8]], request: Request) -> Report:
    """Run classical methods and ``methods`` over pairs.

    Args:
        methods: uint8 (H, W) to uint8 (H, W), by the names of their rows.
        request: ``data`` is ``simulated``, the default, or a folder with noisy/ and clean/.

    Raises:
        InputError: the folder cannot be used.
    """
    data = request.data or SIMULATED
    pairs = _pairs(data, request)
    rows: dict[str, tuple[Callable[[UInt8], UInt8], int]] = {}
    total = len(pairs.noisy)
    for name, run in classical.FAST.items():
        rows[name] = (run, total)
    for name, run in classical.SLOW.items():
        if request.slow:
            rows[name] = (run, min(total, request.slow))
    for name, run in methods.items():
        rows[name] = (run, total)
    table, every = [], []
    shown: list[list[UInt8]] = [pairs.noisy[:_SHOWN]]
    for place, (name, (run, count)) in enumerate(rows.items()):
        request.show(place, len(rows), name)
        cleaned = [run(noisy) for noisy in pairs.noisy[:count]]
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(partial(_measure, pairs), range(count), cleaned))
        every += [{"method": name, **one} for one in found]
        table.append({"method": name, "images": count, **_means(found)})
        if name not in ("raw scan", "all black"):
            black = [np.zeros_like(noisy) for noisy in pairs.noisy[count:_SHOWN]]
            shown.append([*cleaned[:_SHOWN], *black])
    if request.out is not None:
        names = ["input", *(name for name in rows if name not in ("raw scan", "all black"))]
        picture = sheet([*shown, pairs.clean[:_SHOWN]], [*names, "target"])
        images.write(request.out / "methods.png", picture)
    return Report({**SETTINGS, "data": data, "images": total}, table, every)


def sheet(rows: list[list[UInt8]], names: list[str]) -> UInt8:
    """One picture: a row for each list of images, its name written into its first image."""
    lines = []
    for row, name in zip(rows, names, strict=True):
        small = [
            cv2.resize(
                image, (_COLUMN, round(image.shape[0] * _COLUMN / image.shape[1])),
                interpolation=cv2.INTER_AREA,
            )
            for image in row
        ]  # fmt: skip
        height = max(image.shape[0] for image in small)
        small = [np.pad(image, ((0, height - image.shape[0]), (0, 4))) for image in small]
        line = np.ascontiguousarray(np.hstack(small))
        line[:20] = np.minimum(line[:20], 60)
        cv2.putText(line, name, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,), 1, cv2.LINE_AA)
        lines.append(line)
    return np.vstack(lines)


def _pairs(data: str, request: Request) -> Pairs:
    if data == SIMULATED:
        first = HELD_OUT_SEED + (_SEED if request.seed is None else request.seed)
        seeds = range(first, first + (request.count or _COUNT))
        return simulate_pairs(seeds, REFERENCE_SIZE, bodies=True)
    folder = Path(data)
    if not folder.is_dir():
        raise InputError(f"there is no folder '{folder}'", f"Give --data {SIMULATED} or a folder")
    return load_pairs(folder)


def _measure(pairs: Pairs, index: int, cleaned: UInt8) -> dict[str, Any]:
    clean = pairs.clean[index]
    body = pairs.bodies[index] > 0 if pairs.bodies else metrics.body_of(clean)
    found: dict[str, Any] = {
        "image": pairs.names[index],
        "psnr": psnr(clean, cleaned),
        "ssim": ssim(clean, cleaned),
        "ssim_wang": metrics.ssim_wang(clean, cleaned),
        "psnr_body": metrics.psnr_inside(clean, cleaned, body),
        "stripes": metrics.stripes(clean, cleaned, body),
    }
    if pairs.objects is not None:
        labels = pairs.objects[index]
        found["objects"] = metrics.objects(cleaned, labels, body)
        if not labels.any() and body.any():
            found["false_region"] = metrics.false_object(clean, cleaned, body)
            found["false_object"] = metrics.false_object(clean, cleaned, body, _OBJECT_WIDTH)
    return found


def _means(found: list[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {}
    for key in ("psnr", "ssim", "ssim_wang", "psnr_body", "stripes"):
        known = [one[key] for one in found if one[key] is not None]
        means[key] = float(np.mean(known)) if known else None
    things = [thing for one in found for thing in one.get("objects", [])]
    seen = [thing["contrast"] for thing in things if thing["contrast"] is not None]
    means["contrast"] = float(np.mean(seen)) if seen else None
    large = [thing["grey"] < 128 for thing in things if thing["pixels"] > metrics.LEAST_OBJECT]
    means["objects_kept"] = float(np.mean(large)) if large else None
    means["objects_counted"] = len(large)
    for what in ("object", "region"):
        without = [not one[f"false_{what}"] for one in found if f"false_{what}" in one]
        means[f"without_false_{what}"] = float(np.mean(without)) if without else None
    means["without_counted"] = len(without)
    return means


EVALUATION = Scans()
