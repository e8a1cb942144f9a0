"""Digits as the shipped recogniser sees them: its last hidden layer, and its answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.graph.features import NAME, with_features
from dlkit.images import UInt8
from dlkit.runtime.session import open_session
from dlkit.tasks.recognize import TASK

_BATCH = 256


@dataclass(frozen=True)
class Seen:
    """What the recogniser makes of digits.

    Attributes:
        features: float32 (N, features).
        probabilities: float32 (N, 10).
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    @property
    def answers(self) -> NDArray[np.int64]:
        """The most probable class of each."""
        return np.asarray(self.probabilities.argmax(axis=1))


class Recogniser:
    """The shipped recogniser of digits, with its features; use it with ``with``.

    Attributes:
        about: what it is, for settings of a report.
    """

    def __init__(self) -> None:
        assert TASK.default_bundle is not None
        bundle = Bundle.open(TASK.default_bundle)
        self.about = f"{bundle.spec.name}, model.onnx {bundle.sha256[:12]}"
        graph, features = with_features(bundle.onnx)
        spec = replace(bundle.spec, outputs=(*bundle.spec.outputs, features))
        self._input, self._output = spec.input.name, bundle.spec.output.name
        with TemporaryDirectory() as folder:
            more = Bundle.create(Path(folder) / "features", graph, spec, {})
            self._session = open_session(more, device="cpu").session

    def __call__(self, digits: UInt8) -> Seen:
        """uint8 (N, 28, 28)."""
        found: list[dict[str, NDArray[Any]]] = [
            self._session.run({self._input: np.ascontiguousarray(digits[at : at + _BATCH])})
            for at in range(0, len(digits), _BATCH)
        ]
        return Seen(
            *(np.concatenate([one[name] for one in found]) for name in (NAME, self._output))
        )

    def __enter__(self) -> Recogniser:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
