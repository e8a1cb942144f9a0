"""Draw docs/images/simulator*.png: statistics of simulated scans beside real ones, and pictures.

    python docs/simulator.py [--real FOLDER]

FOLDER has noisy/ and clean/ of real pairs; only their curves are kept, in
docs/results/real_statistics.json, which is used when no folder is given. About a minute.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dlkit.mmwave import simulate
from dlkit.mmwave.statistics import LAGS, REACH, describe
from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, load_pairs
from dlkit.tasks.denoise.score import body_of

ROOT = Path(__file__).resolve().parent
STORED = ROOT / "results" / "real_statistics.json"
SCANS = 100
FIRST_SEED = HELD_OUT_SEED + 20_000

# curve: title, x values, label of x
PANELS = {
    "histogram": ("histogram, share of pixels", np.arange(32) * 8 + 4, "grey level"),
    "background": ("background down the scan, grey", (np.arange(12) + 0.5) * 678 / 12, "row"),
    "edge": ("edge profile, mean grey", np.arange(-REACH, REACH + 1), "pixels into the body"),
    "column_spectrum": ("column means' spectrum, grey", np.arange(1, 61), "cycles in the width"),
    "column_correlation": ("column means' autocorrelation", np.arange(LAGS), "columns"),
    "noise_across": ("noise autocorrelation, across", np.arange(LAGS), "pixels"),
    "noise_down": ("noise autocorrelation, down", np.arange(LAGS), "pixels"),
}


def real_curves(folder: Path | None) -> dict[str, dict[str, list[float]]]:
    """Curves of the real scans, from the folder or as they were stored."""
    if folder is None:
        return json.loads(STORED.read_text())  # type: ignore[no-any-return]
    pairs = load_pairs(folder)
    found = {
        name: {key: [round(float(v), 4) for v in curve] for key, curve in describe(
            noisy, body_of(clean)).items()}
        for name, noisy, clean in zip(pairs.names, pairs.noisy, pairs.clean, strict=True)
    }  # fmt: skip
    STORED.write_text(json.dumps(found, indent=1) + "\n")
    return found


def main() -> None:
    """Simulate, describe, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path)
    real = real_curves(parser.parse_args().real)
    scans = [simulate(FIRST_SEED + index) for index in range(SCANS)]
    people = [scan for scan in scans if scan.body_mask.any()]
    curves = [describe(scan.noisy, body_of(scan.clean)) for scan in people]
    figure = Figure(figsize=(15, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 4).ravel()
    for panel, (key, (title, x, label)) in zip(panels, PANELS.items(), strict=False):
        low, middle, high = np.nanpercentile([curve[key] for curve in curves], [10, 50, 90], axis=0)
        panel.fill_between(
            x, low, high, alpha=0.25, label=f"simulated, 10 to 90 % of {len(people)}"
        )
        panel.plot(x, middle, label="simulated, median")
        for (name, one), style in zip(real.items(), ("k-", "k--", "k:", "k-."), strict=False):
            panel.plot(x, one[key], style, linewidth=1, label=f"real scan {name}")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel(label)
        panel.grid(alpha=0.3)
        if key == "column_spectrum":
            panel.set_yscale("log")
    panels[-1].axis("off")
    panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.savefig(ROOT / "images" / "simulator-statistics.png", dpi=80)
    shown = [np.vstack([scan.noisy, scan.clean, (scan.object_mask > 0).astype(np.uint8) * 255])
             for scan in scans[:9]]  # fmt: skip
    picture = cv2.resize(np.hstack(shown), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(ROOT / "images" / "simulator.png"), picture)


if __name__ == "__main__":
    main()
