"""The layers of ``columns``: what each keeps from step to step, and how it computes.

Each layer is laid out for batches of one size. It owns what it takes, ``x``, and that one's
gradient; what it gives, ``y``, is the next layer's. All are (C, side, side, H / side, W / side, N):
which channel, where in a tile, which tile, which picture; ``side`` is the giver's, 1 where it has
no tiles.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_aten = torch.ops.aten
# In place; and the gradient, by the gradient of the result and the result, in the result's place:
# memory that was just read is written faster than other.
ACTIVATIONS: dict[type[nn.Module], tuple[Any, Any]] = {
    nn.Identity: (lambda x: x, lambda grad, y: y.copy_(grad)),
    nn.ReLU: (torch.relu_, lambda g, y: _aten.threshold_backward(g, y, 0, grad_input=y)),
    nn.Sigmoid: (torch.sigmoid_, lambda g, y: _aten.sigmoid_backward(g, y, grad_input=y)),
    nn.Tanh: (torch.tanh_, lambda g, y: _aten.tanh_backward(g, y, grad_input=y)),
}


class Dense:
    """Fully connected.

    Args:
        shape: of ``x``.
        share: what the input is to be multiplied by; see ``Block``.

    Attributes:
        gives: shape of ``y``.
    """

    pools = False

    def __init__(
        self, linear: nn.Linear, act: nn.Module, shape: torch.Size, dtype: torch.dtype, share: float
    ) -> None:
        self.act, self.act_gradient = ACTIVATIONS[type(act)]
        self.share = share
        channels, side, _, rows, columns, count = shape
        plain = torch.empty(2, channels, rows * side, columns * side, count, dtype=dtype)
        self.x, self.x_gradient = (_split(one, side) for one in plain)
        self.flat, self.flat_gradient = plain.flatten(1, 3)
        self.weight = torch.empty(linear.weight.shape, dtype=dtype)
        self.bias = torch.empty(linear.out_features, 1, dtype=dtype)
        self.gives = torch.Size((linear.out_features, 1, 1, 1, 1, count))

    def give_to(self, y: Tensor, gradient: Tensor) -> None:
        """Where the result goes, and where its gradient will be."""
        self.y, self.y_gradient = y.flatten(0, 4), gradient.flatten(0, 4)

    def forward(self, weight: Tensor, bias: Tensor) -> None:
        """Of ``x``."""
        torch.mul(weight, self.share, out=self.weight)
        self.bias.copy_(bias[:, None])
        self.act(torch.addmm(self.bias, self.weight, self.flat, out=self.y))

    def backward(self, inner: bool) -> tuple[Tensor, Tensor]:
        """Gradients of weight and bias, float32; and of ``x``, where it is asked for."""
        self.act_gradient(self.y_gradient, self.y)
        if inner:
            torch.mm(self.weight.T, self.y, out=self.flat_gradient)
        weight = (self.y @ self.flat.T).float() * self.share
        return weight, self.y.sum(1, dtype=torch.float32)


class Block:
    """Convolution, activation, pooling; as ``Dense``.

    What is pooled is added up; the layer that follows makes a mean of it, by its weights: they are
    fewer than the pixels.

    Args:
        tile: pixels a side, before pooling.
    """

    pools = True

    def __init__(
        self,
        conv: nn.Conv2d,
        act: nn.Module,
        tile: int,
        shape: torch.Size,
        dtype: torch.dtype,
        share: float,
    ) -> None:
        self.act, self.act_gradient = ACTIVATIONS[type(act)]
        self.share, self.shape = share, conv.weight.shape
        out, channels, kernel = self.shape[:3]
        window, pooled = kernel - 1 + tile, tile // 2
        self.places = _places(kernel, tile)

        tiles, gradient = self._own(shape, dtype, tile, int(conv.padding[0]))
        cells = window // tile  # a window is so many tiles wide
        tiles = tiles.unfold(3, cells, 1).unfold(4, cells, 1)
        self.tiles = tiles.permute(0, 6, 1, 7, 2, 3, 4, 5)
        rows, columns, count = self.tiles.shape[5:]
        # a last row of ones for the bias: no sum of its own, here and for its gradient
        self.windows = torch.ones(channels * window**2 + 1, rows * columns * count, dtype=dtype)
        self.pixels = self.windows[:-1]
        self.parts = self.pixels.view(self.tiles.shape)
        self.overlaps = [
            (
                gradient[:, :, :, row : row + rows, column : column + columns],
                self.parts[:, row, :, column],
            )
            for row in range(cells)
            for column in range(cells)
        ]
        # the kernel at each pixel of a tile, in the order of _places
        kernels = torch.empty(4, out, pooled**2, len(self.windows), dtype=dtype)
        self.placed = kernels[..., :-1].unflatten(3, (channels, -1)).permute(1, 3, 0, 2, 4)
        self.biases = kernels[..., -1].transpose(1, 2)
        self.kernels = kernels.flatten(0, 2)
        self.gives = torch.Size((out, pooled, pooled, rows, columns, count))
        self.result = torch.empty(len(self.kernels), rows * columns * count, dtype=dtype)
        self.quarters = self.result.view(4, *self.gives)
        self.quarter = self.quarters.unbind()
        self.halves = torch.empty(2, *self.gives, dtype=dtype).unbind()

    def _own(
        self, shape: torch.Size, dtype: torch.dtype, tile: int, padding: int
    ) -> tuple[Tensor, Tensor]:
        """Make ``x`` and its gradient; both with their padding, split into tiles."""
        channels, side, _, rows, columns, count = shape
        if side == tile and not padding:  # then all that is copied and added lies side by side
            self.x, self.x_gradient = x, gradient = torch.empty(2, *shape, dtype=dtype)
        else:
            height, width = rows * side, columns * side
            edge = 2 * padding
            plain = torch.zeros(2, channels, height + edge, width + edge, count, dtype=dtype)
            inside = plain[:, :, padding:, padding:][:, :, :height, :width]
            self.x, self.x_gradient = (_split(one, side) for one in inside)
            x, gradient = (_split(one, tile) for one in plain)
        self.padded_gradient = gradient
        return x, gradient

    def give_to(self, y: Tensor, gradient: Tensor) -> None:
        """Where the result goes, and where its gradient will be."""
        self.y, self.y_gradient = y, gradient.expand(self.quarters.shape)

    def forward(self, weight: Tensor, bias: Tensor) -> None:
        """Of ``x``."""
        self.parts.copy_(self.tiles)
        own = weight.reshape(-1, len(self.places)) * self.share
        self.placed.copy_((own @ self.places).view(self.placed.shape))
        self.biases.copy_(bias)
        self.act(torch.mm(self.kernels, self.windows, out=self.result))
        one, two, three, four = self.quarter
        torch.add(one, two, out=self.halves[0])
        torch.add(three, four, out=self.halves[1])
        torch.add(*self.halves, out=self.y)

    def backward(self, inner: bool) -> tuple[Tensor, Tensor]:
        """Gradients of weight and bias, float32; and of ``x``, where it is asked for."""
        self.act_gradient(self.y_gradient, self.quarters)
        out, channels = self.shape[:2]
        # this way round is a little faster than grad @ windows.T
        both = (self.windows @ self.result.T).float().view(-1, 4, out, self.placed.shape[3])
        bias = both[-1].sum((0, 2))
        placed = both[:-1].unflatten(0, (channels, -1)).permute(3, 0, 2, 4, 1)
        weight = placed.reshape(out * channels, -1) @ self.places.T * self.share
        if inner:
            # windows are read for the last time, and as large
            torch.mm(self.kernels[:, :-1].T, self.result, out=self.pixels)
            self.padded_gradient.zero_()
            for to, part in self.overlaps:
                to.add_(part)
        return weight.view(self.shape), bias


def _split(plain: Tensor, side: int) -> Tensor:
    """(C, H, W, N) as (C, side, side, H / side, W / side, N): where in a tile, which tile."""
    tiles: Tensor = plain.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return tiles.permute(0, 2, 4, 1, 3, 5)


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
