"""The two bundles that find and read digits on paper."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import BackendError, InputError
from dlkit.tasks._model import Answers, Session

FINDER, READER = "digit_finder", "digit_reader"  # bundles that ship with dlkit
_READ_AT_ONCE = 64  # crops


class Paper:
    """The networks that find and read digits on paper, opened when they are first needed."""

    def __init__(self, opened: Answers) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def find(self, pixels: images.UInt8) -> NDArray[np.float32]:
        """See ``dlkit.reading.reading.Networks``."""
        return _finite(self._session(FINDER)(pixels))

    def read(self, crops: images.UInt8) -> NDArray[np.float32]:
        """See ``dlkit.reading.reading.Networks``."""
        session = self._session(READER)
        parts = [crops[at : at + _READ_AT_ONCE] for at in range(0, len(crops), _READ_AT_ONCE)]
        return _finite(np.concatenate([session(part) for part in parts]))

    def close(self) -> None:
        """Let go of them."""
        for session in self._sessions.values():
            session.close()

    def _session(self, name: str) -> Session:
        with self._lock:
            if name not in self._sessions:
                try:
                    self._sessions[name] = self._opened.beside(name)
                except BackendError as error:
                    raise BackendError(
                        f"{name}, which reads photographs and pages, cannot run so ({error.what})",
                        "Choose another --backend for them",
                    ) from error
            return self._sessions[name]


def _finite(answer: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(answer).all():
        raise InputError("a network for paper gave NaN or infinity", "Check it: dlkit verify")
    return answer
