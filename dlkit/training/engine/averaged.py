"""Training of one network by the gradient of a loss, with a moving average of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.training.engine.average import MovingAverage
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.trainer import Trainer


class AveragedTrainer(Trainer):
    """A trainer of one network; its moving average, where it has one, is what is exported.

    Attributes:
        compute: where it is trained.
        trained: the network as the optimizer moves it; ``network`` is its average, or itself.
        forward: the same network, called while it is trained.
    """

    def set_up(
        self,
        compute: Compute,
        trained: nn.Module,
        average: MovingAverage | None,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        """Take what is trained, once it lies on the device."""
        self.compute, self.trained, self.average = compute, trained, average
        self.network = average.module if average else trained
        self.schedule = schedule
        self.forward, self.optimizer = compute.setup(trained, optimizer)

    def descend(
        self, size: int, loss_of: Callable[[slice], Tensor], clip_norm: float = 0.0
    ) -> Tensor:
        """One step of the optimizer, the schedule and the average.

        Args:
            size, loss_of: as ``Compute.backward`` takes them.
            clip_norm: the gradient is shortened to this; 0 leaves it.

        Returns:
            The loss, as ``Compute.backward`` gives it.
        """
        if not self.trained.training:  # it takes time to tell all modules
            self.trained.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.compute.backward(self.forward, size, loss_of)
        if clip_norm:
            self.compute.clip(self.forward, self.optimizer, clip_norm)
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.trained)
        return loss

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with these weights instead of fresh ones."""
        self.trained.load_state_dict(weights)
        self.network.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Optimizer and schedule; the weights as trained where the average is the network."""
        state = {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        if self.average:
            state["trained"] = self.trained.state_dict()
            state["averaged"] = self.average.n_averaged
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.trained.load_state_dict(state["trained"])
            self.average.n_averaged.copy_(state["averaged"])
