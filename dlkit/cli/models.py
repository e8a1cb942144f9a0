"""dlkit models"""

from __future__ import annotations

EXAMPLE = "Example:  dlkit models"


def command() -> None:
    """List recipes and shipped bundles: task, parameters, GFLOP an input, its shape."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from dlkit.bundle import Bundle, shipped
    from dlkit.cli._extras import training_installed

    console = Console()
    bundles = Table("shipped bundle", "task", "precision", "what it is", box=SIMPLE_HEAD)
    for name in shipped():
        bundle = Bundle.open(name)
        about = str(bundle.origin.get("recipe", {}).get("about", ""))
        bundles.add_row(name, bundle.spec.task, bundle.spec.precision, about)
    console.print(bundles)
    with training_installed("list recipes"):
        from dlkit.training.summary import summaries

        # What it is needs room; a narrow terminal gets the numbers.
        wide = console.width >= 120
        recipes = Table(box=SIMPLE_HEAD)
        for name in ("recipe", "task", "parameters", "GFLOP", "input"):
            recipes.add_column(name, no_wrap=True)
        if wide:
            recipes.add_column("what it is")
        for row in summaries():
            recipes.add_row(
                row.name,
                row.task,
                f"{row.parameters:,}",
                f"{row.gflop:.4g}",
                "x".join(map(str, row.shape)),
                *([row.about] if wide else []),
            )
        console.print(recipes)


command.__name__ = "models"
