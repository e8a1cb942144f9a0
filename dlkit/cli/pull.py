"""dlkit pull"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  dlkit pull hf://me/lenet --out lenet"


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FROM", help="hf://USER/NAME, or @REVISION of it.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the bundle.", show_default="NAME")
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(help="Of the graph and its weights: refuse another.", show_default=False),
    ] = None,
) -> None:
    """Get a bundle from Hugging Face's hub.

    Only a bundle's own files are fetched, none that holds code, and its hashes are checked.
    """
    from dlkit.cli._console import notes, plain
    from dlkit.hub.remote import Repository, pull
    from dlkit.runtime.advice import how_to_verify

    repository = Repository.parse(source)
    target = out or Path(repository.name.partition("/")[2])
    bundle, commit = pull(repository, target, sha256)
    console = notes()
    console.print(f"commit {plain(commit)}, SHA-256 {bundle.sha256}", highlight=False)
    if why := bundle.uncertified(bundle.sha256):
        line = f"warning: {why}. Measure it: {how_to_verify(bundle)}"
        console.print(plain(line), style="yellow", highlight=False, soft_wrap=True)
    typer.echo(target)


command.__name__ = "pull"
