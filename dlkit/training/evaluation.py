"""Which pairs a denoiser is trained on, which are kept out, and how good it is on those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from dlkit import images
from dlkit.errors import InputError, UsageError
from dlkit.training.data.pairs import (
    HELD_OUT_SEED,
    SIMULATED,
    Pairs,
    load_pairs,
    simulate_pairs,
)
from dlkit.training.metrics import mean_psnr_ssim
from dlkit.training.pixels import PixelDenoiser


def training_pairs(
    data: str, count: int, held_out: int, size: tuple[int, int], seed: int
) -> tuple[Pairs, Pairs]:
    """Pairs to train on and pairs kept out, simulated or from a folder.

    Raises:
        InputError: the folder cannot be used, or has too few pairs to keep some out.
    """
    if data == SIMULATED:
        first = seed * 10_000_000
        if first + count > HELD_OUT_SEED:
            raise UsageError(
                f"seed is {seed}: from {HELD_OUT_SEED // 10_000_000} on, training sees the scans "
                "that are held out. Take a smaller seed"
            )
        return (
            simulate_pairs(range(first, first + count), size),
            simulate_pairs(range(HELD_OUT_SEED, HELD_OUT_SEED + held_out), size),
        )
    if not Path(data).is_dir():
        raise InputError(f"there is no folder '{data}': give --data {SIMULATED} or a folder")
    pairs = load_pairs(Path(data))
    if len(pairs.noisy) <= held_out:
        raise InputError(
            f"{data} has {len(pairs.noisy)} pairs and {held_out} are to be held out: "
            "--set held_out=1"
        )
    cut = len(pairs.noisy) - held_out
    objects = pairs.objects[:cut] if pairs.objects else None
    return (
        Pairs(pairs.noisy[:cut], pairs.clean[:cut], objects),
        Pairs(pairs.noisy[cut:], pairs.clean[cut:]),
    )


@torch.inference_mode()
def evaluate_denoiser(
    model: PixelDenoiser, pairs: Pairs, multiple_of: int, device: torch.device
) -> Mapping[str, float]:
    """Mean PSNR in dB and SSIM of a model, run one image at a time as it is deployed."""
    model.eval()
    restored = []
    for noisy in pairs.noisy:
        padded = torch.from_numpy(images.pad(noisy, multiple_of)).to(device)
        output = model(padded.unsqueeze(0))[0].cpu().numpy()
        restored.append(images.crop(output, *noisy.shape))
    psnr, ssim = mean_psnr_ssim(pairs.clean, restored)
    return {"psnr": psnr, "ssim": ssim}
