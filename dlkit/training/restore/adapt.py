"""Adapt a trained network to another scanner by few pairs and few numbers, or leave it as it is.

Whole networks that are trained on few pairs learn the brushwork of who retouched them, and get
worse on others. So channels of a few layers are scaled and shifted, simulated scans are in every
step, and pairs that were left out decide whether, and by how much, anything is changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dlkit.errors import InputError, UsageError
from dlkit.mmwave.parameters_file import simulator
from dlkit.tasks.denoise.pairs import Pairs
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.tasks.denoise.score import psnr
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.trainer import Trainer
from dlkit.training.restore.crops import check_sizes, crops_loss, draw_crops, padded
from dlkit.training.restore.held_out import (
    channels_of,
    evaluate_denoiser,
    meaning_of,
    named,
    restore,
    simulated_like,
    training_pairs,
)
from dlkit.training.restore.recipe import AdaptRecipe

# How far from the weights that it began with, towards the adapted ones, the best is looked for.
STRENGTHS = (0.25, 0.5, 1.0)
_CLIP_NORM = 0.5


class Adapted(nn.Module):
    """A network, and a scale and a shift for each channel of some of its convolutions.

    Args:
        network: its weights are not trained.
        layers: names of the convolutions.
    """

    def __init__(self, network: nn.Module, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.layers = network.requires_grad_(False), layers
        self.strength = 1.0
        sizes = [len(network.get_parameter(f"{layer}.weight")) for layer in layers]
        self.scale = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        self.shift = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)

    def weights(self) -> dict[str, Tensor]:
        """What the convolutions' weights become, by name."""
        found = {}
        for layer, scale, shift in zip(self.layers, self.scale, self.shift, strict=True):
            weight, bias = (self.network.get_parameter(f"{layer}.{name}")
                            for name in ("weight", "bias"))  # fmt: skip
            factor = 1 + self.strength * scale
            found[f"{layer}.weight"] = weight * factor.view(-1, 1, 1, 1)
            found[f"{layer}.bias"] = bias * factor + self.strength * shift
        return found

    def forward(self, x: Tensor) -> Tensor:
        """As the network's."""
        y: Tensor = functional_call(self.network, self.weights(), (x,))
        return y

    def reset(self) -> None:
        """Back to the network as it is."""
        with torch.no_grad():
            for number in (*self.scale, *self.shift):
                number.zero_()


