"""The command line. Heavy libraries are imported inside the commands only."""

from __future__ import annotations

import itertools
from typing import Any

import typer
from typer.core import TyperGroup

from dlkit.cli import (
    bench,
    card,
    denoise,
    detect,
    doctor,
    evaluate,
    export,
    generate,
    inspect,
    models,
    pack,
    pull,
    push,
    recognize,
    run,
    serve,
    simulate,
    train,
    verify,
)
from dlkit.errors import DlkitError, UsageError


class _Commands(TyperGroup):
    """All commands: what holds for each of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty texts, which no option and no argument takes: ``Path("")`` is this folder.

        Raises:
            UsageError: there is one.
        """
        for before, text in itertools.pairwise(["dlkit", *args]):
            option, given, value = text.partition("=")
            if not text or (option.startswith("--") and given and not value):
                where = f"follows '{before}'" if not text else f"is given to {option}"
                raise UsageError(
                    f"an empty text {where}, expected a value",
                    "Give one, or leave the option out; a shell variable may not be set",
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Say that it was interrupted, which Typer does not."""
        from dlkit.cli._console import notes

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            notes().print("dlkit: interrupted; files that were written are whole", highlight=False)
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Small vision networks from PyTorch to production.\n\n"
    "Right after installation:  dlkit recognize digits/   dlkit denoise scans/\n\n"
    "Your own:  dlkit train lenet_relu,  dlkit export runs/lenet_relu,  "
    "dlkit verify runs/lenet_relu/bundle-fp32,  "
    "dlkit recognize digits/ --model runs/lenet_relu/bundle-fp32",
    epilog="Exit codes: 0 done, 1 some inputs failed, 2 wrong use or environment, 130 interrupted.",
)
for module in (
    models,
    train,
    export,
    inspect,
    verify,
    evaluate,
    recognize,
    denoise,
    detect,
    generate,
    run,
    pack,
    serve,
    card,
    push,
    pull,
    bench,
    doctor,
):
    app.command(epilog=module.EXAMPLE)(module.command)
app.add_typer(simulate.group)


def run_command(command: list[str]) -> str | None:
    """Run a command in a worker of a cluster; gives why it cannot run. Inputs that fail are
    rows."""
    try:
        app(command, standalone_mode=False)
    except DlkitError as error:
        return str(error)
    return None


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from dlkit import __version__

        typer.echo(__version__)
        raise typer.Exit()
    from dlkit import environment

    environment.check()
    context.obj = run_command  # commands that hand their work on cannot import what imports them
