"""The values that stand for black and white, as people write them."""

from __future__ import annotations

import math

from dlkit.errors import UsageError


def parse_range(text: str) -> tuple[float, float]:
    """``"0:4095"`` as (0, 4095).

    Raises:
        UsageError: something else.
    """
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (0.0, 0.0)
    # Python's numbers may have underscores, 1_0 for 10; people's do not
    if "_" in text or not (math.isfinite(found[0]) and found[0] < found[1] < math.inf):
        raise UsageError(f"--range is '{text}', expected LOW:HIGH, e.g. 0:4095")
    return found
