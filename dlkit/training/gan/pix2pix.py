"""Train pix2pix on pairs (Isola et al., arXiv 1611.07004).

The critic scores patches of a noisy image and a clean one beside each other, so that a clean image
must not only look clean but belong to its noisy one. The generator is asked to convince it, and to
be near the clean image: 100 times the L1 distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit.training.engine.fabric import Compute
from dlkit.training.gan.adversarial import Batch, Contest
from dlkit.training.gan.recipe import Pix2pixRecipe
from dlkit.training.gan.scans import check_crops, crops
from dlkit.training.gan.trainer import WganTrainer
from dlkit.training.networks._patchgan import build_patch_critic


class Pix2pixTrainer(WganTrainer):
    """A batch is crops of noisy and clean images: float32 (N, C, H, W), 0 to 1."""

    recipe: Pix2pixRecipe
    growing = True

    def __init__(self, recipe: Pix2pixRecipe, data: str, compute: Compute) -> None:
        super().__init__(recipe, data, compute)
        whole = (self.noisy.shape[-2], self.noisy.shape[-1])
        check_crops(recipe.crop_height, recipe.crop_width, whole, self.multiple_of)

    def _build_critic(self, channels: int) -> nn.Module:
        return build_patch_critic(self.recipe.critic, 2 * channels)

    def _batch(self) -> Batch:
        recipe = self.recipe
        sides = (self.noisy, self.clean)
        return crops(sides, recipe.batch_size, recipe.crop_height, recipe.crop_width, recipe.mirror)

    def _contests(self, batch: Batch, made: Batch) -> Iterator[Contest]:
        noisy, clean = batch
        yield Contest(lambda image: self.score(torch.cat([noisy, image], dim=1)), clean, made[0])

    def _besides(self, batch: Batch, made: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        content = 2 * F.l1_loss(made[0], batch[1])  # the paper's images are from -1 to 1
        return self.recipe.content_weight * content, {"content": content.detach()}
