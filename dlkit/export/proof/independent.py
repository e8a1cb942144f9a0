"""Something to compare a bundle with, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dlkit.tasks import Feeds, Outputs


@dataclass(frozen=True)
class Independent:
    """Something to compare a bundle with.

    Attributes:
        name: for people, e.g. ``torch fp32, the run's weights``.
        sha256: hash of the file, or of the state, that holds it.
        run: outputs for batches of inputs.
        graph: it as a float32 graph.
        named: the bundle's origin says that it was made of it.
    """

    name: str
    sha256: str
    run: Callable[[Sequence[Feeds]], Outputs]
    graph: Callable[[], ir.Model]
    named: bool = True
