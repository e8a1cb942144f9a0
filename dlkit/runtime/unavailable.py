"""Unavailable: why something cannot run here, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dlkit.errors import UsageError


@dataclass(frozen=True)
class Unavailable:
    """Why something cannot run here. It is no error until somebody asks for that very thing.

    Attributes:
        what: what is missing or does not fit; without its full stop.
        mend: what to do about it; empty where nothing helps, or ``what`` says it already.
    """

    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.mend}" if self.mend else self.what


def several(reasons: Mapping[str, Unavailable]) -> Unavailable:
    """Why none of several can run, by their names; with a single one, its mend apart."""
    if len(reasons) == 1:
        ((name, reason),) = reasons.items()
        return Unavailable(f"{name}: {reason.what}", reason.mend)
    return Unavailable("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))


def closed() -> UsageError:
    """What a session raises that is asked after it was closed."""
    return UsageError("the model was closed", "Load it again, or ask it before")
