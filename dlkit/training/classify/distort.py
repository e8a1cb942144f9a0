"""What a camera, a scanner or a pen does to a digit: noise, blur, stripes, lines, light.

Like MNIST-C (Mu and Gilmer, arXiv 1906.02337), but drawn anew for every picture. All randomness
comes in as numbers, a row a digit, as in ``augment``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

UNIFORMS = 8  # of a digit: whether, which, four amounts, which noise, where in it
_POOL = 64  # fields of noise, of twice the side, cut out anywhere
_SIDE = 28


class Distort:
    """Distorts a share of the digits, each in one way.

    Args:
        share: 0 to 1.
        device: where the digits are.
    """

    def __init__(self, share: float, device: torch.device) -> None:
        self.share = share
        generator = torch.Generator().manual_seed(0)
        white = torch.randn(_POOL, 2 * _SIDE, 2 * _SIDE, generator=generator)
        self._white = white.to(device)
        cloudy, spots = _smoothed(white, 3.0), _smoothed(white, 1.2)
        self._cloudy, self._spots = ((field / field.std()).to(device) for field in (cloudy, spots))

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Distort digits.

        Args:
            images: float32 (N, 28, 28), 0 to 255, bright on black.
            uniform: float32 (N, UNIFORMS), 0 to 1; on the CPU, so that nothing waits for a GPU to
                say which digits are distorted how.

        Returns:
            The same shape, 0 to 255.
        """
        result = images.clone()
        kind = (uniform[:, 1] * len(_KINDS)).long().clamp(max=len(_KINDS) - 1)
        kind[uniform[:, 0] >= self.share] = -1
        for number, work in enumerate(_KINDS):
            which = (kind == number).nonzero()[:, 0]
            if len(which):
                rows = which.to(images.device, non_blocking=True)
                drawn = uniform[which, 2:].to(images.device, non_blocking=True)
                amounts = _Amounts(drawn, self)
                result[rows] = work(images[rows], amounts).clamp(0, 255)
        return result

    def field(self, name: str, which: Tensor, where: Tensor) -> Tensor:
        """Noise of mean 0 and deviation 1, float32 (n, 28, 28), by numbers from 0 to 1 (n,)."""
        pool: Tensor = getattr(self, f"_{name}")
        index = (which * _POOL).long().clamp(max=_POOL - 1)[:, None, None]
        offset = (where * _SIDE**2).long().clamp(max=_SIDE**2 - 1)[:, None, None]
        line = torch.arange(_SIDE, device=which.device)
        return pool[index, line[:, None] + offset // _SIDE, line + offset % _SIDE]


class _Amounts:
    """The numbers of some digits: ``amounts[k]`` is float32 (n, 1, 1)."""

    def __init__(self, uniform: Tensor, source: Distort) -> None:
        self._uniform, self._source = uniform, source

    def __getitem__(self, number: int) -> Tensor:
        return self._uniform[:, number, None, None]

    def between(self, number: int, low: float, high: float) -> Tensor:
        """One of the four amounts, stretched."""
        return low + (high - low) * self[number]

    def field(self, name: str) -> Tensor:
        """Noise, float32 (n, 28, 28)."""
        return self._source.field(name, self._uniform[:, 4], self._uniform[:, 5])

    def along(self) -> tuple[Tensor, Tensor]:
        """Coordinates in pixels across and along a random direction, past the middle."""
        line = torch.arange(_SIDE, device=self._uniform.device) - (_SIDE - 1) / 2
        angle = self[0] * math.pi
        across = line[:, None] * angle.cos() - line * angle.sin() + self.between(1, -9, 9)
        return across, line[:, None] * angle.sin() + line * angle.cos()


def _gaussian_noise(images: Tensor, amounts: _Amounts) -> Tensor:
    return images + amounts.between(0, 10, 100) * amounts.field("white")


def _impulse_noise(images: Tensor, amounts: _Amounts) -> Tensor:
    noise = amounts.field("white")
    hit = noise.abs() > amounts.between(0, 1.2, 2.2)  # of 23 % to 3 % of the pixels
    return torch.where(hit, (noise > 0) * 255.0, images)


def _shot_noise(images: Tensor, amounts: _Amounts) -> Tensor:
    return images + (images + 20).sqrt() * amounts.between(0, 1, 9) * amounts.field("white")


def _blur(images: Tensor, amounts: _Amounts) -> Tensor:
    narrow = _smoothed(images, 0.8)
    wide = _smoothed(images, 2.4)
    return torch.lerp(narrow, wide, amounts[0])


def _motion_blur(images: Tensor, amounts: _Amounts) -> Tensor:
    reach = torch.linspace(-1, 1, 7, device=images.device)
    angle, far = amounts[0] * math.pi, amounts.between(1, 1, 6) * (2 / _SIDE)
    moved = torch.zeros_like(images)
    grid = F.affine_grid(
        torch.eye(2, 3, device=images.device).expand(len(images), 2, 3),
        [len(images), 1, _SIDE, _SIDE],
        align_corners=False,
    )
    for step in reach:
        offset = torch.stack([angle.cos() * far * step, angle.sin() * far * step], dim=3)
        moved += F.grid_sample(images[:, None], grid + offset, align_corners=False)[:, 0]
    return moved / len(reach)


def _contrast(images: Tensor, amounts: _Amounts) -> Tensor:
    share = amounts.between(0, 0.1, 1.0)
    return images * share + 255 * (1 - share) * amounts[1]


def _fog(images: Tensor, amounts: _Amounts) -> Tensor:
    share = amounts.between(0, 0.4, 0.9)
    return images * share + (amounts.field("cloudy") * 40 + amounts.between(1, 0, 110)).clamp(min=0)


def _uneven_light(images: Tensor, amounts: _Amounts) -> Tensor:
    across, _ = amounts.along()
    light = 0.55 + across * amounts.between(2, -0.03, 0.03)
    return images * light.clamp(0.15, 1) + amounts.between(3, 0, 60)


def _stripes(images: Tensor, amounts: _Amounts) -> Tensor:
    across, _ = amounts.along()
    period = amounts.between(2, 5, 12)
    hit = across.remainder(period) < amounts.between(3, 0.6, 1.6)
    bright = (amounts[4] > 0.4) * 255.0
    return torch.where(hit, bright, images)


def _inverted_band(images: Tensor, amounts: _Amounts) -> Tensor:
    """One from edge to edge, or two, mirrored."""
    line = torch.arange(_SIDE, device=images.device)
    line = torch.where(amounts[0] < 0.5, line[:, None], line)
    first = amounts.between(1, -6, 24)
    last = first + amounts.between(2, 3, 16)
    mirrored = _SIDE - 1 - line
    hit = (line >= first) & (line < last)
    hit = hit | ((amounts[3] < 0.5) & (mirrored >= first) & (mirrored < last))
    return torch.where(hit, 255 - images, images)


def _line(images: Tensor, amounts: _Amounts) -> Tensor:
    """Drawn through or dotted."""
    across, along = amounts.along()
    dotted = (amounts[2] < 0.5) | (along.remainder(amounts.between(2, 0, 6)) < 1.2)
    hit = (across.abs() < amounts.between(3, 0.5, 1.1)) & dotted
    return torch.where(hit, 255.0, images)


def _zigzag(images: Tensor, amounts: _Amounts) -> Tensor:
    across, along = amounts.along()
    period, height = amounts.between(2, 4, 12), amounts.between(3, 0.5, 2.5)
    teeth = ((along / period).remainder(1) * 4 - 2).abs() - 1  # -1 to 1
    steep = (1 + (4 * height / period) ** 2).sqrt()  # so that slanted parts are as thick
    hit = (across - height * teeth).abs() < amounts.between(4, 0.5, 0.9) * steep
    return torch.where(hit, 255.0, images)


def _patch(images: Tensor, amounts: _Amounts) -> Tensor:
    line = torch.arange(_SIDE, device=images.device)
    top, left, size = amounts.between(0, 0, 22), amounts.between(1, 0, 22), amounts.between(2, 4, 8)
    inside = (line[:, None] >= top) & (line[:, None] < top + size)
    inside = inside & (line >= left) & (line < left + size)
    return torch.where(inside, (amounts[3] > 0.6) * 255.0, images)


def _spatter(images: Tensor, amounts: _Amounts) -> Tensor:
    hit = amounts.field("spots") > amounts.between(0, 0.7, 2.3)
    return torch.where(hit, amounts.between(1, -100, 355).clamp(0, 255), images)


def _pixelate(images: Tensor, amounts: _Amounts) -> Tensor:
    coarse = F.interpolate(F.avg_pool2d(images[:, None], 2), scale_factor=2)[:, 0]
    return torch.lerp(images, coarse, amounts.between(0, 0.5, 1.0))


def _thick(images: Tensor, amounts: _Amounts) -> Tensor:
    return torch.lerp(images, F.max_pool2d(images[:, None], 3, 1, 1)[:, 0], amounts[0])


def _thin(images: Tensor, amounts: _Amounts) -> Tensor:
    least = -F.max_pool2d(-images[:, None], 3, 1, 1)[:, 0]
    return torch.lerp(images, least, amounts.between(0, 0.2, 0.7))


def _outline(images: Tensor, amounts: _Amounts) -> Tensor:
    edges = F.max_pool2d(images[:, None], 3, 1, 1) + F.max_pool2d(-images[:, None], 3, 1, 1)
    return torch.lerp(images, edges[:, 0], amounts.between(0, 0.6, 1.0))


def _contour(images: Tensor, amounts: _Amounts) -> Tensor:
    """Hollow: a line of one pixel around the strokes, inside or outside them."""
    inked = (_smoothed(images, 0.8) > amounts.between(0, 70, 150)).to(images.dtype)
    outside = (amounts[1] < 0.5).to(images.dtype)
    filled = torch.lerp(inked, 1 - inked, outside)[:, None]
    within = torch.maximum(
        F.max_pool2d(1 - filled, (3, 1), 1, (1, 0)), F.max_pool2d(1 - filled, (1, 3), 1, (0, 1))
    )
    return 255 * (filled * within)[:, 0]


_KINDS: tuple[Callable[[Tensor, _Amounts], Tensor], ...] = (
    _gaussian_noise, _impulse_noise, _shot_noise, _blur, _motion_blur, _contrast, _fog,
    _uneven_light, _stripes, _inverted_band, _line, _zigzag, _patch, _spatter, _pixelate, _thick,
    _thin, _outline, _contour,
)  # fmt: skip


def _smoothed(images: Tensor, sigma: float) -> Tensor:
    """Smoothed by a Gaussian of ``sigma`` pixels."""
    reach = math.ceil(3 * sigma)
    at = torch.arange(-reach, reach + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    x = F.conv2d(images[:, None], kernel.view(1, 1, -1, 1), padding=(reach, 0))
    x = F.conv2d(x, kernel.view(1, 1, 1, -1), padding=(0, reach))
    return x[:, 0]
