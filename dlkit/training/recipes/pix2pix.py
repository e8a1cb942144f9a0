"""pix2pix: a U-Net of width 64, the 70 x 70 PatchGAN, 100 times L1, Adam at 2e-4 (0.5, 0.999)."""

from __future__ import annotations

from dlkit.training.gan.recipe import Pix2pixRecipe
from dlkit.training.networks.unet import ARCHITECTURE as UNET

RECIPE = Pix2pixRecipe(
    about="pix2pix: a U-Net against a PatchGAN, on pairs; wants a GPU",
    network=UNET(),
    iterations=100_000,
    checkpoint_every=1000,
    decay=0.5,
)
