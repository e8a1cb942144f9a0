"""The command line that does again what was asked for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer


def as_given(context: typer.Context, but: Collection[str] = ()) -> list[str]:
    """The command and what was said to it.

    Args:
        but: names of parameters that are left out.
    """
    words = [context.command.name or ""]
    for one in context.command.params:
        name = one.name or ""
        source = context.get_parameter_source(name)
        if name not in but and source is not None and source.name == "COMMANDLINE":
            words += said(one, context.params[name])
    return words


def said(one: Any, value: Any) -> list[str]:
    """A parameter of a command (Click's) and its value or values, as a command line has them."""
    option = [] if one.param_type_name == "argument" else [max(one.opts, key=len)]
    values = value if isinstance(value, list | tuple) else [value]
    if value is True:
        return option
    return [word for each in values for word in (*option, str(each))]
