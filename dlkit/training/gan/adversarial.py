"""Train what generates against what tells it from the real thing: one loop for every GAN.

Who is updated when, the losses, the penalty, the moving average, the state and several processes
are here. A subclass says what a batch is, what is made of it, and which critic compares what.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dlkit import images
from dlkit.training.engine.average import MovingAverage
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.trainer import Trainer
from dlkit.training.gan.losses import Score, critic_loss, generator_loss, gradient_penalty
from dlkit.training.gan.recipe import AdversarialRecipe

# Tensors with one row a sample: they are split over processes and parts.
Batch = Sequence[Tensor]
FILM = "samples.webp"


@dataclass(frozen=True)
class Contest:
    """What one critic has to tell apart.

    Attributes:
        score: the critic: float32 images to scores, each of its own sample alone where there is a
            gradient penalty.
        real, fake: float32 (N, C, H, W), alike but for being real.
        shown: what the critic is shown in its own step in the place of ``fake``, e.g. from a pool.
    """

    score: Score
    real: Tensor
    fake: Tensor
    shown: Callable[[Tensor], Tensor] = lambda fake: fake


class AdversarialTrainer(Trainer):
    """One step is ``critic_steps`` steps of the critics and one of the generators.

    Attributes:
        trained: the generators, as they are trained.
        kept: the one of them that is exported; ``network`` is its moving average.
        critic: the critics.
        frames: uint8 (H, W), pictures of how far it was at each evaluation.
    """

    recipe: AdversarialRecipe
    bounded: tuple[str, ...] = ()  # scores have no scale; what a subclass adds has
    growing: ClassVar[bool] = True  # the average forgets its beginning: see ``MovingAverage``

    def assemble(
        self, compute: Compute, trained: nn.Module, kept: nn.Module, critic: nn.Module
    ) -> None:
        """Take the networks, for the constructor of a subclass; ``compute.called`` gives what
        calls each."""
        recipe = self.recipe
        self.compute, self.device = compute, compute.device
        self.trained, self.kept, self.critic = trained, kept, critic
        self.average = MovingAverage(kept, recipe.ema_decay, growing=self.growing)
        self.network = self.average.module
        betas = (recipe.beta1, recipe.beta2)
        rates = (recipe.learning_rate, recipe.learning_rate * recipe.critic_rate)
        self.generator_optimizer, self.critic_optimizer = (
            compute.setup_apart(net, torch.optim.Adam(net.parameters(), rate, betas=betas))
            for net, rate in zip((trained, critic), rates, strict=True)
        )
        self.steps_per_epoch = min(recipe.checkpoint_every, recipe.iterations)
        self.epochs = -(-recipe.iterations // self.steps_per_epoch)
        self.frames: list[images.UInt8] = []

    # --- what a subclass says ---

    @abstractmethod
    def _batch(self) -> Batch:
        """Draw a whole batch; the same in every process, by torch's random state."""

    @abstractmethod
    def _make(self, batch: Batch) -> Batch:
        """What the generators make of a batch."""

    @abstractmethod
    def _contests(self, batch: Batch, made: Batch) -> Iterator[Contest]:
        """What is compared."""

    def _besides(self, batch: Batch, made: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """What the generators are asked besides convincing the critics: a loss, and its parts for
        the log, detached."""
        return torch.zeros((), device=self.device), {}

    @abstractmethod
    def _measure(self) -> Mapping[str, float]:
        """Metrics of ``network`` on data that is kept out."""

    @abstractmethod
    def _picture(self) -> images.UInt8:
        """How far it is, as a picture: uint8 (H, W) or (H, W, 3), the same size each time."""

    # --- training ---

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """``critic_steps`` critic steps, one generator step."""
        self._set_learning_rate(epoch * self.steps_per_epoch + index)
        for _ in range(self.recipe.critic_steps):
            critic = self.critic_step(*self._batch())
        return {**critic, **self.generator_step(*self._batch())}

    def critic_step(self, *batch: Tensor) -> Mapping[str, Tensor]:
        """Make the critics tell real from generated."""
        recipe = self.recipe
        size = len(batch[0])
        mix = torch.rand(size, 1, 1, 1, device=self.device) if recipe.penalised else None

        def loss_of(part: slice) -> tuple[Tensor, Tensor]:
            given = [one[part] for one in batch]
            with torch.no_grad():  # the critic's step must not build the generator's graph
                made = self._make(given)
            losses, gaps = [], []
            for contest in self._contests(given, made):
                fake = contest.shown(contest.fake)
                real_score, fake_score = contest.score(contest.real), contest.score(fake)
                loss = critic_loss(recipe.adversary, real_score, fake_score)
                if mix is not None:
                    penalty = gradient_penalty(contest.score, contest.real, fake, mix[part])
                    loss = loss + recipe.gradient_penalty * penalty
                losses.append(loss)
                gaps.append((real_score.mean() - fake_score.mean()).detach())
            return sum(losses[1:], losses[0]), sum(gaps[1:], gaps[0]) / len(gaps)

        loss, gap = self._learn(self.critic, self.critic_optimizer, size, loss_of)
        if bound := recipe.weight_clip:
            with torch.no_grad():
                for weight in self.critic.parameters():
                    weight.clamp_(-bound, bound)
        return {"critic_loss": loss, "wasserstein": gap}

    def generator_step(self, *batch: Tensor) -> Mapping[str, Tensor]:
        """Make the critics take generated for real, and do what is asked besides."""
        adversary = self.recipe.adversary
        parts: dict[str, Tensor] = {}
        self.critic.requires_grad_(False)

        def loss_of(part: slice) -> tuple[Tensor, Tensor]:
            given = [one[part] for one in batch]
            made = self._make(given)
            loss, named = self._besides(given, made)
            share = self.compute.world * (part.stop - part.start) / len(batch[0])
            for name, value in named.items():
                parts[name] = parts.get(name, torch.zeros_like(value)) + share * value
            for contest in self._contests(given, made):
                loss = loss + generator_loss(adversary, contest.score(contest.fake))
            return loss, loss.detach()

        loss, _ = self._learn(self.trained, self.generator_optimizer, len(batch[0]), loss_of)
        self.critic.requires_grad_(True)
        self.average.update_parameters(self.kept)
        return {"generator_loss": loss, **parts}

    def _learn(
        self,
        network: nn.Module,
        optimizer: Any,
        size: int,
        loss_of: Callable[[slice], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """One optimizer step on a batch; the loss and the figure beside it, detached."""
        optimizer.zero_grad(set_to_none=True)
        figures: list[Tensor] = []

        def loss(part: slice) -> Tensor:
            # what is drawn inside, for dropout, must not part the processes
            devices = [self.device] if self.device.type == "cuda" else []
            with torch.random.fork_rng(devices, enabled=self.compute.world > 1):
                found, figure = loss_of(part)
            figures.append(figure * (self.compute.world * (part.stop - part.start) / size))
            return found

        total = self.compute.backward(None, size, loss)
        self.compute.average_gradients(network)
        optimizer.step()
        return total, sum(figures[1:], figures[0])

    def _set_learning_rate(self, step: int) -> None:
        """Linearly towards 0 in the last part of the training, where the recipe says so."""
        recipe, steps = self.recipe, self.epochs * self.steps_per_epoch
        if not recipe.decay:
            return
        left = (steps - step) / (recipe.decay * steps)
        for optimizer, factor in (
            (self.generator_optimizer, 1.0), (self.critic_optimizer, recipe.critic_rate)
        ):  # fmt: skip
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * factor * min(1.0, left)

    # --- pictures and state ---

    def evaluate(self) -> Mapping[str, float]:
        """Metrics on data that is kept out; and one more picture of the film."""
        self.frames.append(self._picture())
        return self._measure()

    def draw(self, folder: Path) -> None:
        """The pictures so far, as RUN/samples.webp."""
        if self.frames:
            images.write_frames(folder / FILM, self.frames)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with these weights of the network; the critics stay fresh."""
        self.kept.load_state_dict(weights)
        self.network.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """The generators as trained, the critics, both optimizers, and the pictures."""
        return {
            "trained": self.trained.state_dict(),
            "critic": self.critic.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "averaged": self.average.n_averaged,
            "frames": [torch.from_numpy(frame) for frame in self.frames],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.trained.load_state_dict(state["trained"])
        self.critic.load_state_dict(state["critic"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        if "averaged" in state:  # runs of an older dlkit have none
            self.average.n_averaged.copy_(state["averaged"])
        self.frames = [frame.numpy() for frame in state.get("frames", [])]
