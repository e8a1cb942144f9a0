"""dlkit push"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  dlkit push runs/lenet/bundle-fp16 hf://me/lenet"


def command(
    bundle: Annotated[
        str, typer.Argument(help="A bundle's folder, or a shipped one's name.", show_default=False)
    ],
    to: Annotated[
        str, typer.Argument(help="hf://USER/NAME, or @BRANCH of it.", show_default=False)
    ],
    card: Annotated[
        Path | None,
        typer.Option(help="README.md of your own.", show_default="what dlkit card writes"),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="All may see it; of a repository that is new.")
    ] = False,
) -> None:
    """Put a bundle on Hugging Face's hub, with its model card, as one commit.

    Engines stay here. A new repository is private unless you say otherwise. The
    token is HF_TOKEN, or that of who is logged in.
    """
    from dlkit.bundle import Bundle
    from dlkit.cli._console import notes, plain
    from dlkit.errors import UsageError
    from dlkit.hub.remote import Repository, push
    from dlkit.runtime.advice import how_to_verify

    repository = Repository.parse(to)
    opened = Bundle.open(bundle)
    text = None
    if card is not None:
        try:
            text = card.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"--card {card} cannot be read ({error})") from error
    console = notes()
    if why := opened.uncertified(opened.sha256):
        line = f"warning: {why}. Measure it: {how_to_verify(opened)}"
        console.print(plain(line), style="yellow", highlight=False, soft_wrap=True)
    commit = push(opened, repository, text, public)
    console.print(f"commit {plain(commit)}, SHA-256 {opened.sha256}", highlight=False)
    typer.echo(str(repository))


command.__name__ = "push"
