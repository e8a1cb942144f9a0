"""Inference alone, one scan a call: bundles on every backend here, and torch eager in float32.

    python benchmarks/inference.py mmwave                         # 8 simulated scans, 3 rounds
    python benchmarks/inference.py RUN/bundle-fp32 RUN/bundle-int8

The first bundle must be in float32: its torch network is what the others are compared with, in
speed and in dB against the clean scans.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import contest
import numpy as np
from contest import Contestant, peer

from dlkit import images
from dlkit.bench import machine, plan
from dlkit.runtime.session import runnable

_SCAN = (678, 384)


def main() -> None:
    """Simulate the scans, let everybody do them in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", help="denoising bundles, float32 first")
    parser.add_argument("--count", type=int, default=8, help="scans")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dlkit-inference-") as scratch:
        _run(options, Path(scratch))


def _run(options: argparse.Namespace, scratch: Path) -> None:
    from dlkit.mmwave import simulate
    from dlkit.tasks.denoise.pairs import HELD_OUT_SEED

    pairs = [simulate(HELD_OUT_SEED + index, _SCAN) for index in range(options.count)]
    clean = [pair.clean for pair in pairs]
    bundles = plan.open_bundles(options.models)
    contestants = []
    for (name, bundle), path in zip(bundles.items(), options.models, strict=True):
        scans = scratch / f"scans-{len(contestants)}.npy"
        multiple = bundle.spec.multiple_of
        np.save(scans, np.stack([images.pad(pair.noisy, multiple) for pair in pairs]))
        if not contestants:
            out = scratch / "torch.npy"
            command = peer("inference_torch", scans, path, out)
            contestants.append(Contestant("torch eager float32", command, out))
        for backend in sorted(backend for backend, kind in runnable(bundle) if kind == "cpu"):
            out = scratch / f"out-{len(contestants)}.npy"
            command = peer("inference_session", scans, path, out, backend)
            contestants.append(Contestant(f"{name}, {backend}", command, out))
    others = machine.Others()
    found, errors = contest.measure(contestants, options.count, options.rounds)
    rows, expected = [], None
    for one in contestants:
        if one.name not in found:
            continue
        seconds = float(np.median([turn["work_s"] for turn in found[one.name]])) / options.count
        quality = _psnr(clean, np.load(one.out))
        base, best = expected or (seconds, quality)
        expected = (base, best)
        rows.append(
            (
                one.name, f"{seconds:.4f}", f"{base / seconds:.2f}",
                f"{quality:.2f}", f"{quality - best:+.3f}",
            )
        )  # fmt: skip
    head = ("", "s an image", f"{contestants[0].name} takes so many times as long", "dB", "change")
    print(contest.markdown(head, rows))
    print(f"\n{options.count} simulated scans of 678x384, one a call; PSNR against the clean ones.")
    print(contest.where(options.rounds, others))
    contest.finish(errors, [])


def _psnr(clean: list[np.ndarray], found: np.ndarray) -> float:
    """Mean over the images, on uint8."""
    ratios = []
    for one, other in zip(clean, found, strict=True):
        gaps = one.astype(float) - images.crop(other, *one.shape)
        ratios.append(10 * np.log10(255**2 / max(float((gaps**2).mean()), 1e-9)))
    return float(np.mean(ratios))


if __name__ == "__main__":
    main()