class AdaptTrainer(Trainer):
    """An epoch is one adaptation: to all parts but one in turn, and in the end to all pairs."""

    recipe: AdaptRecipe

    def __init__(self, recipe: AdaptRecipe, data: str, compute: Compute) -> None:
        if simulator(data) is not None:
            raise UsageError(
                "a network is adapted to pairs of another scanner", "Give --data FOLDER"
            )
        pairs, self.held_out = training_pairs(recipe, data)
        check_sizes(pairs, recipe.network.architecture.multiple_of)
        pairs = _distinct(pairs)
        filled = recipe.network.filled(channels=channels_of(pairs))
        where, self.dataset = named(data)
        self.recipe = recipe = replace(recipe, network=filled, data=where)
        self.compute, self.device = compute, compute.device
        self.fingerprint, self.notes = pairs.fingerprint(), pairs.notes
        self.multiple_of = filled.architecture.multiple_of
        self.parts, self.halved = _parts(pairs, recipe.folds), len(pairs.noisy) == 1
        self.epochs, self.steps_per_epoch = len(self.parts) + 1, recipe.steps
        simulated = simulated_like(recipe)
        half = recipe.pairs // 2
        self.mixed_in = _slice(simulated, slice(half))
        self.others = _slice(simulated, slice(half, None))
        self.network = filled.build().to(self.device)
        self.adapted = Adapted(self.network, filled.architecture.adapted).to(self.device)
        self.model = PixelDenoiser(self.adapted, filled.config.channels)
        self.epoch = -1
        self.gains: list[list[float]] = []  # of each epoch, for each strength, in dB
        numbers = [*self.adapted.scale, *self.adapted.shift]
        optimizer = torch.optim.AdamW(
            numbers, recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.forward, self.optimizer = compute.setup(self.adapted, optimizer)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """The weights that are adapted."""
        self.network.load_state_dict(weights)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """One step of the epoch's adaptation."""
        if index == 0:
            self.adapted.reset()
            self.optimizer.state.clear()
        self.epoch = epoch
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * (1 - index / self.recipe.steps)
        known = [part for place, part in enumerate(self.parts) if place != epoch]
        noisy, clean, weight = draw_crops(
            _joined(known), self.mixed_in, self.recipe, self.multiple_of, self.device
        )
        self.optimizer.zero_grad(set_to_none=True)

        def loss_of(part: slice) -> Tensor:
            restored = self.forward(padded(noisy[part], self.multiple_of))
            return crops_loss(restored, clean[part], weight[part], self.recipe)

        loss = self.compute.backward(self.forward, len(noisy), loss_of)
        self.compute.clip(self.forward, self.optimizer, _CLIP_NORM)
        self.optimizer.step()
        return {"loss": loss}

    def evaluate(self) -> Mapping[str, float]:
        """What the part that was left out gains, in dB of PSNR; in the end, what simulated scans
        do."""
        if self.epoch < 0:
            return {}
        out = self.parts[self.epoch] if self.epoch < len(self.parts) else self.others
        before, *after = (self._psnr(out, strength) for strength in (0.0, *STRENGTHS))
        self.gains = [*self.gains[: self.epoch], [one - before for one in after]]
        return {"gain": self.gains[-1][-1]}

    def finish(self, folder: Path) -> Mapping[str, float]:
        """Choose how much of the adaptation to all pairs is taken: none where nothing is gained."""
        *left_out, others = self.gains
        allowed = self.recipe.most_lost if self.halved else self.recipe.simulated_lost
        best = 0.0
        found = {"strength": 0.0, "gain": 0.0, "least_gain": 0.0, "others": 0.0}
        for place, strength in enumerate(STRENGTHS):
            parts = [gains[place] for gains in left_out]
            mean = sum(parts) / len(parts)
            loses = min(parts) < -self.recipe.most_lost or others[place] < -allowed
            if loses or mean < max(self.recipe.least_gain, best):
                continue
            best = mean
            found = {"strength": strength, "gain": mean, "least_gain": min(parts),
                     "others": others[place]}  # fmt: skip
        self.adapted.strength = found["strength"]
        if found["strength"]:
            with torch.no_grad():
                self.network.load_state_dict(
                    {**self.network.state_dict(), **self.adapted.weights()}
                )
        if self.held_out.noisy:
            model = PixelDenoiser(self.network, self.recipe.network.config.channels)
            found.update(evaluate_denoiser(model, self.held_out, self.multiple_of, self.device))
        return found

    def meaning(self) -> dict[str, Any]:
        """Channels of the images, and the range of their files."""
        return meaning_of(self.recipe)

    def state(self) -> dict[str, Any]:
        """The numbers of the current adaptation, their optimizer, and what was gained so far."""
        numbers = [one.detach().clone() for one in (*self.adapted.scale, *self.adapted.shift)]
        return {"numbers": numbers, "optimizer": self.optimizer.state_dict(), "gains": self.gains}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        with torch.no_grad():
            numbers = (*self.adapted.scale, *self.adapted.shift)
            for number, stored in zip(numbers, state["numbers"], strict=True):
                number.copy_(stored)
        self.optimizer.load_state_dict(state["optimizer"])
        self.gains = [list(gains) for gains in state["gains"]]

    def _psnr(self, pairs: Pairs, strength: float) -> float:
        self.adapted.strength = strength
        restored = restore(self.model, pairs, self.multiple_of, self.device)
        self.adapted.strength = 1.0
        found = [psnr(clean, one) for clean, one in zip(pairs.clean, restored, strict=True)]
        return sum(found) / len(found)


def _parts(pairs: Pairs, folds: int) -> list[Pairs]:
    """Parts to leave out in turn: of several pairs some each, of a single one its halves.

    Raises:
        InputError: the single pair is too narrow to be halved.
    """
    count = len(pairs.noisy)
    if count > 1:
        return [_slice(pairs, slice(place, None, folds)) for place in range(min(folds, count))]
    width = pairs.noisy[0].shape[1]
    if width < 64:
        raise InputError(f"a single pair, {width} pixels wide, has no halves", "Add pairs")
    halves = []
    for cut in (slice(0, width // 2), slice(width // 2, None)):
        noisy, clean, objects = (
            [one[:, cut] for one in side or []]
            for side in (pairs.noisy, pairs.clean, pairs.objects)
        )
        halves.append(Pairs(noisy, clean, objects or None))
    return halves


def _distinct(pairs: Pairs) -> Pairs:
    """Without copies of a scan or of its clean picture, which would vouch for each other."""
    kept: list[int] = []
    seen: set[bytes] = set()
    for place, pair in enumerate(zip(pairs.noisy, pairs.clean, strict=True)):
        sides = {hashlib.sha256(one.tobytes()).digest() for one in pair}
        if seen.isdisjoint(sides):
            kept.append(place)
        seen |= sides
    if len(kept) == len(pairs.noisy):
        return pairs
    noisy, clean, objects = (
        [side[place] for place in kept] if side else None
        for side in (pairs.noisy, pairs.clean, pairs.objects)
    )
    copies, count = len(pairs.noisy) - len(kept), len(pairs.noisy)
    note = f"{copies} of {count} pairs show what others show, and are left out"
    return Pairs(noisy or [], clean or [], objects, notes=[*pairs.notes, note])


def _slice(pairs: Pairs, some: slice) -> Pairs:
    objects = pairs.objects[some] if pairs.objects else None
    return Pairs(pairs.noisy[some], pairs.clean[some], objects)


def _joined(parts: list[Pairs]) -> Pairs:
    noisy, clean = ([one for part in parts for one in getattr(part, side)]
                    for side in ("noisy", "clean"))  # fmt: skip
    marked = all(part.objects for part in parts)
    objects = [one for part in parts for one in part.objects or []]
    return Pairs(noisy, clean, objects if marked else None)
