"""Pixels in, maps out: what belongs to the graph of a network that detects.

torch is needed here: import it late.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PixelDetector(nn.Module):
    """uint8 scans in, maps of chances and boxes out.

    Args:
        network: takes float32 (N, 1, H, W), 0 to 1, and gives float32 (N, 6, H / 4, W / 4), the
            first two as logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W) to float32 (N, 6, H / 4, W / 4), as ``decode`` takes it."""
        found: Tensor = self.network(pixels.to(torch.float32).unsqueeze(1) / 255)
        found = found.to(torch.float32)
        return torch.cat([torch.sigmoid(found[:, :2]), found[:, 2:]], dim=1)
