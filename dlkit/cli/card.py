"""dlkit card"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.cli import _options

EXAMPLE = "Example:  dlkit card runs/lenet/bundle-fp16 --out README.md"


def command(
    bundle: Annotated[
        str, typer.Argument(help="A bundle's folder, or a shipped one's name.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="A file, e.g. BUNDLE/README.md.", show_default="the screen")
    ] = None,
    overwrite: _options.Replace = False,
) -> None:
    """Write a bundle's model card: data, metric, certificate, limits, all that is known of it."""
    from dlkit.atomic import check_file, check_new, write_new
    from dlkit.bundle import Bundle
    from dlkit.errors import BundleError
    from dlkit.hub.card import model_card

    opened = Bundle.open(bundle)
    text = model_card(opened)
    if out is None:
        typer.echo(text, nl=False)
        return
    check_file(out)
    check_new(out, overwrite)
    if opened.shipped and opened.path.resolve() in out.resolve().parents:
        raise BundleError(f"{opened.spec.name} ships with dlkit and is read-only", "Another --out")
    write_new(out, text.encode())
    typer.echo(out)


command.__name__ = "card"
