"""How good the article's generative networks are, and how far that depends on the seed.

    for s in 0 1 2; do dlkit train cgan --data mnist --set seed=$s --out runs/cgan-$s; done
    python benchmarks/generative.py runs/cgan-*        # adds rows to docs/results/generative.json

Generated digits beside full MNIST's 10,000 test digits; cleaned scans on 100 held-out simulated
pairs. Prints the table of docs/generating.md: mean and standard deviation over the runs of a
recipe, and how long the longest training took.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import dlkit
from dlkit.bundle import Bundle
from dlkit.training.engine.run import Run

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "generative.json"
DIGITS = ("frechet", "precision", "recall", "density", "coverage", "mnist_score",
          "label_accuracy", "class_score", "rarest_class", "nearer_to_training")  # fmt: skip
SCANS = ("psnr", "ssim", "objects_kept", "without_false_object")


def row(path: Path, data: str) -> dict[str, Any]:
    """One run, exported in fp32 if it is not yet, and evaluated."""
    run = Run(path)
    recipe = run.load_recipe()
    made = run.path / "bundle-fp32"
    bundle = Bundle.open(made) if made.exists() else dlkit.export(run, precision="fp32")
    digits = recipe.task.command == "generate"
    settings: dict[str, Any] = {"data": data} if digits else {"count": 100}
    found = dlkit.evaluate(bundle, slow=1 if digits else 0, **settings)
    name = next(iter(found.models))
    measured = next(one for one in found.rows if one["method"] == name)
    log = run.load_log()
    seconds = sum(entry.get("seconds", 0) for entry in log)
    return {
        "recipe": recipe.network.architecture.name, "about": recipe.about, "seed": recipe.seed,
        "minutes": round(seconds / 60, 1), "device": log[0]["device"], "onnx_sha256": bundle.sha256,
        **{key: measured[key] for key in (DIGITS if digits else SCANS)},
    }  # fmt: skip


def cell(values: list[float | None]) -> str:
    """Mean and deviation with as many digits as mean something."""
    known = [one for one in values if one is not None]
    if not known:
        return ""
    digits = 1 if np.mean(known) >= 5 else 3
    spread = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


def table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    """Markdown: a line a recipe."""
    lines = [f"| recipe | seeds | {' | '.join(names)} | minutes of one core |"]
    lines.append("|---" + "|---:" * (len(names) + 2) + "|")
    kinds = defaultdict(list)
    for one in rows:
        if names[0] in one:
            kinds[one["recipe"]].append(one)
    for kind, found in kinds.items():
        cells = [cell([one[name] for one in found]) for name in names]
        longest = max((one["minutes"] for one in found if one["device"] == "cpu"), default=0)
        lines.append(f"| {kind} | {len(found)} | {' | '.join(cells)} | {longest:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Evaluate the runs, add them, print everything that is known."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--data", default="mnist", help="digits to compare with")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    rows = json.loads(given.out.read_text()) if given.out.is_file() else []
    for path in given.runs:
        new = row(path, given.data)
        rows = [one for one in rows if (one["about"], one["seed"]) != (new["about"], new["seed"])]
        rows.append(new)
        rows.sort(key=lambda one: (one["recipe"], one["about"], one["seed"]))
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(new, flush=True)
    for names in (DIGITS, SCANS):
        print(table(rows, names), end="\n\n")


if __name__ == "__main__":
    main()
