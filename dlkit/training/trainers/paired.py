"""Train a denoiser on pairs of noisy and clean images, without a critic.

The loss is Charbonnier's (a smooth L1), squared error and 1 - SSIM; the exported weights are an
exponential moving average, which moves less between checkpoints than the trained ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics.functional.image import structural_similarity_index_measure

from dlkit.errors import UsageError
from dlkit.training.data.pairs import SIMULATED
from dlkit.training.evaluation import evaluate_denoiser, training_pairs
from dlkit.training.loop import Trainer
from dlkit.training.pixels import PixelDenoiser
from dlkit.training.recipe import ARCHITECTURES, Recipe

_CHARBONNIER_EPSILON = 1e-2  # about 2.5 grey levels; Lai et al., arXiv 1710.01992, have 1e-3
_CLIP_NORM = 0.5  # of the gradient: rare hard crops must not throw the weights about


@dataclass(frozen=True, kw_only=True)
class PairedRecipe(Recipe):
    """How a denoiser is trained on pairs.

    Attributes:
        epochs: parts of the training, each ended by an evaluation and a checkpoint.
        steps: optimizer steps in all.
        batch_size: crops a step.
        learning_rate: highest value of the one-cycle schedule (AdamW).
        weight_decay: of AdamW.
        mse_weight: of the squared error beside Charbonnier's loss.
        ssim_weight: of 1 - SSIM beside Charbonnier's loss.
        object_weight: extra weight of pixels of concealed objects, where they are known.
        ema_decay: of the moving average of the weights, per step.
        pairs: simulated pairs, when ``data`` is ``simulated``.
        height, width: of simulated scans, in pixels.
        crop_height, crop_width: of training crops; 0 takes the whole height or width.
        bfloat16: compute forward and backward in bfloat16 where that is safe.
        held_out: pairs kept for evaluation, as for ``wgan``.
    """

    trainer: ClassVar[str] = "paired"

    steps: int
    data: str = SIMULATED
    epochs: int = 10
    batch_size: int = 5
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    mse_weight: float = 2.0
    ssim_weight: float = 0.1
    object_weight: float = 2.0
    ema_decay: float = 0.995
    pairs: int = 2000
    height: int = 678
    width: int = 384
    crop_height: int = 0
    crop_width: int = 320
    bfloat16: bool = True
    held_out: int = 32


class PairedTrainer(Trainer):
    """One step is one batch of random crops, half of them mirrored."""

    def __init__(self, recipe: PairedRecipe, data: str, device: torch.device) -> None:
        for name in ("steps", "epochs", "batch_size", "held_out"):
            if getattr(recipe, name) < 1:
                raise UsageError(f"{name} is {getattr(recipe, name)}, expected 1 or more")
        self.recipe = recipe
        self.device = device
        self.dataset = data if data == SIMULATED else Path(data).resolve().name
        module = ARCHITECTURES.load(recipe.architecture)
        self.multiple_of: int = module.MULTIPLE_OF
        self.pairs, self.held_out = training_pairs(
            data, recipe.pairs, recipe.held_out, (recipe.height, recipe.width), recipe.seed
        )
        self.fingerprint = self.pairs.fingerprint()
        self.trained: nn.Module = module.build(recipe.network).to(device)
        self.average = AveragedModel(
            self.trained, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
        )
        self.network = self.average.module
        self.model = PixelDenoiser(self.network)
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.steps_per_epoch = max(1, recipe.steps // recipe.epochs)
        self.epochs = -(-recipe.steps // self.steps_per_epoch)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            recipe.learning_rate,
            total_steps=self.epochs * self.steps_per_epoch + 1,
            pct_start=0.1,
        )

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """One optimizer step, one step of the average."""
        noisy, clean, weight = self._batch()
        self.trained.train()
        # bfloat16 halves the time of a step on processors and GPUs that have it
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            restored = self.trained(noisy)
        square = (restored.float() - clean) ** 2
        error = torch.sqrt(square + _CHARBONNIER_EPSILON**2)
        loss = ((error + self.recipe.mse_weight * square) * weight).mean()
        if self.recipe.ssim_weight:
            similarity = structural_similarity_index_measure(
                restored.float(), clean, data_range=1.0
            )
            assert isinstance(similarity, Tensor)  # a tuple only when more is asked for
            loss = loss + self.recipe.ssim_weight * (1 - similarity)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), _CLIP_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.trained)
        return {"loss": loss.detach()}

    def evaluate(self) -> Mapping[str, float]:
        """PSNR in dB and SSIM on the held-out pairs, of the averaged weights."""
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

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy, clean, weight: float32 (N, 1, h, w); images 0 to 1. torch's random state rules."""
        recipe = self.recipe
        chosen = torch.randint(len(self.pairs.noisy), (recipe.batch_size,)).tolist()
        shapes = [self.pairs.noisy[index].shape for index in chosen]
        height = self._crop_size(recipe.crop_height, min(shape[0] for shape in shapes))
        width = self._crop_size(recipe.crop_width, min(shape[1] for shape in shapes))
        crops = []
        for index, shape in zip(chosen, shapes, strict=True):
            top = int(torch.randint(shape[0] - height + 1, ()))
            left = int(torch.randint(shape[1] - width + 1, ()))
            noisy, clean = self.pairs.noisy[index], self.pairs.clean[index]
            objects = self.pairs.objects[index] if self.pairs.objects else np.zeros_like(clean)
            crop = np.stack([noisy, clean, objects])[:, top : top + height, left : left + width]
            crops.append(crop[:, :, ::-1] if torch.rand(()) < 0.5 else crop)
        batch = torch.from_numpy(np.stack(crops)).to(self.device).float()
        noisy_batch, clean_batch, objects_batch = batch.split(1, dim=1)
        weight = 1 + recipe.object_weight * (objects_batch > 0)
        return noisy_batch / 255, clean_batch / 255, weight

    def _crop_size(self, wanted: int, there: int) -> int:
        size = min(wanted, there) if wanted else there
        if size < self.multiple_of:
            raise UsageError(f"crops of {size} pixels are too small: {self.multiple_of} or more")
        return size // self.multiple_of * self.multiple_of


RECIPE = PairedRecipe
TRAINER = PairedTrainer
