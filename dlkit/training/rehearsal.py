"""What a training would take, found out before it: shapes, arithmetic, time and memory.

A few real steps are made and thrown away.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.training.engine.fabric import Compute, Hardware, open_compute
from dlkit.training.recipe import Recipe
from dlkit.training.summary import measured

_FIRST_STEPS = 3  # they allocate, and choose kernels
_STEPS = 5


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: dotted, inside the network.
        kind: its class.
        output: shape for one picture, without the batch.
        parameters: its trained weights.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Rehearsal:
    """A training in numbers.

    Attributes:
        layers: in the order in which they compute.
        parameters: trained weights.
        mmacs: million multiply-adds for one input of ``shape``.
        shape: of what the network takes, without the batch.
        steps: of the whole training.
        seconds_a_step: median over a few real steps.
        seconds: for all steps and evaluations; the data's preparation is not in it.
        notes: what is odd about the data.
        peak_mb: memory at its highest: the GPU's, or this process's with imports and data.
    """

    layers: list[Layer]
    parameters: int
    mmacs: float
    shape: tuple[int, ...]
    steps: int
    seconds_a_step: float
    seconds: float
    peak_mb: float
    notes: list[str]


def rehearse(recipe: Recipe, data: str | None, hardware: Hardware) -> Rehearsal:
    """Make a few steps of a recipe and tell what all of it takes. Writes nothing.

    Raises:
        DlkitError: as the training itself would.
    """
    recipe.check()
    compute = open_compute(hardware, recipe.bfloat16)
    torch.manual_seed(recipe.seed)
    chosen = data or recipe.data
    trainer = recipe.rehearsed(chosen).trainer(chosen, compute)
    steps = trainer.epochs * trainer.steps_per_epoch
    made = min(_FIRST_STEPS + _STEPS, steps)  # a schedule has no more
    times = [_timed(compute, lambda: trainer.step(0, 0)) for _ in range(made)]
    step = statistics.median(times[_FIRST_STEPS:] or times)
    evaluation = _timed(compute, trainer.evaluate)
    example = trainer.recipe.example()
    with torch.device("meta"):
        network = example.network.build().eval()
    parameters, gflop = measured(network, example.shape)
    return Rehearsal(
        layers=_layers(network, example.shape),
        parameters=parameters,
        mmacs=gflop * 1e3 / 2,
        shape=example.shape,
        steps=steps,
        seconds_a_step=step,
        seconds=steps * step + (trainer.epochs + 1) * evaluation,
        peak_mb=_peak_mb(compute),
        notes=trainer.notes,
    )


def _timed(compute: Compute, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return time.perf_counter() - begun


def _layers(network: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    """Every module without modules inside, by what it gives."""
    found: list[Layer] = []

    def note(name: str, module: nn.Module) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            size = sum(weight.numel() for weight in module.parameters())
            found.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), size))

        return hook

    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(note(name, module))
    with torch.inference_mode():
        network(torch.zeros(1, *shape, device="meta"))
    return found


def _peak_mb(compute: Compute) -> float:
    if compute.device.type == "cuda":
        return torch.cuda.max_memory_reserved(compute.device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, else kilobytes
