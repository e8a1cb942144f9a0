"""dlkit verify"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  dlkit verify runs/lenet_relu/bundle-fp16"


def command(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped one.")],
    run: Annotated[
        Path | None,
        typer.Option(
            help="The run that it was exported from.",
            show_default="the folder around the bundle",
        ),
    ] = None,
) -> None:
    """Compare torch with every backend that can run the bundle here."""
    from rich.console import Console
    from rich.table import Table

    from dlkit.bundle import Bundle
    from dlkit.cli._extras import training_installed
    from dlkit.errors import VerifyError

    with training_installed("verify"):
        from dlkit.export.verify import TOLERANCES, verify
    opened = Bundle.open(bundle)
    differences = verify(opened, run)
    most, mean = TOLERANCES[opened.spec.task, opened.spec.precision]
    unit = "grey levels" if opened.spec.task == "denoise" else "probability"
    table = Table("backend", "device", "against", "largest", "mean", "finite", "within")
    for row in differences:
        table.add_row(
            row.backend,
            row.device,
            row.reference,
            f"{row.largest:.3g}",
            f"{row.mean:.3g}",
            "yes" if row.finite else "NO",
            "yes" if row.within else "NO",
        )
    console = Console()
    console.print(table)
    console.print(f"difference in {unit}; allowed: {most:g} largest, {mean:g} mean")
    if bad := [row.backend for row in differences if not row.within]:
        raise VerifyError(
            f"{opened.path} is out of tolerance on {', '.join(bad)}: export it as fp32, "
            "or look at the network's largest activations"
        )


command.__name__ = "verify"
