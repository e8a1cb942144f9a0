"""LeNet's step on a processor, as a few large matrix products.

A convolution of 1 or 6 channels fills neither the vectors nor the matrix units that a processor
has for bfloat16. Here the batch is the innermost dimension, (C, H, W, N), so that every copy and
every sum runs over rows of N, and a convolution gives a square tile of pixels at once: one product
of the weights, placed at each of the tile's pixels, with a window that the whole tile sees. More is
multiplied than needed (a placed kernel is mostly zeros), and it is still several times as fast.

The step is so short that torch's bookkeeping would take as long as the products. So gradients are
written out, torch sees one function, and each layer keeps its memory, and every view of it, from
step to step. The weights are the network's own, and the answer is the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.training.column_layers import ACTIVATIONS, Block, Dense

_TILES = (4, 2)  # pixels a side, the faster first
_Layer = Block | Dense
_Layout = Callable[[torch.Size, torch.dtype, float], _Layer]


def in_columns(network: nn.Module, image_size: int) -> nn.Module:
    """The same network, faster in bfloat16 on a processor; shares its weights.

    It is for training: one backward pass a forward pass, and no gradient for the pixels.

    Args:
        network: takes float32 (N, 1, image_size, image_size) and gives (N, classes).
        image_size: in pixels.

    Returns:
        The network itself where it is not made of what is understood here: convolutions, each with
        activation and 2 x 2 average pooling, then fully connected layers.
    """
    layers: list[_Layout] = []
    modules: list[nn.Module] = []
    rest: list[Any] = list(network) if isinstance(network, nn.Sequential) else []
    size = image_size
    while len(rest) > 2 and isinstance(rest[0], nn.Conv2d):
        conv, act, pool, *rest = rest
        tile = _tile(conv, size)
        if not tile or type(act) not in ACTIVATIONS or not _halves(pool):
            return network
        layers.append(partial(Block, conv, act, tile))
        modules.append(conv)
        size = (size + 2 * conv.padding[0] - conv.kernel_size[0] + 1) // 2
    if not layers or len(rest) < 2 or not isinstance(rest[0], nn.Flatten):
        return network
    rest = rest[1:]
    while rest:
        linear, *rest = rest
        if not isinstance(linear, nn.Linear) or linear.bias is None:
            return network
        follows = bool(rest) and type(rest[0]) in ACTIVATIONS
        layers.append(partial(Dense, linear, rest.pop(0) if follows else nn.Identity()))
        modules.append(linear)
    return _Columns(layers, modules)


def _tile(conv: nn.Conv2d, size: int) -> int:
    """Pixels a side of the tiles that fit; 0 where none does."""
    kernel, padding = conv.kernel_size[0], conv.padding[0]
    plain = (conv.kernel_size, conv.padding, conv.stride, conv.dilation, conv.groups)
    if plain != ((kernel, kernel), (padding, padding), (1, 1), (1, 1), 1):
        return 0
    if conv.padding_mode != "zeros" or conv.bias is None:
        return 0
    output = size + 2 * int(padding) - kernel + 1
    fit = [tile for tile in _TILES if output % tile == 0 and (kernel - 1) % tile == 0]
    return fit[0] if fit and output > 0 else 0


def _halves(pool: nn.Module) -> bool:
    if not isinstance(pool, nn.AvgPool2d) or pool.divisor_override is not None:
        return False
    return (pool.kernel_size, pool.stride, pool.padding) == (2, 2, 0)


class _Columns(nn.Module):
    def __init__(self, layers: list[_Layout], modules: list[nn.Module]) -> None:
        super().__init__()
        self.layers = layers
        self.own = nn.ModuleList(modules)
        self.chains: dict[tuple[torch.Size, torch.dtype], list[_Layer]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to float32 (N, classes)."""
        cast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if cast else x.dtype
        chain = self.chains.get((x.shape, dtype))
        if chain is None:
            chain = self.chains[x.shape, dtype] = self._chain(x.shape, dtype)
        weights = [one for module in self.own for one in (module.weight, module.bias)]
        return _Step.apply(x, chain, *weights)  # type: ignore[no-any-return]

    def _chain(self, shape: torch.Size, dtype: torch.dtype) -> list[_Layer]:
        """The layers for batches of a shape, each giving into the memory of the next."""
        count, channels, height, width = shape
        chain: list[_Layer] = []
        gives = torch.Size((channels, 1, 1, height, width, count))
        for layout in self.layers:
            chain.append(layout(gives, dtype, 0.25 if chain and chain[-1].pools else 1.0))
            gives = chain[-1].gives
        for layer, following in pairwise(chain):
            layer.give_to(following.x, following.x_gradient)
        chain[-1].give_to(*torch.empty(2, *gives, dtype=dtype))
        return chain


class _Step(torch.autograd.Function):
    """All layers, one after the other; then their gradients, the other way round."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, chain: list[_Layer], *weights: Tensor) -> Tensor:
        ctx.chain, first = chain, chain[0].x
        with torch.autocast("cpu", enabled=False):
            # copying is slower where it has to convert as well
            first.copy_(x.to(first.dtype).permute(1, 2, 3, 0)[:, None, None])
            for layer, weight, bias in zip(chain, weights[::2], weights[1::2], strict=True):
                layer.forward(weight, bias)
        logits = chain[-1].y.view(-1, len(x)).T
        return logits.clone(memory_format=torch.contiguous_format).float()  # y is written over

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        chain, (grad,) = ctx.chain, grads
        chain[-1].y_gradient.view(-1, len(grad)).copy_(grad.T)
        found: list[Tensor] = []
        for layer in reversed(chain):
            weight, bias = layer.backward(inner=layer is not chain[0])
            found += [bias, weight]
        return None, None, *reversed(found)
