"""How it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dlkit import Recipe
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.trainer import Trainer
from dlkit.training.recipe import Example
from shapes.discs import SIDE, discs
from shapes.lenet import NET


@dataclass(frozen=True, kw_only=True)
class DiscRecipe(Recipe):
    """Steps of Adam on drawn discs."""

    steps: int = 60
    data: str = "discs"

    def example(self) -> Example:
        """For lists of recipes."""
        return Example(self.network, {}, (1, SIDE, SIDE))

    def trainer(self, data: str, compute: Compute) -> DiscTrainer:
        """What trains it."""
        return DiscTrainer(self, compute)


class DiscTrainer(Trainer):
    """One epoch of steps."""

    def __init__(self, recipe: DiscRecipe, compute: Compute) -> None:
        self.recipe = recipe
        self.epochs, self.steps_per_epoch = 1, recipe.steps
        self.dataset = self.fingerprint = "discs"
        self.notes = []
        self.network = recipe.network.build()
        self.compute = compute
        optimizer = torch.optim.Adam(self.network.parameters(), 1e-2)
        self.forward, self.optimizer = compute.setup(self.network, optimizer)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """Sixteen discs."""
        pixels, masks = map(torch.from_numpy, discs(16, seed=index))
        self.optimizer.zero_grad()
        logits = self.forward(pixels.float().unsqueeze(1) / 255)
        loss = F.cross_entropy(logits, masks.long())
        self.compute.fabric.backward(loss)
        self.optimizer.step()
        return {"loss": loss.detach()}

    @torch.inference_mode()
    def evaluate(self) -> Mapping[str, float]:
        """Share of right pixels."""
        self.network.eval()
        pixels, masks = map(torch.from_numpy, discs(16, seed=10_000))
        answers = self.network(pixels.float().unsqueeze(1) / 255).argmax(1)
        return {"pixels_right": float((answers == masks).float().mean())}

    def meaning(self) -> dict[str, Any]:
        """Nothing of the data matters later."""
        return {}

    def state(self) -> dict[str, Any]:
        """The optimizer."""
        return {"optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.optimizer.load_state_dict(state["optimizer"])


RECIPE = DiscRecipe(about="finds discs", network=NET())
