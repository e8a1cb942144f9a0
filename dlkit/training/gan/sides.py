"""Noisy images and clean ones of other people, to train on, and pairs that are kept out."""

from __future__ import annotations

from pathlib import Path

from dlkit.errors import InputError
from dlkit.mmwave.parameters_file import simulator
from dlkit.tasks.denoise.pairs import (
    HELD_OUT_SEED,
    SIMULATED,
    ValueRange,
    simulate_pairs,
    training_seeds,
)
from dlkit.tasks.denoise.unpaired import Unpaired, load_unpaired, simulate_unpaired
from dlkit.training.gan.recipe import CycleganRecipe
from dlkit.training.restore.held_out import training_pairs

_COLOURS = {0: None, 1: "grey", 3: "rgb"}


def unpaired_sides(recipe: CycleganRecipe, data: str) -> Unpaired:
    """Both sides of what a recipe trains on.

    Raises:
        UsageError: the recipe's seed or channels do not go with the data.
        InputError: the folder cannot be used.
    """
    parameters = simulator(data)
    if parameters is not None:
        size = (recipe.height, recipe.width)
        people = training_seeds(recipe.seed, 2 * recipe.pairs)
        found = simulate_unpaired(people, size, parameters=parameters)
        seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + recipe.held_out)
        return found.keeping_out(simulate_pairs(seeds, size, parameters=parameters))
    if not recipe.unpaired:
        pairs, held_out = training_pairs(recipe, data)
        if len(pairs.noisy) < 2:
            raise InputError(f"{data} has one pair to train on, two are needed", "Add pairs")
        half = len(pairs.noisy) // 2
        return Unpaired(pairs.noisy[:half], pairs.clean[half:], held_out, pairs.notes)
    if not Path(data).is_dir():
        raise InputError(f"there is no folder '{data}'", f"Give --data {SIMULATED} or a folder")
    values = ValueRange.parse(recipe.range)
    return load_unpaired(Path(data), _COLOURS[recipe.network.config.channels], values)
