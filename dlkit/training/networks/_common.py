"""What several networks share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.errors import UsageError
from dlkit.plugins import unknown

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


@dataclass(frozen=True)
class ClassifierConfig:
    """What every classifier lets you choose.

    Attributes:
        activation: after each layer: relu, sigmoid, tanh, leaky_relu, gelu or silu.
        width: factor on every hidden layer's channels.
        image_size: height and width that images are resized to, in pixels; 0 takes the data's.
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
        classes: how many; 0 takes the data's.
    """

    activation: str = "relu"
    width: float = 1.0
    image_size: int = 0
    channels: int = 0
    classes: int = 0


def activation(name: str) -> nn.Module:
    """An activation by its name.

    Raises:
        UsageError: unknown name.
    """
    if name not in _ACTIVATIONS:
        raise unknown("activation", name, list(_ACTIVATIONS))
    return _ACTIVATIONS[name]()


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, at least 1.

    Raises:
        UsageError: one of them is not above 0.
    """
    if width <= 0:
        raise UsageError(f"width is {width}, expected above 0")
    if channels < 1:
        raise UsageError(f"a layer would have {channels} channels, expected 1 or more")
    return max(1, round(channels * width))


def conv_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Height or width after a convolution or a pooling.

    Raises:
        UsageError: the window is larger than the padded image.
    """
    result = (size + 2 * padding - kernel) // stride + 1
    if size + 2 * padding < kernel or result < 1:
        raise UsageError("image_size is too small for this network: a window does not fit")
    return result
