"""Critics of small images, for generators that begin with noise; needed for training alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dlkit.errors import UsageError
from dlkit.plugins import unknown
from dlkit.training.networks._common import scaled
from dlkit.training.networks.dcgan import unbiased

_KINDS = ("convolutions", "maxout")
_NORMALIZE = ("none", "batch", "layer", "spectral")
_PIECES = 5  # of a maxout unit: Goodfellow et al., arXiv 1302.4389, on MNIST


@dataclass(frozen=True)
class ImageCriticConfig:
    """What can be chosen of the critic; it has leaky ReLU with slope 0.2.

    Attributes:
        kind: ``convolutions``: DCGAN's (Radford et al., arXiv 1511.06434), as InfoGAN has it for 28
            x 28 (Chen et al., arXiv 1606.03657); ``maxout``: the original GAN's, fully connected.
        width: factor on every hidden layer's channels.
        normalize: of convolutions: ``none``, ``batch``, ``layer``, or ``spectral`` (Miyato et al.,
            arXiv 1802.05957).
        dropout: before each layer of ``maxout``, after each of ``convolutions``.
    """

    kind: str = "convolutions"
    width: float = 1.0
    normalize: str = "batch"
    dropout: float = 0.0


class ImageCritic(nn.Module):
    """Scores how real an image looks; with classes also how much it looks like its class, by
    projection (Miyato and Koyama, arXiv 1802.05637)."""

    def __init__(self, body: nn.Module, features: int, classes: int, wrap: Wrap) -> None:
        super().__init__()
        self.body = body
        self.score = wrap(nn.Linear(features, 1))
        self.classes = wrap(nn.Linear(classes, features, bias=False)) if classes else None

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """Scores (N, 1).

        Args:
            images: float32 (N, C, side, side), -1 to 1.
            classes: float32 (N, classes), one 1 a row; (N, 0) without classes.
        """
        features = self.body(images)
        scores: Tensor = self.score(features)
        if self.classes is not None:
            scores = scores + (self.classes(classes) * features).sum(1, keepdim=True)
        return scores


class Maxout(nn.Module):
    """The largest of some linear units: (N, features) to (N, out)."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.out = out
        self.linear = nn.Linear(features, out * _PIECES)

    def forward(self, x: Tensor) -> Tensor:
        """The largest piece of each unit."""
        return self.linear(x).unflatten(1, (self.out, _PIECES)).amax(2)  # type: ignore[no-any-return]


Wrap = Callable[[nn.Module], nn.Module]


def build_image_critic(
    config: ImageCriticConfig, channels: int, side: int, classes: int
) -> ImageCritic:
    """A critic for square images of so many channels and pixels a side. Convolutions have DCGAN's
    start, but for those with spectral normalisation.

    Args:
        classes: 0 where images have none.

    Raises:
        UsageError: a kind or a normalisation that is none, or a side that it cannot halve twice.
    """
    if config.kind not in _KINDS:
        raise unknown("critic.kind", config.kind, list(_KINDS))
    if config.normalize not in _NORMALIZE:
        raise unknown("critic.normalize", config.normalize, list(_NORMALIZE))
    wrap: Wrap = spectral_norm if config.normalize == "spectral" else lambda module: module
    if config.kind == "maxout":
        units = scaled(240, config.width)
        body = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(config.dropout),
            Maxout(channels * side * side, units),
            nn.Dropout(config.dropout),
            Maxout(units, units),
            nn.Dropout(config.dropout),
        )
        return ImageCritic(body, units, classes, wrap)
    if side % 4:
        raise UsageError(f"images of {side} pixels cannot be halved twice", "Use --set image_size")
    first, second, last = (scaled(wide, config.width) for wide in (64, 128, 256))

    def after(features: int, size: int) -> list[nn.Module]:
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Dropout(config.dropout)]
        if config.normalize == "batch":
            layers.insert(0, nn.BatchNorm2d(features))
        if config.normalize == "layer":
            layers.insert(0, nn.LayerNorm([features, size, size]))
        return layers

    body = nn.Sequential(
        wrap(nn.Conv2d(channels, first, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),  # DCGAN normalises no first layer
        nn.Dropout(config.dropout),
        wrap(nn.Conv2d(first, second, 4, stride=2, padding=1)),
        *after(second, side // 4),
        nn.Flatten(),
        wrap(nn.Linear(second * (side // 4) ** 2, last)),
        nn.LeakyReLU(0.2),
    )
    critic = ImageCritic(body, last, classes, wrap)
    if config.normalize != "spectral":  # which sets the scale of the weights itself
        critic.apply(unbiased)
    return critic
