"""What the judge found of conversions, read: which are good, and which differs least."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

PEERS = ("onnxruntime", "onnxconverter-common", "polygraphy", "autocast")
NEEDED = 0.95
# Differences by less than this factor are chance: it is another one on other inputs.
SAME = 1.5
Found = Mapping[str, Any]


def verdict(found: Found) -> str:
    """A few words for the progress line."""
    if not found["ok"]:
        return "refused"
    bad = [step for step, one in found.get("steps", {}).items() if not one["ok"]]
    return f"{gap(found, 'mean')}{' not ' + '/'.join(bad) if bad else ''}"


def judged(found: Found, step: str) -> Found:
    """What a step found; also where it was not taken."""
    return found.get("steps", {}).get(step, {"ok": False, "why": "not tried"})


def gap(found: Found, which: str) -> str:
    """The ``mean`` or ``largest`` difference, for people."""
    one = judged(found, "rounded")
    if not one["ok"]:
        return "-"
    return "other shapes" if one[which] is None else number(one[which])


def number(value: float) -> str:
    """As short as it can be."""
    return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-").replace("e+00", "")


def share_of(found: Found, kind: str, what: str) -> float | None:
    """Share of the multiply-adds or weights in a type; 1 where there is nothing to convert."""
    one = judged(found, "shares")
    return None if not one["ok"] else one[what].get(kind, 0.0) if one[what] else 1.0


def is_half(found: Found, kind: str = "fp16") -> bool:
    """Whether it is what it is called."""
    shares = [share_of(found, kind, what) for what in ("multiply_adds", "weights")]
    return all(one is not None and one >= NEEDED for one in shares)


def is_good(found: Found) -> bool:
    """Whether a conversion is a valid graph, in half precision, of finite numbers."""
    return bool(
        found["ok"] and judged(found, "valid")["ok"] and is_half(found)
        and judged(found, "rounded")["ok"] and judged(found, "rounded")["mean"] is not None
        and not judged(found, "rounded")["broken"]
    )  # fmt: skip


def best_peer(found: Mapping[str, Found]) -> str | None:
    """The peer with the smallest mean difference among those whose graph is valid and half."""
    good = [name for name in PEERS if name in found and is_good(found[name])]
    return min(good, key=lambda name: judged(found[name], "rounded")["mean"], default=None)


def close_ones(found: Mapping[str, Found]) -> list[str]:
    """dlkit's graph and the best peer's, where dlkit's differs a little more: by chance?"""
    peer = best_peer(found)
    if peer is None or not found.get("dlkit-fp16", {}).get("ok"):
        return []
    mine, theirs = (judged(found[one], "rounded").get("mean") for one in ("dlkit-fp16", peer))
    above = mine is not None and theirs < mine <= theirs * SAME
    return ["dlkit-fp16", peer] if above else []


def beyond_chance(found: Mapping[str, Found], names: list[str]) -> tuple[float, float] | None:
    """By how much dlkit's graph differs more on further calls, and the standard error, in parts of
    the peer's difference; None: not tried."""
    steps = [judged(found[name], "again") for name in names]
    if not all(one["ok"] for one in steps):
        return None
    mine, theirs = (np.array(one["means"]) for one in steps)
    more, whole = mine - theirs, float(theirs.mean()) or 1.0
    return float(more.mean()) / whole, float(more.std(ddof=1)) / len(more) ** 0.5 / whole
