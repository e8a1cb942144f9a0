"""Write docs/parity.md: train every recipe that two cores can train, export, verify, run a folder.

python docs/parity.py        about half an hour on two cores
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from typer.testing import CliRunner

from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import ExportError
from dlkit.spec import PRECISIONS
from dlkit.training.recipe import RECIPES

ROOT = Path(__file__).resolve().parent.parent
MOST_PARAMETERS = 2_000_000  # above it a recipe is for a GPU
# The denoiser's own recipe takes an hour; parity needs trained weights, not the best ones.
SHORTER = {"denoiser": ["steps=200", "pairs=64", "height=168", "width=96", "crop_width=96"]}

HEAD = """# Parity: torch against every backend

Each recipe that two cores can train was trained, exported in every precision, verified against
torch in float32 and run over a folder of the samples. Made by `python docs/parity.py`. Differences
are in probability (recognize) or grey levels of 255 (denoise).

| recipe | trained to | precision | backend | largest | mean | allowed | folder |
|---|---|---|---|---|---|---|---|
"""


def dlkit(*arguments: object) -> str:
    """Run a command of dlkit in this process; ends the script if it fails."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exit_code:
        sys.exit(f"dlkit {arguments}: {done.output} {done.exception!r}")
    return done.output


def small() -> list[str]:
    """Recipes with few enough parameters."""
    found = []
    for name in RECIPES.names():
        with torch.device("meta"):
            network = RECIPES.load(name).example().network.build()
        if sum(parameter.numel() for parameter in network.parameters()) < MOST_PARAMETERS:
            found.append(name)
    return found


def rows(name: str, folder: Path) -> list[str]:
    """Train, export, verify and run one recipe; a row for every precision and backend."""
    task = RECIPES.load(name).task
    run = folder / name
    settings = [part for pair in SHORTER.get(name, []) for part in ("--set", pair)]
    dlkit("train", name, "--out", run, *settings)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    last = [entry for entry in log if entry["event"] == "epoch"][-1]
    if "test_accuracy" in log[-1]:
        trained = f"{log[-1]['test_accuracy']:.1%} of the bundled test digits"
    else:
        trained = f"{last['psnr']:.1f} dB, SSIM {last['ssim']:.3f} on held-out simulated scans"
    made = []
    for precision in PRECISIONS:
        bundle = run / f"bundle-{precision}"
        done = CliRunner().invoke(app, ["export", str(run), "--precision", precision])
        if precision == "int8" and isinstance(done.exception, ExportError):
            made.append(f"| {name} | {trained} | int8 | none: refused, loses too much | | | | |")
            continue
        if done.exit_code:
            sys.exit(f"dlkit export {run}: {done.output} {done.exception!r}")
        dlkit("verify", bundle)
        samples = "digits" if "test_accuracy" in log[-1] else "scans"
        out = folder / f"{name}-{precision}{'.csv' if samples == 'digits' else ''}"
        dlkit(task.command, ROOT / "samples" / samples, "--model", bundle, "--out", out)
        count = len(list((ROOT / "samples" / samples).glob("*.png")))
        certificate = Bundle.open(bundle).certificate
        assert certificate is not None
        for row in certificate.measured:
            allowed = task.tolerances[row.precision]
            made.append(
                f"| {name} | {trained} | {precision} | {row.backend} | {row.largest:.2g} "
                f"| {row.mean:.2g} | {allowed.largest:g}, {allowed.mean:g} "
                f"| {count} of {count} |"
            )
        print(made[-1], flush=True)
    return made


def main() -> None:
    """All recipes, then the page."""
    with tempfile.TemporaryDirectory() as folder:
        table = [row for name in small() for row in rows(name, Path(folder))]
    (ROOT / "docs" / "parity.md").write_text(HEAD + "\n".join(table) + "\n")


if __name__ == "__main__":
    main()
