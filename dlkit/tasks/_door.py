"""How a model answers a single file for people, e.g. over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Reply(NamedTuple):
    """The answer of a door: a file's type, as HTTP names it, and its bytes."""

    media_type: str
    content: bytes


@dataclass(frozen=True)
class Door:
    """What can be asked of ``Model.reply``.

    Attributes:
        about: what it does, in a line.
        takes: ``image``, or empty where it takes no file.
        gives: type of the answer, as HTTP names it.
        options: meaning of each option, by its name.
    """

    about: str
    takes: str
    gives: str
    options: Mapping[str, str] = field(default_factory=dict)
