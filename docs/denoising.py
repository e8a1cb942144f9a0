"""Write docs/denoising.md: how good the shipped denoiser is on simulated scans it never saw.

python docs/denoising.py     about a minute on two cores
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

import dlkit
from dlkit.bundle import Bundle
from dlkit.training.data.mmwave import Scan, simulate
from dlkit.training.data.pairs import HELD_OUT_SEED
from dlkit.training.metrics import psnr, ssim

ROOT = Path(__file__).resolve().parent.parent
PAIRS = 50
FIRST_SEED = HELD_OUT_SEED + 10_000  # apart from the pairs that training evaluates on
SHOWN = 4
STEPS = "1,800"  # of the run behind the shipped weights

TEXT = """# The shipped denoiser

`mmwave` was trained on simulated scans alone. On {pairs} simulated 678 x 384 pairs with seeds that
no training saw (mean over images, uint8, scikit-image's PSNR and 7 x 7 SSIM, `data_range=255`):

| | PSNR, dB | SSIM | PSNR inside the body, dB |
|---|---|---|---|
{rows}

A black background raises both whole-image figures, hence the last column. Made by
`python docs/denoising.py`, for the bundle whose model.onnx has SHA-256 `{sha}`.

![Simulated scan, result, target](images/denoising.png)

Each three columns: simulated scan, result, target.

## How it was trained

U-Net at half resolution with column statistics, which predicts where a fixed levels curve crosses
half grey, and a mask, for the full-resolution pixels (`architectures/denoiser.py`). Paired training
with Charbonnier's loss, squared error and 1 - SSIM, AdamW on a one-cycle schedule, exponential
moving average of the weights, as in the recipe `denoiser`. The weights in the package come from a
run of {steps} steps of that loss with an earlier script, before the recipe existed; `dlkit train
denoiser` repeats the method, not those very weights.

## What it cannot do

The curve and the mask imitate how people retouched such scans by hand. It is no detector: look at
the raw scan before you rely on what is missing from the cleaned one.
"""


def score(scans: list[Scan], results: list[np.ndarray]) -> str:
    """PSNR and SSIM, and PSNR inside the body mask, as cells of a row."""
    inside = []
    for scan, result in zip(scans, results, strict=True):
        error = (scan.clean.astype(float) - result)[scan.body_mask]
        if error.size:
            inside.append(10 * np.log10(255**2 / max(float((error**2).mean()), 1e-4)))
    whole = np.mean([psnr(scan.clean, result) for scan, result in zip(scans, results, strict=True)])
    like = np.mean([ssim(scan.clean, result) for scan, result in zip(scans, results, strict=True)])
    return f"{whole:.2f} | {like:.3f} | {np.mean(inside):.2f}"


def main() -> None:
    """Simulate, clean, score, draw, write."""
    scans = [simulate(FIRST_SEED + index) for index in range(PAIRS)]
    cleaned = dlkit.load("mmwave").denoise([scan.noisy for scan in scans])
    otsu = [
        cv2.threshold(scan.noisy, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1] for scan in scans
    ]
    methods = {
        "raw scan": [scan.noisy for scan in scans],
        "all black": [np.zeros_like(scan.noisy) for scan in scans],
        "Otsu's threshold": otsu,
        "dlkit denoise": cleaned,
    }
    rows = "\n".join(f"| {name} | {score(scans, made)} |" for name, made in methods.items())
    columns = [
        image
        for scan, result in list(zip(scans, cleaned, strict=True))[:SHOWN]
        for image in (scan.noisy, result, scan.clean)
    ]
    picture = cv2.resize(np.hstack(columns), None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(ROOT / "docs" / "images" / "denoising.png"), picture)
    bundle = Bundle.open("mmwave")
    text = TEXT.format(pairs=PAIRS, rows=rows, sha=bundle.sha256[:16], steps=STEPS)
    (ROOT / "docs" / "denoising.md").write_text(text)


if __name__ == "__main__":
    main()
