"""Images as the trainers of networks that translate them take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dlkit import images
from dlkit.errors import InputError, UsageError

_FILM_HEIGHT = 300  # about so many rows of a picture while a training runs


def stack(side: list[images.UInt8], multiple_of: int) -> Tensor:
    """Images of one size, padded: uint8 (N, C, H, W).

    Raises:
        InputError: they have different sizes.
    """
    if len({image.shape for image in side}) > 1:
        shapes = sorted({image.shape for image in side})
        raise InputError(
            f"training images have different sizes ({shapes[0]} and {shapes[-1]})",
            "Cut or scale them to one",
        )
    found = torch.from_numpy(np.stack([images.pad(image, multiple_of) for image in side]))
    return found.unsqueeze(1) if found.ndim == 3 else found.permute(0, 3, 1, 2).contiguous()


def crops(
    sides: Sequence[Tensor], count: int, height: int, width: int, mirror: bool
) -> list[Tensor]:
    """Random crops, the same ones of each side, by torch's random state.

    Args:
        sides: uint8 (M, C, H, W) each.
        height, width: of the crops; 0 takes all.
        mirror: half of them are mirrored.

    Returns:
        float32 (count, C, height, width) each, 0 to 1.
    """
    device = sides[0].device
    whole = sides[0].shape[-2:]
    height, width = height or whole[0], width or whole[1]
    chosen = torch.randint(len(sides[0]), (count,)).tolist()
    tops = torch.randint(whole[0] - height + 1, (count,)).tolist()
    lefts = torch.randint(whole[1] - width + 1, (count,)).tolist()
    turned = torch.rand(count).tolist() if mirror else [1.0] * count
    found = []
    for side in sides:
        parts = [
            side[which, :, top : top + height, left : left + width]
            for which, top, left in zip(chosen, tops, lefts, strict=True)
        ]
        parts = [part.flip(-1) if draw < 0.5 else part
                 for part, draw in zip(parts, turned, strict=True)]  # fmt: skip
        found.append(torch.stack(parts).to(device, non_blocking=True).float() / 255)
    return found


def check_crops(height: int, width: int, whole: tuple[int, int], multiple_of: int) -> None:
    """Refuse crops that a network or its images do not allow.

    Raises:
        UsageError: larger than the padded images, or no multiples.
    """
    for name, size, most in (("crop_height", height, whole[0]), ("crop_width", width, whole[1])):
        if size % multiple_of or size > most:
            raise UsageError(
                f"{name} is {size}, expected a multiple of {multiple_of} up to {most}",
                "0 takes all",
            )


def strip(
    shown: Sequence[images.UInt8], model: Callable[[Tensor], Tensor], multiple_of: int
) -> images.UInt8:
    """A noisy image, what the model makes of it, and the clean one where it is known, side by side.

    Args:
        shown: the noisy one, or both of a pair.
        model: uint8 (N, H, W) or (N, H, W, 3) to the same.
    """
    noisy, *clean = shown
    made = model(torch.from_numpy(images.pad(noisy, multiple_of)).unsqueeze(0))[0].cpu().numpy()
    row = np.concatenate([noisy, images.crop(made, *noisy.shape[:2]), *clean], axis=1)
    step = max(1, row.shape[0] // _FILM_HEIGHT)
    return np.ascontiguousarray(row[::step, ::step])
