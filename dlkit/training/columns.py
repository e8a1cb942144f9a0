"""LeNet's step on a processor, as a few large matrix products.

A convolution of 1 or 6 channels fills neither the vectors nor the matrix units that a processor
has for bfloat16. Here the batch is the innermost dimension, (C, H, W, N), so that every copy and
every sum runs over rows of N, and a convolution gives a square tile of pixels at once: one product
of the weights, placed at each of the tile's pixels, with a window that the whole tile sees. More is
multiplied than needed (a placed kernel is mostly zeros), and it is still several times as fast.

The step is so short that torch's bookkeeping for each small operation would take as long as the
products, so gradients are written out, and torch sees one function. The weights are the network's
own, and the answer is the same up to rounding.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_aten = torch.ops.aten
# In place; and the gradient, by the gradient of the result and the result, in the result's place:
# memory that was just read is written faster than other.
_ACTIVATIONS: dict[type[nn.Module], tuple[Any, Any]] = {
    nn.Identity: (lambda x: x, lambda grad, _: grad),
    nn.ReLU: (torch.relu_, lambda g, y: _aten.threshold_backward(g, y, 0, grad_input=y)),
    nn.Sigmoid: (torch.sigmoid_, lambda g, y: _aten.sigmoid_backward(g, y, grad_input=y)),
    nn.Tanh: (torch.tanh_, lambda g, y: _aten.tanh_backward(g, y, grad_input=y)),
}
_TILES = (4, 2)  # pixels a side, the faster first


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
    layers: list[_Block | _Dense] = []
    rest: list[Any] = list(network) if isinstance(network, nn.Sequential) else []
    size = image_size
    while len(rest) > 2 and isinstance(rest[0], nn.Conv2d):
        conv, act, pool, *rest = rest
        tile = _tile(conv, size)
        if not tile or type(act) not in _ACTIVATIONS or not _halves(pool):
            return network
        layers.append(_Block(conv, act, tile, inner=bool(layers)))
        size = (size + 2 * conv.padding[0] - conv.kernel_size[0] + 1) // 2
    if not layers or len(rest) < 2 or not isinstance(rest[0], nn.Flatten):
        return network
    rest = rest[1:]
    while rest:
        linear, *rest = rest
        if not isinstance(linear, nn.Linear) or linear.bias is None:
            return network
        follows = bool(rest) and type(rest[0]) in _ACTIVATIONS
        act = rest.pop(0) if follows else nn.Identity()
        layers.append(_Dense(linear, act, 0.25 if isinstance(layers[-1], _Block) else 1.0))
    return _Columns(layers)


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
    def __init__(self, layers: list[_Block | _Dense]) -> None:
        super().__init__()
        self.layers = layers
        self.own = nn.ModuleList(layer.module for layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, classes)."""
        cast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if cast else x.dtype
        weights = [one for layer in self.layers for one in (layer.module.weight, layer.module.bias)]
        return _Step.apply(x.permute(1, 2, 3, 0), dtype, self.layers, *weights).T  # type: ignore[no-any-return]


