"""How generators and their critics are trained, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dlkit.errors import UsageError
from dlkit.plugins import unknown
from dlkit.training.gan.losses import ADVERSARIES
from dlkit.training.networks._image_critic import ImageCriticConfig
from dlkit.training.networks._patchgan import PatchCriticConfig
from dlkit.training.networks.wgan import CriticConfig
from dlkit.training.recipe import Example, Recipe
from dlkit.training.restore.recipe import PairsRecipe

_ANY = {"iterations": 1, "critic_steps": 1, "batch_size": 1, "learning_rate": 0, "beta1": 0,
        "beta2": 0, "critic_rate": 0, "gradient_penalty": 0, "weight_clip": 0, "decay": 0,
        "ema_decay": 0, "checkpoint_every": 1}  # fmt: skip
_PAIRS = {"content_weight": 0, "pairs": 1, "height": 1, "width": 1, "held_out": 1}
_BELOW = {"beta1": 1, "beta2": 1, "ema_decay": 1}


@dataclass(frozen=True, kw_only=True)
class AdversarialRecipe(Recipe):
    """What all recipes say that train a generator against a critic.

    Attributes:
        iterations: generator steps.
        adversary: one of ``ADVERSARIES``: ``wasserstein``; ``cross_entropy``, the original GAN's:
            scores are logits of "this is real"; or ``least_squares``.
        critic_steps: critic steps before each generator step.
        batch_size: samples a step.
        learning_rate, beta1, beta2: of Adam, for generator and critic.
        critic_rate: the critic's learning rate as a multiple of ``learning_rate`` (Heusel et al.,
            arXiv 1706.08500).
        gradient_penalty: lambda, the weight of the penalty of ``wasserstein``; 0 leaves it out.
        weight_clip: the critic's weights are clipped to plus and minus this after each of its
            steps, as in the first WGAN (Arjovsky et al., arXiv 1701.07875: 0.01); 0 does not.
        decay: share of the training, at its end, in which the learning rate falls evenly to 0.
        ema_decay: the exported generator is the moving average of the trained one, per step (Yazici
            et al., arXiv 1806.04498); 0, as in the article, exports the trained one.
        checkpoint_every: iterations between checkpoints and evaluations.
    """

    least: ClassVar[Mapping[str, float]] = _ANY
    below: ClassVar[Mapping[str, float]] = _BELOW

    iterations: int
    adversary: str = "wasserstein"
    critic_steps: int = 1
    batch_size: int = 16
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    critic_rate: float = 1.0
    gradient_penalty: float = 10.0
    weight_clip: float = 0.0
    decay: float = 0.0
    ema_decay: float = 0.0
    checkpoint_every: int = 50

    def check(self) -> None:
        """As every recipe's; and an adversary that is none."""
        super().check()
        if self.adversary not in ADVERSARIES:
            raise unknown("adversary", self.adversary, list(ADVERSARIES))
        if self.decay > 1:
            raise UsageError(f"decay is {self.decay}, expected a share, 0 to 1")

    @property
    def penalised(self) -> bool:
        """Whether the critic's gradient is held near 1."""
        return self.adversary == "wasserstein" and self.gradient_penalty > 0


@dataclass(frozen=True, kw_only=True)
class WganRecipe(PairsRecipe, AdversarialRecipe):
    """How the article's generator and its critic are trained, on pairs.

    Attributes:
        critic: the network that tells clean images from generated ones.
        content_weight: of the L1 distance to the clean image in the generator's loss.
    """

    trained_by: ClassVar[str] = "dlkit.training.gan.trainer:WganTrainer"
    least: ClassVar[Mapping[str, float]] = _ANY | _PAIRS

    critic: CriticConfig = field(default_factory=CriticConfig)
    critic_steps: int = 3
    learning_rate: float = 1e-4
    content_weight: float = 0.0
    pairs: int = 512
    held_out: int = 16


