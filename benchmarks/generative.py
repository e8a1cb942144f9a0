"""How good the article's generative networks are, and how far that depends on the seed.

    for s in 0 1 2; do dlkit train cgan --data mnist --set seed=$s --out runs/cgan-$s; done
    python benchmarks/generative.py runs/cgan-* digit_maker            # beside MNIST's test digits
    python benchmarks/generative.py runs/wgan_small-* mmwave --real FOLDER   # noisy/, clean/

Adds rows to docs/results/generative.json: of each run, by its recipe and seed, of each bundle, and
of what dlkit evaluate shows beside them (real digits, raw scans, classical methods). Generated
digits are compared with full MNIST's 10,000 test digits; cleaned scans with 100 held-out simulated
pairs, and with real ones on which nothing was trained. Prints the tables of docs/generating.md:
mean and standard deviation over the runs of a recipe. Without runs it prints what is known.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import dlkit
from dlkit.bundle import Bundle
from dlkit.evaluation.report import Report
from dlkit.training.engine.run import Run
from dlkit.training.recipe import RECIPES, Recipe

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "generative.json"
_PAIRS = 100
Row = dict[str, Any]


class Column(NamedTuple):
    """A figure, what the table calls it, and how much of it means something."""

    key: str
    title: str
    decimals: int = 3
    percent: bool = False


DIGITS = (
    Column("frechet", "Fréchet", 2), Column("precision", "precision"), Column("recall", "recall"),
    Column("density", "density"), Column("coverage", "coverage"),
    Column("mnist_score", "MNIST score", 2),
    Column("label_accuracy", "label accuracy", 1, percent=True),
    Column("class_score", "class score", 1, percent=True),
    Column("rarest_class", "rarest class", 1, percent=True),
    Column("nearer_to_training", "nearer to training"),
)  # fmt: skip
SCANS = (
    Column("psnr", "PSNR", 2), Column("ssim", "SSIM"),
    Column("objects_kept", "objects kept, of 108", 1, percent=True),
    Column("without_false_object", "no false object, of 20", 0, percent=True),
    Column("real_psnr", "real pairs: PSNR", 2), Column("real_ssim", "SSIM"),
)  # fmt: skip
# What the tables show, in their order.
LABELS = {
    "real digits": "real training digits",
    "digit_maker": "`digit_maker`, the shipped `cgan`",
    "cgan": "`cgan`",
    "dcgan": "`dcgan`",
    "gan": "`gan`",
    "raw scan": "raw scan",
    "fixed levels curve": "fixed levels curve",
    "wgan_small": "`wgan_small`",
    "cyclegan_small": "`cyclegan_small`",
    "pix2pix_small": "`pix2pix_small`",
    "mmwave": "`mmwave`, the shipped denoiser",
}


def recipe_name(recipe: Recipe) -> str:
    """What its command calls the recipe of a run, with its loss where that is another; an own one's
    by its network."""
    names = (name for name in RECIPES.names() if RECIPES.load(name).about == recipe.about)
    name = next(names, None)
    if name is None:
        return recipe.network.architecture.name
    adversary = getattr(recipe, "adversary", None)
    same = adversary == getattr(RECIPES.load(name), "adversary", None)
    return name if same else f"{name}, {adversary}"


def opened(given: str) -> tuple[Bundle, Row]:
    """The bundle of a run, exported in fp32 if it is not yet, or a bundle; and what its row says
    besides figures."""
    if not (Path(given) / "recipe.json").is_file():
        bundle = Bundle.open(given)
        return bundle, {"method": bundle.spec.name, "onnx_sha256": bundle.sha256}
    run = Run(Path(given))
    recipe, log = run.load_recipe(), run.load_log()
    made = run.path / "bundle-fp32"
    bundle = Bundle.open(made) if made.exists() else dlkit.export(run, precision="fp32")
    seconds = sum(entry.get("seconds", 0) for entry in log)
    return bundle, {
        "method": recipe_name(recipe), "seed": recipe.seed, "minutes": round(seconds / 60, 1),
        "device": log[0]["device"], "onnx_sha256": bundle.sha256,
    }  # fmt: skip


def measured(given: str, data: str, real: str | None, count: int | None) -> list[Row]:
    """A row of a run or a bundle, and one of each method that is shown beside it.

    Args:
        data: digits to compare with.
        real: folder of real pairs, for scans.
        count: of digits or pairs, for a try: then the slow class score is left out.
    """
    bundle, about = opened(given)
    if bundle.spec.task == "generate":
        report = dlkit.evaluate(bundle, data=data, count=count, slow=0 if count else 1)
        return _rows(report, about, DIGITS)
    rows = _rows(dlkit.evaluate(bundle, count=count or _PAIRS, slow=0), about, SCANS)
    if real is not None:
        others = _rows(dlkit.evaluate(bundle, data=real, slow=0), about, SCANS)
        for row, other in zip(rows, others, strict=True):
            row |= {"real_psnr": other["psnr"], "real_ssim": other["ssim"]}
    return rows


def _rows(report: Report, about: Row, columns: Iterable[Column]) -> list[Row]:
    return [
        (dict(about) if row["method"] in report.models else {"method": row["method"]})
        | {column.key: row[column.key] for column in columns if column.key in row}
        for row in report.rows
    ]


def merged(rows: list[Row], new: Iterable[Row]) -> list[Row]:
    """Rows with new ones, which replace those of the same method and seed; what only the old one
    has, of the same weights, stays: real pairs may not be there each time."""
    found = {(row["method"], row.get("seed", -1)): row for row in rows}
    for row in new:
        key = (row["method"], row.get("seed", -1))
        old = found.get(key, {})
        same = old.get("onnx_sha256") == row.get("onnx_sha256")
        found[key] = (old | row) if same else row
    return [found[key] for key in sorted(found)]


def cell(values: Iterable[float | None], column: Column) -> str:
    """Mean and standard deviation."""
    known = [one * (100 if column.percent else 1) for one in values if one is not None]
    if not known:
        return ""
    spread = f" ± {np.std(known, ddof=1):.{column.decimals}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{column.decimals}f}{spread}{' %' if column.percent else ''}"


def table(rows: list[Row], columns: tuple[Column, ...]) -> str:
    """Markdown: a line a method that has such figures; other runs follow those that are known."""
    lines = [f"| | seeds | {' | '.join(column.title for column in columns)} |"]
    lines.append("|---|" + "---:|" * (len(columns) + 1))
    others = sorted({row["method"] for row in rows if "seed" in row} - set(LABELS))
    for method, label in (LABELS | {method: f"`{method}`" for method in others}).items():
        of = [row for row in rows if row["method"] == method and columns[0].key in row]
        if of:
            cells = [cell([row.get(column.key) for row in of], column) for column in columns]
            seeds = str(len(of)) if "seed" in of[0] else ""
            lines.append(f"| {label} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Evaluate what is named, add it, print everything that is known."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="*", help="runs, bundles, or names of shipped ones")
    parser.add_argument("--data", default="mnist", help="digits to compare with")
    parser.add_argument("--real", help="folder with noisy/ and clean/: real pairs, for scans")
    parser.add_argument("--count", type=int, help="of digits or pairs, for a try; no class score")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    rows = json.loads(given.out.read_text()) if given.out.is_file() else []
    for one in given.runs:
        new = measured(one, given.data, given.real, given.count)
        rows = merged(rows, new)
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(*new, sep="\n", flush=True)
    for columns in (DIGITS, SCANS):
        print(table(rows, columns), end="\n\n")


if __name__ == "__main__":
    main()
