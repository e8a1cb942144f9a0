"""Which values of scans stand for black and white."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.runtime.folders.sources import Inputs
    from dlkit.tasks import Model

_LOOKED_AT = 4  # files, to see what range their values have


def set_range(
    model: Model[Any, Any, Any], text: str | None, files: Inputs, console: Console
) -> None:
    """Set which values stand for black and white: as asked for, or as the first files look."""
    from dlkit import images
    from dlkit.errors import InputError
    from dlkit.ranges import parse_range
    from dlkit.tasks._levels import Ranged, fewer_bits

    if not isinstance(model, Ranged):
        return
    if text is not None:
        model.range = parse_range(text)
        return
    looked_at = []
    for source in itertools.islice(files(), _LOOKED_AT):
        with contextlib.suppress(InputError):
            looked_at.append(images.decode(source.read(), source.path))
    found = fewer_bits(looked_at)
    if found is None:  # of what comes later, the model refuses what holds fewer bits
        return
    model.range = found
    console.print(
        f"16-bit images hold no value above {found[1]}: taken as {found[1].bit_length()} bits, "
        f"--range 0:{found[1]}; for all 16 bits say --range 0:65535",
        style="yellow",
        soft_wrap=True,
    )
