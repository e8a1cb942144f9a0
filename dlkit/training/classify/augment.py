"""Random affine and elastic deformation of images, a batch at a time, on any device.

All randomness comes in as numbers, a row an image: the same rows give the same images, whichever
process takes which of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

UNIFORMS = 6  # of an image: angle, two scales, shear, two shifts
# Smoothness of the elastic field, as a share of the side; Simard et al. 2003 have 4 for 29 x 29.
_SIGMA = 4 / 28
_WAVES = 9  # a field so smooth has no more in each direction: 99.9 % of its variance
NORMALS = 2 * _WAVES**2


@dataclass(frozen=True)
class Warp:
    """How far an image may be deformed; each amount is drawn evenly between minus and plus it.

    Attributes:
        rotate: degrees.
        scale: share of each side, so that 0.1 gives 0.9 to 1.1, the sides apart.
        shear: share of the height that the top moves to the side.
        shift: pixels each way.
        elastic: pixels, root mean square of the displacement (Simard et al. 2003: alpha 34 of a
            smoothed even field is 1.4).
    """

    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0

    def __bool__(self) -> bool:
        return any((self.rotate, self.scale, self.shear, self.shift, self.elastic))

    def __call__(self, images: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        """Deform images; black comes in from outside.

        Args:
            images: uint8 or float32 (N, H, W) or (N, H, W, 3), 0 to 255.
            uniform: float32 (N, UNIFORMS), 0 to 1.
            normal: float32 (N, NORMALS), standard normal.

        Returns:
            float32 of the same shape, 0 to 255.
        """
        count, height, width = images.shape[:3]
        aspect = height / width  # coordinates go from -1 to 1 along either side
        spread = (2 * uniform - 1).unbind(1)
        angle = spread[0] * math.radians(self.rotate)
        wide, high = 1 + self.scale * spread[1], 1 + self.scale * spread[2]
        cos, sin, shear = angle.cos(), angle.sin(), self.shear * spread[3]
        theta = torch.stack(
            [
                wide * cos, wide * (shear * cos - sin) * aspect,
                spread[4] * (2 * self.shift / width),
                high * sin / aspect, high * (shear * sin + cos),
                spread[5] * (2 * self.shift / height),
            ],
            dim=1,
        ).view(count, 2, 3)  # fmt: skip
        grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
        if self.elastic:
            rows, columns = (
                _waves(size).to(images.device, non_blocking=True) for size in (height, width)
            )
            field = rows @ normal.view(count, 2, _WAVES, _WAVES) @ columns.T
            size = torch.tensor([2 * self.elastic / width, 2 * self.elastic / height])
            grid = grid + field.permute(0, 2, 3, 1) * size.to(images.device, non_blocking=True)
        grey = images.ndim == 3
        planes = images.to(torch.float32)
        planes = planes.unsqueeze(1) if grey else planes.permute(0, 3, 1, 2)
        moved = F.grid_sample(planes, grid, padding_mode="zeros", align_corners=False)
        return moved.squeeze(1) if grey else moved.permute(0, 2, 3, 1)


@lru_cache
def _waves(size: int) -> Tensor:
    """float32 (size, _WAVES): times noise, this is distributed as white noise, smoothed.

    Smoothing by a Gaussian is a matrix G. G @ noise and A @ less noise are distributed alike where
    A holds the largest singular vectors of G, times their values. Of mean variance 1.
    """
    at = torch.arange(size, dtype=torch.float64)
    smooth = torch.exp(-((at[:, None] - at) ** 2) / (2 * (_SIGMA * size) ** 2))
    vectors, values, _ = torch.linalg.svd(smooth)
    waves: Tensor = vectors[:, :_WAVES] * values[:_WAVES]
    spread: Tensor = (waves**2).sum(1).mean().sqrt()
    return (waves / spread).to(torch.float32)
