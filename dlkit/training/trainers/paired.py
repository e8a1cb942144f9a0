"""Train a denoiser on pairs of noisy and clean images, without a critic.

The loss is Charbonnier's (a smooth L1), squared error and 1 - SSIM; the exported weights are an
exponential moving average, which moves less between checkpoints than the trained ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from dlkit.errors import UsageError
from dlkit.training.compute import Compute
from dlkit.training.data.pairs import SIMULATED, Pairs, simulate_pairs
from dlkit.training.evaluation import evaluate_denoiser, training_pairs
from dlkit.training.loop import Trainer
from dlkit.training.pixels import PixelDenoiser
from dlkit.training.recipe import ARCHITECTURES, Recipe
from dlkit.training.ssim import similarity

_CHARBONNIER_EPSILON = 1e-2  # about 2.5 grey levels; Lai et al., arXiv 1710.01992, have 1e-3
_CLIP_NORM = 0.5  # of the gradient: rare hard crops must not throw the weights about
_OBJECT_REACH = 9  # pixels: an object's border and its nearest surroundings count as the object


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
        inside_weight: extra weight of bright pixels well inside a person, where a dark one would
            look like an object.
        inside_reach: pixels: what is nearer to a dark pixel is not well inside.
        ema_decay: of the moving average of the weights, per step.
        pairs: simulated pairs, when ``data`` is ``simulated`` or some are mixed in.
        simulated_share: of a step's crops, when ``data`` is a folder: a few real pairs then do
            not make the network forget what it learnt from many simulated ones.
        height, width: of simulated scans, in pixels.
        crop_height, crop_width: of training crops; 0 takes the whole height or width.
        held_out: pairs kept for evaluation, as for ``wgan``; 0 trains on all of a folder and
            evaluates on nothing.
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
    object_weight: float = 3.0
    inside_weight: float = 1.0
    inside_reach: int = 12  # so far the optics mix in the background
    ema_decay: float = 0.995
    pairs: int = 1600
    simulated_share: float = 0.0
    height: int = 678
    width: int = 384
    crop_height: int = 0
    crop_width: int = 288
    bfloat16: bool = True
    held_out: int = 12

    def fine_tuning(self) -> PairedRecipe:
        """A short and gentle training from weights that are good already, on a folder of pairs.

        Half of each step's crops stay simulated, and all of the folder is trained on.
        """
        return replace(
            self, steps=150, epochs=3, learning_rate=2e-4, pairs=200, simulated_share=0.5,
            ema_decay=0.97, held_out=0,
        )  # fmt: skip


class PairedTrainer(Trainer):
    """One step is one batch of random crops, half of them mirrored.

    `network` is trained instead of the recipe's own, for comparisons under equal conditions.
    """

    def __init__(
        self,
        recipe: PairedRecipe,
        data: str,
        compute: Compute,
        network: nn.Module | None = None,
    ) -> None:
        least = {"steps": 1, "epochs": 1, "batch_size": 1, "held_out": int(data == SIMULATED)}
        for name, bound in least.items():
            if (got := getattr(recipe, name)) < bound:
                raise UsageError(f"{name} is {got}, expected {bound} or more")
        self.recipe = recipe
        self.compute = compute
        self.device = device = compute.device
        self.dataset = data if data == SIMULATED else Path(data).resolve().name
        module = ARCHITECTURES.load(recipe.architecture)
        self.multiple_of: int = module.MULTIPLE_OF
        size = (recipe.height, recipe.width)
        self.pairs, self.held_out = training_pairs(
            data, recipe.pairs, recipe.held_out, size, recipe.seed
        )
        self.fingerprint = self.pairs.fingerprint()
        self.mixed_in: Pairs | None = None
        if data != SIMULATED and recipe.simulated_share > 0:
            first = recipe.seed * 10_000_000
            self.mixed_in = simulate_pairs(range(first, first + recipe.pairs), size)
        # channels_last halves the time of a step in bfloat16 on processors
        network = network or module.build(recipe.network)
        self.trained = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(self.trained, avg_fn=self._averaged, use_buffers=True)
        self.network = self.average.module
        self.model = PixelDenoiser(self.network)
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

    def _averaged(self, average: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
        """Exponential moving average whose memory grows from short: the start is forgotten."""
        steps = int(count)
        return average.lerp(now, 1 - min(self.recipe.ema_decay, (1 + steps) / (10 + steps)))

    def _padded(self, batch: Tensor) -> Tensor:
        """Repeat the last row and column, as ``images.pad`` does to what is deployed."""
        bottom, right = (-size % self.multiple_of for size in batch.shape[-2:])
        padded = F.pad(batch, (0, right, 0, bottom), mode="replicate")
        return padded.to(memory_format=torch.channels_last)

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy, clean, weight: float32 (N, 1, h, w); images 0 to 1. torch's random state rules."""
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
            objects = source.objects[index] if source.objects else np.zeros_like(clean)
            crop = np.stack([noisy, clean, objects])[:, top : top + height, left : left + width]
            crops.append(crop[:, :, ::-1] if torch.rand(()) < 0.5 else crop)
        batch = torch.from_numpy(np.stack(crops)).to(self.device).float()
        noisy_batch, clean_batch, objects_batch = batch.split(1, dim=1)
        near = _largest((objects_batch > 0).float(), _OBJECT_REACH // 2)
        inside = 1 - _largest((clean_batch < 128).float(), recipe.inside_reach)
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


RECIPE = PairedRecipe
TRAINER = PairedTrainer
