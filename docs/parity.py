"""Write docs/parity.md: train every recipe that two cores can train, export, verify, run a folder.

python docs/parity.py                  about an hour on two cores
python docs/parity.py finder lenet     these rows alone; the others stay
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from typer.testing import CliRunner

from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import ExportError, VerifyError
from dlkit.spec import PRECISIONS
from dlkit.training.recipe import RECIPES

ROOT = Path(__file__).resolve().parent.parent
MOST_PARAMETERS = 3_000_000  # above it a recipe is for a GPU
# Parity needs trained weights, not the best ones.
SHORTER = {
    "denoiser": ["steps=200", "pairs=64", "height=168", "width=96", "crop_width=96"],
    "pix2pix_small": ["iterations=250", "pairs=64"],
    "cyclegan_small": ["iterations=100", "checkpoint_every=50", "pairs=64"],
    "wgan_small": ["iterations=100", "pairs=64"],
    "gan": ["iterations=500"],
    "dcgan": ["iterations=250"],
    "cgan": ["iterations=500"],
    "detector": ["steps=300", "epochs=2", "held_out=8", "thresholds=24"],
    **{name: ["epochs=5"] for name in (
        "alexnet_small", "best", "digits", "googlenet_small", "mlp_plus", "vgg_small",
    )},
}  # fmt: skip
# On the bundled digits, which are a sixth of MNIST: with sigmoids it hardly learns in ten epochs.
LONGER = {"lenet": ["epochs=60"], "mlp": ["epochs=30"]}
# What its last log line calls how good it is, in words.
TRAINED = {
    "test_accuracy": "{test_accuracy:.1%} of the bundled test digits",
    "ssim": "{psnr:.1f} dB, SSIM {ssim:.3f} on held-out simulated scans",
    "label_knn": "{label_knn:.1%} of the asked label by nearest digits",
    "ap50": "average precision {ap50:.2f} on held-out simulated scans",
    "distance": "sliced Wasserstein distance {distance:.3f}",
}

HEAD = """# Parity: torch against every backend

Each recipe that two cores can train was trained, exported in every precision, verified against
torch in float32 and run over a folder of the samples (generate: asked for 40 images). Made by
`python docs/parity.py`. Differences are in probability (recognize), grey levels of 255 (denoise,
generate), and chance or logarithm of a distance (detect). Trainings are short ones: parity needs
trained weights, not the best.

| recipe | trained to | precision | backend | largest | mean | allowed | folder |
|---|---|---|---|---|---|---|---|
"""


# How int8 ends of networks that it takes too much from.
REFUSED = {
    ExportError: "refused, loses too much",
    VerifyError: "no certificate, out of tolerance",
}


def dlkit(*arguments: object, may_refuse: bool = False) -> str:
    """Run a command of dlkit in this process; ends the script if it fails.

    Returns:
        how it refused, where it may; else nothing.
    """
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if may_refuse and type(done.exception) in REFUSED:
        return REFUSED[type(done.exception)]  # type: ignore[index]
    if done.exit_code:
        sys.exit(f"dlkit {arguments}: {done.output} {done.exception!r}")
    return ""


def small() -> list[str]:
    """Recipes with few enough parameters; of those whose networks are alike but for the width and
    what they read, the first. Bundles of tensors have no data of their own to be verified on."""
    found: dict[object, str] = {}
    for name in RECIPES.names():
        recipe = RECIPES.load(name)
        if recipe.task.any_graph:
            continue
        with torch.device("meta"):
            network = recipe.example().network.build()
        if sum(parameter.numel() for parameter in network.parameters()) < MOST_PARAMETERS:
            kinds = tuple(type(module).__name__ for module in network.modules())
            found.setdefault((recipe.network.architecture, kinds), name)
    return list(found.values())


def rows(name: str, folder: Path) -> list[str]:
    """Train, export, verify and run one recipe; a row for every precision and backend."""
    task = RECIPES.load(name).task
    run = folder / name
    settings = [*SHORTER.get(name, []), *LONGER.get(name, [])]
    dlkit("train", name, "--out", run, *(part for pair in settings for part in ("--set", pair)))
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found = [entry for entry in log if entry["event"] == "epoch"][-1] | log[-1]
    trained = next(words.format(**found) for key, words in TRAINED.items() if key in found)
    made = []
    for precision in PRECISIONS:
        bundle = run / f"bundle-{precision}"
        steps = (("export", run, "--precision", precision), ("verify", bundle))
        refusals = (dlkit(*step, may_refuse=precision == "int8") for step in steps)
        if refused := next(filter(None, refusals), ""):
            made.append(f"| {name} | {trained} | int8 | none: {refused} | | | | |")
            continue
        count = used(task.command, bundle, folder / f"{name}-{precision}")
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


def used(command: str, bundle: Path, out: Path) -> int:
    """Run the task's command; how many answers it gave, which is all of them, or it fails."""
    if command == "generate":
        dlkit(command, bundle, "--count", 40, "--out", out.with_suffix(".npz"))
        with np.load(out.with_suffix(".npz")) as arrays:
            return len(arrays["images"])
    inputs = ROOT / "samples" / ("digits" if command == "recognize" else "scans")
    out = out if command == "denoise" else out.with_suffix(".csv")
    dlkit(command, inputs, "--model", bundle, "--out", out)
    return len(list(inputs.glob("*.png")))


def main() -> None:
    """The recipes that are named, or all; then the page."""
    page, named = ROOT / "docs" / "parity.md", sys.argv[1:]
    found: dict[str, list[str]] = {}
    for line in page.read_text().removeprefix(HEAD).splitlines() if named else []:
        found.setdefault(line.split()[1], []).append(line)
    with tempfile.TemporaryDirectory() as folder:
        for name in named or small():
            found[name] = rows(name, Path(folder))
    page.write_text(HEAD + "".join(f"{row}\n" for _, part in sorted(found.items()) for row in part))


if __name__ == "__main__":
    main()
