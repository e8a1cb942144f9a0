"""What a training would take, found out before it: shapes, arithmetic, time and memory.

A few real steps are made and thrown away.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.training.compute import Compute, Hardware, open_compute
from dlkit.training.data.pairs import SIMULATED
from dlkit.training.loop import Trainer
from dlkit.training.recipe import ARCHITECTURES, TRAINERS, Recipe
from dlkit.training.summary import example, measured

_FIRST_STEPS = 3  # they allocate, and choose kernels
_STEPS = 5
_FEW_PAIRS = 8  # simulated ones are costly, and a step takes as long with few as with many


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
        mmacs: million multiply-adds for one picture of ``size``.
        steps: of the whole training.
        seconds_a_step: median over a few real steps.
        seconds: for all steps and evaluations; the data's preparation is not in it.
        peak_mb: memory at its highest: the GPU's, or this process's with imports and data.
    """

    layers: list[Layer]
    parameters: int
    mmacs: float
    size: tuple[int, int]
    steps: int
    seconds_a_step: float
    seconds: float
    peak_mb: float


def rehearse(recipe: Recipe, data: str | None, hardware: Hardware) -> Rehearsal:
    """Make a few steps of a recipe and tell what all of it takes. Writes nothing.

    Raises:
        DlkitError: as the training itself would.
    """
    compute = open_compute(hardware, recipe.bfloat16)
    torch.manual_seed(recipe.seed)
    chosen = data or recipe.data
    trainer: Trainer = TRAINERS.load(recipe.trainer).TRAINER(_few(recipe, chosen), chosen, compute)
    steps = trainer.epochs * trainer.steps_per_epoch
    made = min(_FIRST_STEPS + _STEPS, steps)  # a schedule has no more
    times = [_timed(compute, lambda: trainer.step(0, 0)) for _ in range(made)]
    step = statistics.median(times[_FIRST_STEPS:] or times)
    evaluation = _timed(compute, trainer.evaluate)
    with torch.device("meta"):
        network = ARCHITECTURES.load(recipe.architecture).build(recipe.network).eval()
    summary = measured(recipe, network)
    return Rehearsal(
        layers=_layers(recipe, network),
        parameters=summary[0],
        mmacs=summary[1] * 1e3 / 2,
        size=summary[2],
        steps=steps,
        seconds_a_step=step,
        seconds=steps * step + (trainer.epochs + 1) * evaluation,
        peak_mb=_peak_mb(compute),
    )


def _few(recipe: Recipe, data: str) -> Recipe:
    names = {field.name for field in fields(recipe)}
    if data == SIMULATED and {"pairs", "held_out"} <= names:
        changes: dict[str, Any] = {"pairs": _FEW_PAIRS, "held_out": min(2, recipe.held_out)}  # type: ignore[attr-defined]
        return replace(recipe, **changes)
    return recipe


def _timed(compute: Compute, work: Any) -> float:
    begun = time.perf_counter()
    work()
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return time.perf_counter() - begun


def _layers(recipe: Recipe, network: nn.Module) -> list[Layer]:
    """Every module without modules inside, by what it gives."""
    found: list[Layer] = []

    def note(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            size = sum(weight.numel() for weight in module.parameters())
            found.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), size))

        return hook

    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(note(name, module))
    with torch.inference_mode():
        example(recipe, network)
    return found


def _peak_mb(compute: Compute) -> float:
    if compute.device.type == "cuda":
        return torch.cuda.max_memory_reserved(compute.device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, else kilobytes
