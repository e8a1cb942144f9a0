"""What ``dlkit verify`` and ``dlkit.verify`` do: measure, then certify or compare alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from dlkit.bundle import Bundle, Certificate
from dlkit.export.left_alone import left_alone
from dlkit.export.lower import Say, silent
from dlkit.export.proof.inputs import Data
from dlkit.export.proof.reference import Against
from dlkit.export.proof.subject import subject
from dlkit.export.proof.verify import certify, check_within, measure, weaker
from dlkit.export.source import own_copy
from dlkit.training.engine.run import Run


@dataclass(frozen=True)
class Verified:
    """What was measured, and what became of it.

    Attributes:
        bundle: that was measured; None of what is no bundle, which gets no certificate.
        kept: why the certificate that was there stays; None where the new one was written.
    """

    found: Certificate
    bundle: Bundle | None = None
    kept: str | None = None


def verified(
    what: str | Path | Bundle | Run | nn.Module,
    against: Against | None = None,
    data: Data | None = None,
    count: int | None = None,
    weights: Path | str | None = None,
    out: Path | None = None,
    replace: bool = False,
    say: Say = silent,
    begun: Callable[[Bundle, Bundle], None] = lambda given, ours: None,
    seen: Callable[[Bundle, Certificate], None] = lambda bundle, found: None,
) -> Verified:
    """Measure, and write the certificate; see ``dlkit.verify``.

    Args:
        begun: called with the bundle that was given and the one that is measured, which may be its
            copy.
        seen: called with what was measured, before it is judged.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as modules:
        for one in (what, against):
            if isinstance(one, nn.Module):
                modules.enter_context(left_alone(one))
        opened = subject(what, against, Path(folder), weights)
        made = Path(folder) in opened.path.parents
        ours = opened if made else own_copy(opened, out)
        begun(opened, ours)
        found = measure(ours, against, data, count, weights, say, to_certify=not made)
        seen(ours, found)
        if made:
            check_within(str(what), ours, found)
            return Verified(found)
        less = None if replace else weaker(ours, found)
        certify(ours, found, replace)
        return Verified(found, ours, less)
