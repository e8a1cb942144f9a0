"""Noise in, pixels out: what belongs to the graph of a network that makes images.

torch is needed here: import it late.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PixelGenerator(nn.Module):
    """Codes in, uint8 images out.

    Args:
        network: takes float32 (N, latent + classes) and gives float32 (N, C, H, W), about -1 to 1.
        channels: 1 for grey, 3 for colour.
    """

    def __init__(self, network: nn.Module, channels: int = 1) -> None:
        super().__init__()
        self.network = network
        self.channels = channels

    def forward(self, code: Tensor) -> Tensor:
        """float32 (N, latent + classes) to uint8 (N, H, W), or (N, H, W, 3) RGB."""
        y: Tensor = self.network(code).to(torch.float32)
        y = y.squeeze(1) if self.channels == 1 else y.permute(0, 2, 3, 1)
        return ((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
