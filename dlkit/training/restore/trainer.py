"""Train a network that restores images on pairs of noisy and clean images, without a critic.

The loss is Charbonnier's (a smooth L1), squared error and 1 - SSIM; the exported weights are an
exponential moving average, which moves less between checkpoints than the trained ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit import images
from dlkit.errors import UsageError
from dlkit.tasks.denoise.pairs import SIMULATED, Pairs, simulate_pairs, training_seeds
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.training.engine.average import moving_average
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.trainer import Trainer
from dlkit.training.restore.held_out import (
    channels_of,
    evaluate_denoiser,
    meaning_of,
    training_pairs,
)
from dlkit.training.restore.recipe import PairedRecipe
from dlkit.training.restore.ssim import similarity

_CHARBONNIER_EPSILON = 1e-2  # about 2.5 grey levels; Lai et al., arXiv 1710.01992, have 1e-3
_CLIP_NORM = 0.5  # of the gradient: rare hard crops must not throw the weights about
_OBJECT_REACH = 9  # pixels: an object's border and its nearest surroundings count as the object


class PairedTrainer(Trainer):
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
        if data == SIMULATED and not recipe.held_out:
            raise UsageError("held_out is 0, expected 1 or more where the scans are simulated")
        self.pairs, self.held_out = training_pairs(recipe, data)
        filled = recipe.network.filled(channels=channels_of(self.pairs))
        where = data if data == SIMULATED else str(Path(data).resolve())
        self.recipe = recipe = replace(recipe, network=filled, data=where)
        self.compute = compute
        self.device = device = compute.device
        self.dataset = data if data == SIMULATED else Path(data).resolve().name
        self.multiple_of = recipe.network.architecture.multiple_of
        self.fingerprint = self.pairs.fingerprint()
        self.notes = self.pairs.notes
        self.mixed_in: Pairs | None = None
        if data != SIMULATED and recipe.simulated_share > 0:
            self.mixed_in = self._simulated()
        # channels_last halves the time of a step in bfloat16 on processors
        network = network or recipe.network.build()
        self.trained = network.to(device, memory_format=compute.memory_format())  # type: ignore[call-overload]
        self.average = moving_average(self.trained, recipe.ema_decay, start=False)
        self.network = self.average.module
        self.model = PixelDenoiser(self.network, recipe.network.config.channels)
        optimizer = torch.optim.AdamW(
            self.trained.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.steps_per_epoch = max(1, recipe.steps // recipe.epochs)
        self.epochs = -(-recipe.steps // self.steps_per_epoch)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            recipe.learning_rate,
            total_steps=self.epochs * self.steps_per_epoch + 1,
            pct_start=0.15,
            div_factor=20,
            final_div_factor=100,
        )
        self.forward, self.optimizer = compute.setup(self.trained, optimizer)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with these weights instead of fresh ones."""
        self.trained.load_state_dict(weights)
        self.network.load_state_dict(weights)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """One optimizer step, one step of the average."""
        noisy, clean, weight = self._batch()
        self.trained.train()
        self.optimizer.zero_grad(set_to_none=True)

        def loss_of(part: slice) -> Tensor:
            return self._loss(noisy[part], clean[part], weight[part])

        loss = self.compute.backward(self.forward, len(noisy), loss_of)
        self.compute.clip(self.forward, self.optimizer, _CLIP_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.trained)
        return {"loss": loss}

    def _loss(self, noisy: Tensor, clean: Tensor, weight: Tensor) -> Tensor:
        restored: Tensor = self.forward(self._padded(noisy))  # float32, whatever it was computed in
        restored = restored[..., : noisy.shape[-2], : noisy.shape[-1]]
        square = (restored - clean) ** 2
        error = torch.sqrt(square + _CHARBONNIER_EPSILON**2)
        loss: Tensor = ((error + self.recipe.mse_weight * square) * weight).mean()
        if self.recipe.ssim_weight:
            loss = loss + self.recipe.ssim_weight * (1 - similarity(restored, clean))
        return loss

    def evaluate(self) -> Mapping[str, float]:
        """PSNR in dB and SSIM on the held-out pairs, of the averaged weights."""
        if not self.held_out.noisy:
            return {}
        return evaluate_denoiser(self.model, self.held_out, self.multiple_of, self.device)

    def state(self) -> dict[str, Any]:
        """The weights as trained, the average's count, optimizer and schedule."""
        return {
            "trained": self.trained.state_dict(),
            "averaged": self.average.n_averaged,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.trained.load_state_dict(state["trained"])
        self.average.n_averaged.copy_(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def meaning(self) -> dict[str, Any]:
        """Channels of the images, and the range of their files."""
        return meaning_of(self.recipe)

    def _simulated(self) -> Pairs:
        """Scans to mix in, in the channels of the folder's pairs."""
        recipe = self.recipe
        seeds = training_seeds(recipe.seed, recipe.pairs)
        pairs = simulate_pairs(seeds, (recipe.height, recipe.width))
        if recipe.network.config.channels == 1:
            return pairs
        noisy, clean = ([images.colour(image, "rgb") for image in side]
                        for side in (pairs.noisy, pairs.clean))  # fmt: skip
        return Pairs(noisy, clean, pairs.objects)

    def _padded(self, batch: Tensor) -> Tensor:
        """Repeat the last row and column, as ``images.pad`` does to what is deployed."""
        bottom, right = (-size % self.multiple_of for size in batch.shape[-2:])
        padded = F.pad(batch, (0, right, 0, bottom), mode="replicate")
        return padded.to(memory_format=self.compute.memory_format())

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy and clean float32 (N, C, h, w), 0 to 1, and weight (N, 1, h, w); torch's random
        state rules."""
        recipe = self.recipe
        sources = [self.pairs] * recipe.batch_size
        if self.mixed_in is not None:
            drawn = torch.rand(recipe.batch_size).tolist()
            sources = [self.mixed_in if one < recipe.simulated_share else self.pairs
                       for one in drawn]  # fmt: skip
        chosen = [int(torch.randint(len(source.noisy), ())) for source in sources]
        shapes = [source.noisy[index].shape for source, index in zip(sources, chosen, strict=True)]
        height = self._crop_size(recipe.crop_height, min(shape[0] for shape in shapes))
        width = self._crop_size(recipe.crop_width, min(shape[1] for shape in shapes))
        crops = []
        for source, index, shape in zip(sources, chosen, shapes, strict=True):
            top = int(torch.randint(shape[0] - height + 1, ()))
            left = int(torch.randint(shape[1] - width + 1, ()))
            noisy, clean = source.noisy[index], source.clean[index]
            objects = source.objects[index] if source.objects else np.zeros(shape[:2], np.uint8)
            layers = np.dstack([noisy, clean, objects])
            crop = layers[top : top + height, left : left + width]
            crops.append(crop[:, ::-1] if torch.rand(()) < 0.5 else crop)
        batch = torch.from_numpy(np.stack(crops)).to(self.device).float().permute(0, 3, 1, 2)
        channels = (batch.shape[1] - 1) // 2
        noisy_batch, clean_batch, objects_batch = (
            part.contiguous() for part in batch.split([channels, channels, 1], dim=1)
        )
        near = _largest((objects_batch > 0).float(), _OBJECT_REACH // 2)
        darkest = clean_batch.amin(1, keepdim=True)
        inside = 1 - _largest((darkest < 128).float(), recipe.inside_reach)
        weight = 1 + recipe.object_weight * near + recipe.inside_weight * inside
        return noisy_batch / 255, clean_batch / 255, weight

    def _crop_size(self, wanted: int, there: int) -> int:
        size = min(wanted, there) if wanted else there
        if size < self.multiple_of:
            raise UsageError(f"crops of {size} pixels are too small: {self.multiple_of} or more")
        return size


def _largest(maps: Tensor, reach: int) -> Tensor:
    """Largest value within `reach` rows and columns, float32 (N, 1, H, W) to the same."""
    size = 2 * reach + 1
    rows = F.max_pool2d(maps, (size, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, size), 1, (0, reach))
