"""What belongs to the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Masks(nn.Module):
    """uint8 (N, H, W) to uint8 (N, H, W), 1 where a disc is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """The likelier class."""
        logits = self.network(pixels.to(torch.float32).unsqueeze(1) / 255).to(torch.float32)
        return (logits[:, 1] > logits[:, 0]).to(torch.uint8)
