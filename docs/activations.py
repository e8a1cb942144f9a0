"""Draw docs/images/activations.png: the activation functions that networks of dlkit can have.

    python docs/activations.py

Each curve is what ``dlkit.training.networks._common.activation`` gives, and what autograd says of
its slope; nothing is drawn from a formula.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dlkit.training.networks._common import activation

ROOT = Path(__file__).resolve().parent
SHOWN = ("sigmoid", "tanh", "relu", "leaky_relu")


def main() -> None:
    """One panel a function, with its slope."""
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, name in zip(figure.subplots(2, 2).flat, SHOWN, strict=True):
        x = torch.linspace(-5, 5, 501, requires_grad=True)
        y = activation(name)(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        panel.plot(x.detach(), y.detach(), label=name)
        panel.plot(x.detach(), slope, "--", linewidth=1, label="its slope")
        panel.axhline(0, color="grey", linewidth=0.5)
        panel.axvline(0, color="grey", linewidth=0.5)
        panel.set_ylim(-1.2, 2.2 if name.endswith("relu") else 1.2)
        panel.legend(loc="upper left", fontsize=9)
        panel.grid(alpha=0.3)
    figure.savefig(ROOT / "images" / "activations.png", dpi=90)


if __name__ == "__main__":
    main()