class _Step(torch.autograd.Function):
    """All layers, one after the other; then their gradients, the other way round."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dtype: torch.dtype, layers: list[_Block | _Dense], *weights: Tensor
    ) -> Tensor:
        ctx.layers, ctx.kept = layers, []
        with torch.autocast("cpu", enabled=False):
            for layer, weight, bias in zip(layers, weights[::2], weights[1::2], strict=True):
                x, kept = layer.forward(x, weight, bias.to(dtype))
                ctx.kept.append(kept)
        return x.clone()  # gradients are written over what the layers gave

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad: Tensor | None = grads[0]
        found: list[Tensor] = []
        for layer in reversed(ctx.layers):
            assert grad is not None
            grad, weight, bias = layer.backward(grad, ctx.kept.pop())
            found += [bias.float(), weight.float()]
        return None, None, None, *reversed(found)


class _Dense:
    """Fully connected; (C, ...) to (O, N).

    Args:
        share: what the input is to be multiplied by; see ``_Block``.
    """

    def __init__(self, linear: nn.Linear, act: nn.Module, share: float) -> None:
        self.module, self.share = linear, share
        self.act, self.act_gradient = _ACTIVATIONS[type(act)]

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Any]:
        flat, weight = x.reshape(weight.shape[1], -1), (weight * self.share).to(bias.dtype)
        result = self.act(torch.addmm(bias[:, None], weight, flat))
        return result, (flat, weight, result, x.shape)

    def backward(self, grad: Tensor, kept: Any) -> tuple[Tensor, Tensor, Tensor]:
        flat, weight, result, shape = kept
        grad = self.act_gradient(grad, result)
        return (weight.T @ grad).view(shape), self.share * (grad @ flat.T), grad.sum(1)


class _Block:
    """Convolution, activation, pooling; (C, H, W, N) to (O, H', W', N).

    What is pooled is added up; the layer that follows makes a mean of it, by its weights: they are
    fewer than the pixels.

    Args:
        conv: as it is in the network.
        act: of ``_ACTIVATIONS``.
        tile: pixels a side, before pooling.
        inner: is there a layer before, that wants a gradient?
    """

    def __init__(self, conv: nn.Conv2d, act: nn.Module, tile: int, inner: bool) -> None:
        self.module, self.tile, self.inner = conv, tile, inner
        self.share = 0.25 if inner else 1.0
        self.padding = int(conv.padding[0])
        self.window = conv.kernel_size[0] - 1 + tile
        self.places = _places(conv.kernel_size[0], tile)
        self.act, self.act_gradient = _ACTIVATIONS[type(act)]

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Any]:
        channels, height, width, count = x.shape
        out, pixels, pooled = len(weight), self.tile**2, self.tile // 2
        if self.padding or x.dtype != bias.dtype:
            edge = 2 * self.padding
            wide = bias.new_zeros(channels, height + edge, width + edge, count)
            # copying is slower where it has to convert as well
            wide[:, self.padding :, self.padding :][:, :height, :width].copy_(x.to(bias.dtype))
            x = wide
        tiles = x.unfold(1, self.window, self.tile).unfold(2, self.window, self.tile)
        rows, columns = tiles.shape[1:3]
        # a last row of ones for the bias: no sum of its own, here and for its gradient
        windows = bias.new_empty(channels * self.window**2 + 1, rows * columns * count)
        by_place = windows[:-1].view(channels, self.window, self.window, rows, columns, count)
        by_place.copy_(tiles.permute(0, 4, 5, 1, 2, 3))
        windows[-1] = 1
        # the kernel at each pixel of a tile: (pixels, O, C, window^2)
        own = weight.reshape(out * channels, -1) * self.share
        placed = (own @ self.places).view(out, channels, pixels, -1)
        kernels = bias.new_empty(pixels, out, len(windows))
        by_channel = kernels[:, :, :-1].unflatten(2, (channels, -1))
        by_channel.copy_(placed.permute(2, 0, 1, 3))
        kernels[:, :, -1] = bias
        kernels = kernels.view(pixels * out, -1)
        result = self.act(kernels @ windows)
        four = result.view(4, -1)
        total = (four[0] + four[1]).add_(four[2] + four[3])  # faster than torch.sum
        total = total.view(pooled, pooled, out, rows, columns, count).permute(2, 3, 0, 4, 1, 5)
        y = total.reshape(out, rows * pooled, columns * pooled, count)
        return y, (windows, kernels, result, x.shape)

    def backward(self, grad: Tensor, kept: Any) -> tuple[Tensor | None, Tensor, Tensor]:
        windows, kernels, result, shape = kept
        channels, height, width, count = shape
        out, pixels, pooled = len(grad), self.tile**2, self.tile // 2
        cells = self.window // self.tile
        rows, columns = height // self.tile - cells + 1, width // self.tile - cells + 1
        grad = grad.view(out, rows, pooled, columns, pooled, count).permute(2, 4, 0, 1, 3, 5)
        grad = grad.reshape(-1).expand(4, -1)
        grad = self.act_gradient(grad, result.view(4, -1)).reshape(pixels * out, -1)
        # this way round is a little faster than grad @ windows.T
        both = (windows @ grad.T).float().view(-1, pixels, out)
        bias = both[-1].sum(0)
        placed = both[:-1].view(channels, -1, pixels, out).permute(3, 0, 2, 1)
        placed = placed.reshape(out * channels, -1)
        weight = self.share * (placed @ self.places.T).view(self.module.weight.shape)
        if not self.inner:
            return None, weight, bias
        tile = self.tile
        # windows are read for the last time, and as large
        parts = torch.mm(kernels[:, :-1].T, grad, out=windows[:-1])
        parts = parts.view(channels, cells, tile, cells, tile, rows, columns, count)
        parts = parts.permute(0, 1, 3, 5, 2, 6, 4, 7)
        total = parts.new_zeros(channels, height // tile, tile, width // tile, tile, count)
        for row in range(cells):  # whole cells of a tile's size at once
            for column in range(cells):
                part = total[:, row : row + rows, :, column : column + columns]
                part.add_(parts[:, row, column])
        total = total.view(shape)
        if self.padding:
            inner = slice(self.padding, -self.padding)
            total = total[:, inner, inner].contiguous()
        return total, weight, bias


@cache
def _places(kernel: int, tile: int) -> Tensor:
    """Where each weight of a kernel lies in a tile's window, for each pixel of the tile.

    The pixels are in the order of pooling: first the four that are pooled, then the pooled ones.

    Returns:
        float32 (kernel^2, tile^2 x window^2) of 0 and 1.
    """
    side = kernel - 1 + tile
    places = torch.zeros(kernel, kernel, 2, 2, tile // 2, tile // 2, side, side)
    for y in range(tile):
        for x in range(tile):
            for row in range(kernel):
                for column in range(kernel):
                    places[row, column, y % 2, x % 2, y // 2, x // 2, y + row, x + column] = 1
    return places.view(kernel**2, -1)
