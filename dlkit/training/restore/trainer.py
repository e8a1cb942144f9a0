"""Train a network that restores images on pairs of noisy and clean images, without a critic.

The loss is Charbonnier's (a smooth L1), squared error and 1 - SSIM; the exported weights are an
exponential moving average, which moves less between checkpoints than the trained ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.errors import UsageError
from dlkit.mmwave.parameters_file import simulator
from dlkit.tasks.denoise.pairs import Pairs
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.training.engine.average import MovingAverage
from dlkit.training.engine.averaged import AveragedTrainer
from dlkit.training.engine.fabric import Compute
from dlkit.training.restore.crops import check_sizes, crops_loss, draw_crops, padded
from dlkit.training.restore.held_out import (
    channels_of,
    evaluate_denoiser,
    meaning_of,
    named,
    simulated_like,
    training_pairs,
)
from dlkit.training.restore.recipe import PairedRecipe

_CLIP_NORM = 0.5  # of the gradient: rare hard crops must not throw the weights about


class PairedTrainer(AveragedTrainer):
    """One step is one batch of random crops, half of them mirrored.

    `network` is trained instead of the recipe's own, for comparisons under equal conditions.
    """

    recipe: PairedRecipe

    def __init__(
        self,
        recipe: PairedRecipe,
        data: str,
        compute: Compute,
        network: nn.Module | None = None,
    ) -> None:
        alone = simulator(data) is not None
        if alone and not recipe.held_out:
            raise UsageError("held_out is 0, expected 1 or more where the scans are simulated")
        self.pairs, self.held_out = training_pairs(recipe, data)
        filled = recipe.network.filled(channels=channels_of(self.pairs))
        where, self.dataset = named(data)
        self.recipe = recipe = replace(recipe, network=filled, data=where)
        self.device = device = compute.device
        self.multiple_of = recipe.network.architecture.multiple_of
        check_sizes(self.pairs, self.multiple_of)
        self.fingerprint = self.pairs.fingerprint()
        self.notes = self.pairs.notes
        self.mixed_in: Pairs | None = None
        if not alone and recipe.simulated_share > 0:
            self.mixed_in = simulated_like(recipe)
        # channels_last halves the time of a step in bfloat16 on processors
        network = network or recipe.network.build()
        trained = network.to(device, memory_format=compute.memory_format())  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            trained.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.steps_per_epoch = max(1, recipe.steps // recipe.epochs)
        self.epochs = -(-recipe.steps // self.steps_per_epoch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            recipe.learning_rate,
            total_steps=self.epochs * self.steps_per_epoch + 1,
            pct_start=0.15,
            div_factor=20,
            final_div_factor=100,
        )
        average = MovingAverage(trained, recipe.ema_decay, start=False)
        self.set_up(compute, trained, average, optimizer, schedule)
        self.model = PixelDenoiser(self.network, recipe.network.config.channels)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """One optimizer step, one step of the average."""
        noisy, clean, weight = self._batch()

        def loss_of(part: slice) -> Tensor:
            return self._loss(noisy[part], clean[part], weight[part])

        return {"loss": self.descend(len(noisy), loss_of, _CLIP_NORM)}

    def _loss(self, noisy: Tensor, clean: Tensor, weight: Tensor) -> Tensor:
        restored: Tensor = self.forward(self._padded(noisy))  # float32, whatever it was computed in
        return crops_loss(restored, clean, weight, self.recipe)

    def evaluate(self) -> Mapping[str, float]:
        """PSNR in dB and SSIM on the held-out pairs, of the averaged weights."""
        if not self.held_out.noisy:
            return {}
        return evaluate_denoiser(self.model, self.held_out, self.multiple_of, self.device)

    def meaning(self) -> dict[str, Any]:
        """Channels of the images, and the range of their files."""
        return meaning_of(self.recipe)

    def _padded(self, batch: Tensor) -> Tensor:
        return padded(batch, self.multiple_of).to(memory_format=self.compute.memory_format())

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        return draw_crops(self.pairs, self.mixed_in, self.recipe, self.multiple_of, self.device)
