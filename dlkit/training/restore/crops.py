"""Random crops of pairs, and how far a network's answer for them is from what is wanted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dlkit.errors import InputError, UsageError
from dlkit.tasks.denoise.pairs import Pairs
from dlkit.training.restore.recipe import CropsRecipe
from dlkit.training.restore.ssim import similarity

_CHARBONNIER_EPSILON = 1e-2  # about 2.5 grey levels; Lai et al., arXiv 1710.01992, have 1e-3
_OBJECT_REACH = 9  # pixels: an object's border and its nearest surroundings count as the object


def crops_loss(restored: Tensor, clean: Tensor, weight: Tensor, recipe: CropsRecipe) -> Tensor:
    """Charbonnier's loss, squared error and 1 - SSIM of float32 (N, C, h, w); what is padded in
    ``restored`` does not count."""
    restored = restored[..., : clean.shape[-2], : clean.shape[-1]]
    square = (restored - clean) ** 2
    error = torch.sqrt(square + _CHARBONNIER_EPSILON**2)
    loss: Tensor = ((error + recipe.mse_weight * square) * weight).mean()
    if recipe.ssim_weight:
        loss = loss + recipe.ssim_weight * (1 - similarity(restored, clean))
    return loss


def padded(batch: Tensor, multiple_of: int) -> Tensor:
    """Repeat the last row and column, as ``images.pad`` does to what is deployed."""
    bottom, right = (-size % multiple_of for size in batch.shape[-2:])
    return F.pad(batch, (0, right, 0, bottom), mode="replicate")


def check_sizes(pairs: Pairs, least: int) -> None:
    """Refuse pairs that no crop can be cut from.

    Raises:
        InputError: one is smaller than ``least`` pixels a side.
    """
    for name, one in zip(pairs.names, pairs.noisy, strict=True):
        if min(one.shape[:2]) < least:
            size = f"{one.shape[0]} x {one.shape[1]}"
            raise InputError(f"the pair {name} has {size} pixels, expected {least} or more a side")


def draw_crops(
    pairs: Pairs, mixed_in: Pairs | None, recipe: CropsRecipe, multiple_of: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Noisy and clean float32 (N, C, h, w), 0 to 1, and weight (N, 1, h, w), half of them mirrored;
    torch's random state rules.

    Args:
        mixed_in: what ``simulated_share`` of the crops are from.
    """
    sources = [pairs] * recipe.batch_size
    if mixed_in is not None:
        drawn = torch.rand(recipe.batch_size).tolist()
        sources = [mixed_in if one < recipe.simulated_share else pairs for one in drawn]
    chosen = [int(torch.randint(len(source.noisy), ())) for source in sources]
    shapes = [source.noisy[index].shape for source, index in zip(sources, chosen, strict=True)]
    height = _crop_size(recipe.crop_height, min(shape[0] for shape in shapes), multiple_of)
    width = _crop_size(recipe.crop_width, min(shape[1] for shape in shapes), multiple_of)
    crops = []
    for source, index, shape in zip(sources, chosen, shapes, strict=True):
        top = int(torch.randint(shape[0] - height + 1, ()))
        left = int(torch.randint(shape[1] - width + 1, ()))
        noisy, clean = source.noisy[index], source.clean[index]
        objects = source.objects[index] if source.objects else np.zeros(shape[:2], np.uint8)
        layers = np.dstack([noisy, clean, objects])
        crop = layers[top : top + height, left : left + width]
        crops.append(crop[:, ::-1] if torch.rand(()) < 0.5 else crop)
    batch = (
        torch.from_numpy(np.stack(crops)).to(device, non_blocking=True).float().permute(0, 3, 1, 2)
    )
    channels = (batch.shape[1] - 1) // 2
    noisy_batch, clean_batch, objects_batch = (
        part.contiguous() for part in batch.split([channels, channels, 1], dim=1)
    )
    near = _largest((objects_batch > 0).float(), _OBJECT_REACH // 2)
    darkest = clean_batch.amin(1, keepdim=True)
    inside = 1 - _largest((darkest < 128).float(), recipe.inside_reach)
    weight = 1 + recipe.object_weight * near + recipe.inside_weight * inside
    return noisy_batch / 255, clean_batch / 255, weight


def _crop_size(wanted: int, there: int, multiple_of: int) -> int:
    size = min(wanted, there) if wanted else there
    if size < multiple_of:
        raise UsageError(f"crops of {size} pixels are too small: {multiple_of} or more")
    return size


def _largest(maps: Tensor, reach: int) -> Tensor:
    """Largest value within `reach` rows and columns, float32 (N, 1, H, W) to the same."""
    size = 2 * reach + 1
    rows = F.max_pool2d(maps, (size, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, size), 1, (0, reach))
