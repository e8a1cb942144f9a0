"""The two bundles that find and read digits on paper."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import SHIPPED, Bundle
from dlkit.errors import BackendError, BundleError, InputError
from dlkit.tasks._model import Answers
from dlkit.tasks._session import Session

FINDER, READER = "digit_finder", "digit_reader"  # bundles that ship with dlkit
_READ_AT_ONCE = 64  # crops


class Paper:
    """The networks that find and read digits on paper, opened when they are first needed.

    They are bundles that ship with dlkit, or those of the same names in the folder that the
    bundle for squares is in, which may have engines.
    """

    def __init__(self, bundle: Bundle, opened: Answers) -> None:
        self._folder, self._opened = bundle.path.parent, opened
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def find(self, pixels: images.UInt8) -> NDArray[np.float32]:
        """See ``dlkit.reading.signs.Networks``."""
        return _finite(self._session(FINDER)(pixels))

    def read(self, crops: images.UInt8) -> NDArray[np.float32]:
        """See ``dlkit.reading.signs.Networks``."""
        session = self._session(READER)
        parts = [crops[at : at + _READ_AT_ONCE] for at in range(0, len(crops), _READ_AT_ONCE)]
        return _finite(np.concatenate([session(part) for part in parts]))

    @property
    def setting(self) -> str:
        """Which networks they are."""
        return " ".join(bundle.sha256[:16] for bundle in self.bundles)

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """Theirs."""
        return self._bundle(FINDER), self._bundle(READER)

    def close(self) -> None:
        """Let go of them."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def _session(self, name: str) -> Session:
        with self._lock:
            if name not in self._sessions:
                try:
                    self._sessions[name] = self._opened.beside(self._bundle(name))
                except BackendError as error:
                    raise BackendError(
                        f"{name}, which reads photographs and pages, cannot run so ({error.what})",
                        "Choose another --backend for them, or put one that can beside the bundle: "
                        f"dlkit export {name} --out {self._folder / name}",
                    ) from error
            return self._sessions[name]

    def _bundle(self, name: str) -> Bundle:
        """The one beside the bundle for squares, else that which ships with dlkit.

        Raises:
            BundleError: the one beside it is for something else.
        """
        there = self._folder / name
        if there == SHIPPED / name or not (there / "model.json").is_file():
            return Bundle.open(SHIPPED / name)
        found = Bundle.open(there)
        check_form(found, name)
        return found


def check_form(bundle: Bundle, name: str) -> None:
    """Refuse a bundle that cannot take the place of the one of that name that ships with dlkit.

    Raises:
        BundleError: it is for something else.
    """
    if _form(bundle) != _form(Bundle.open(SHIPPED / name)):
        raise BundleError(
            f"{bundle.path} takes and gives something else than {name}, which ships with dlkit",
            "Give that folder another name, or name another bundle",
        )


def _form(bundle: Bundle) -> tuple[object, ...]:
    spec = bundle.spec
    shapes = [(one.dtype, one.shape) for one in (*spec.inputs, *spec.outputs)]
    return shapes, spec.labels


def _finite(answer: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(answer).all():
        raise InputError("a network for paper gave NaN or infinity", "Check it: dlkit verify")
    return answer
