"""What ``dlkit train`` tells of recipes: the list, and what one of them takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlkit.training.engine.fabric import Hardware
    from dlkit.training.recipe import Recipe


def show_recipes() -> None:
    """Every recipe with its task, size and what it is."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from dlkit.cli._extras import training_installed

    with training_installed("list recipes"):
        from dlkit.training.recipe import RECIPES
        from dlkit.training.summary import parameters
    table = Table("recipe", "task", box=SIMPLE_HEAD)
    table.add_column("parameters", justify="right")
    table.add_column("what it is")
    for name in RECIPES.names():
        recipe = RECIPES.load(name)
        kind = recipe.network.architecture
        table.add_row(name, kind.task.name, f"{parameters(recipe):,}", recipe.about)
    Console().print(table)


def show_rehearsal(recipe: Recipe, data: str | None, hardware: Hardware) -> None:
    """Layers, arithmetic, time and memory of a recipe, by a few real steps."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from dlkit.cli._rank import is_first
    from dlkit.training.rehearsal import rehearse

    found = rehearse(recipe, data, hardware)
    console = Console(quiet=not is_first())
    table = Table("layer", "kind", box=SIMPLE_HEAD)
    table.add_column("output", justify="right")
    table.add_column("parameters", justify="right")
    for layer in found.layers:
        shape = " x ".join(map(str, layer.output))
        table.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}")
    console.print(table)
    shape = " x ".join(map(str, found.shape))
    for line in (
        *(f"note: {note}" for note in found.notes),
        f"{found.parameters:,} parameters, {found.mmacs:,.1f} million multiply-adds an input of "
        f"{shape}",
        f"{found.steps:,} steps of {1e3 * found.seconds_a_step:.1f} ms, evaluations between: "
        f"{_minutes(found.seconds)}, once the data is there",
        f"{found.peak_mb:,.0f} MB of memory at most in the steps made",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} seconds"
    return f"about {seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
