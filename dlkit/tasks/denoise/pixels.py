"""Pixels in, pixels out: what belongs to the graph of a network that restores images.

torch is needed here: import it late.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PixelDenoiser(nn.Module):
    """uint8 images in, uint8 images out.

    Args:
        network: takes float32 (N, C, H, W), 0 to 1, and gives the same, about 0 to 1.
        channels: 1 for grey, 3 for colour.
    """

    def __init__(self, network: nn.Module, channels: int = 1) -> None:
        super().__init__()
        self.network = network
        self.channels = channels

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W) or (N, H, W, 3) to the same; H and W multiples of what is needed."""
        x = pixels.to(torch.float32)
        x = x.unsqueeze(1) if self.channels == 1 else x.permute(0, 3, 1, 2)
        y: Tensor = self.network(x / 255)
        y = y.squeeze(1) if self.channels == 1 else y.permute(0, 2, 3, 1)
        return (y.to(torch.float32).clamp(0, 1) * 255).round().to(torch.uint8)