@dataclass(frozen=True, kw_only=True)
class Pix2pixRecipe(PairsRecipe, AdversarialRecipe):
    """pix2pix (Isola et al., arXiv 1611.07004): pairs; the critic sees the noisy image, too.

    Attributes:
        critic: the network that tells pairs from a noisy image and a generated one, patch by patch.
        content_weight: of the L1 distance to the clean image in the generator's loss.
        crop_height, crop_width: of training crops; 0 takes the whole height or width.
        mirror: half of the pairs are mirrored.
    """

    trained_by: ClassVar[str] = "dlkit.training.gan.pix2pix:Pix2pixTrainer"
    least: ClassVar[Mapping[str, float]] = _ANY | _PAIRS | {"crop_height": 0, "crop_width": 0}

    critic: PatchCriticConfig = field(default_factory=PatchCriticConfig)
    adversary: str = "cross_entropy"
    batch_size: int = 1
    content_weight: float = 100.0
    crop_height: int = 0
    crop_width: int = 0
    mirror: bool = True
    pairs: int = 512
    held_out: int = 16


@dataclass(frozen=True, kw_only=True)
class CycleganRecipe(PairsRecipe, AdversarialRecipe):
    """CycleGAN (Zhu et al., arXiv 1703.10593): noisy images, and clean ones of other people.

    Attributes:
        critic: of clean images and, another one, of noisy ones.
        cycle_weight: of the L1 distance of an image, translated there and back, to itself.
        identity_weight: of the L1 distance of an image to what comes of it when it is of that side
            already, as a share of ``cycle_weight``.
        pool: generated images that the critics are shown again later; 0 shows the last alone.
        unpaired: noisy and clean images of a folder do not belong together. Its evaluation then
            needs FOLDER/held_out with pairs. Where they do, or are simulated, no noisy image is
            trained on with its own clean one in sight either: each side has its own half.
        crop_height, crop_width, mirror: as pix2pix has them.
        pairs: simulated images of each side.
    """

    trained_by: ClassVar[str] = "dlkit.training.gan.cyclegan:CycleganTrainer"
    least: ClassVar[Mapping[str, float]] = (
        _ANY | _PAIRS | {"cycle_weight": 0, "identity_weight": 0, "pool": 0, "crop_height": 0,
                         "crop_width": 0}
    )  # fmt: skip

    critic: PatchCriticConfig = field(default_factory=PatchCriticConfig)
    adversary: str = "least_squares"
    batch_size: int = 1
    decay: float = 0.5
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    pool: int = 50
    unpaired: bool = True
    crop_height: int = 0
    crop_width: int = 0
    mirror: bool = True
    pairs: int = 512
    held_out: int = 16


@dataclass(frozen=True, kw_only=True)
class GenerateRecipe(AdversarialRecipe):
    """Noise to images: GAN, DCGAN, and with a class for each image the conditional GAN.

    Attributes:
        critic: the network that tells real images from generated ones.
        held_out: share of the training images that is kept out; at most 5,000.
    """

    trained_by: ClassVar[str] = "dlkit.training.gan.generate:GenerateTrainer"
    least: ClassVar[Mapping[str, float]] = _ANY | {"held_out": 0}
    below: ClassVar[Mapping[str, float]] = _BELOW | {"held_out": 1}

    data: str = "mnist-mini"
    critic: ImageCriticConfig = field(default_factory=ImageCriticConfig)
    adversary: str = "cross_entropy"
    batch_size: int = 64
    held_out: float = 1 / 12

    def check(self) -> None:
        """As every recipe's; and a critic that the penalty cannot take."""
        super().check()
        if self.penalised and self.critic.normalize == "batch":
            raise UsageError(
                "the gradient penalty needs each sample's score to depend on that sample alone, "
                "and the critic has batch normalisation",
                "Use --set critic.normalize=layer",
            )

    def example(self) -> Example:
        """On MNIST."""
        known = {"image_size": 28, "channels": 1, "classes": 10}
        there = self.network.config
        network = self.network.filled(**{n: v for n, v in known.items() if hasattr(there, n)})
        config = network.config
        classes = getattr(config, "classes", 0)
        meaning = {
            "latent": config.latent,
            "size": [config.image_size] * 2,
            "channels": config.channels,
            "labels": [str(number) for number in range(classes)],
        }
        return Example(network, meaning, (config.latent + classes,))
