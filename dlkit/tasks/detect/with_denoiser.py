"""Both answers for a scan in one pass: cleaned, and what is hidden in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import DlkitError, InputError
from dlkit.tasks._levels import Range
from dlkit.tasks._model import Model
from dlkit.tasks._session import Session
from dlkit.tasks.denoise.model import Denoiser
from dlkit.tasks.detect.model import Detector
from dlkit.tasks.detect.objects import Detection


class Both(NamedTuple):
    """The answers for one scan."""

    cleaned: images.Image
    found: Detection


class _Note(NamedTuple):
    denoiser: images.Image
    pixels: images.UInt8
    size: tuple[int, int]


class DenoiserWithObjects(Model[images.Image, _Note, Both]):
    """A denoiser and a detector that answer for the same scans: each is read once.

    Args:
        denoiser: its bundle and its session are this model's.
        detector: runs in the same threads; ``close`` closes it alone.
    """

    suffixes = images.SUFFIXES

    def __init__(self, denoiser: Denoiser, detector: Detector) -> None:
        super().__init__(denoiser.bundle, denoiser.opened)
        self.denoiser, self.detector = denoiser, detector

    @property
    def range(self) -> Range | None:
        """Values that stand for black and white."""
        return self.denoiser.range

    @range.setter
    def range(self, values: Range | None) -> None:
        self.denoiser.range = self.detector.range = values

    @property
    def setting(self) -> str:
        """Of both, and what finds the objects."""
        detector = self.detector
        session = detector.opened.session
        own = f"{session.sha256} {detector.bundle.spec_sha256} {session.backend}"
        return f"{self.denoiser.setting} objects {own} {detector.setting}"

    def close(self) -> None:
        """Let go of the detector; the denoiser is closed by itself."""
        self.detector.close()

    def decode(self, data: bytes, path: str) -> images.Image:
        """An image, upright."""
        return self.denoiser.decode(data, path)

    def decode_all(self, data: bytes, path: str, frames: str) -> list[images.Image]:
        """The frames or pages of a file."""
        return self.denoiser.decode_all(data, path, frames)

    def prepare(self, sample: images.Image) -> tuple[images.UInt8, _Note]:
        """As the denoiser takes it; the note has it as the detector takes it."""
        pixels, note = self.denoiser.prepare(sample)
        return pixels, _Note(note, *self.detector.prepare(sample))

    def infer(self, session: Session, batch: NDArray[Any]) -> NDArray[Any]:
        """The denoiser's."""
        return self.denoiser.infer(session, batch)

    def finish(self, output: NDArray[Any], note: _Note) -> Both:
        """Both answers."""
        (found,) = self.detector.opened.answer(self.detector, [(note.pixels, note.size)], 1)
        if isinstance(found, DlkitError):
            raise InputError(f"finding objects failed: {found.what}", found.mend) from found
        return Both(self.denoiser.finish(output, note.denoiser), found)

    def output_name(self, name: str) -> str:
        """As the input's."""
        return self.denoiser.output_name(name)

    def encode(self, answer: Both, name: str) -> bytes:
        """The cleaned image."""
        return self.denoiser.encode(answer.cleaned, name)

    def encode_all(self, answers: Sequence[Both], name: str) -> bytes:
        """The cleaned frames."""
        return self.denoiser.encode_all([one.cleaned for one in answers], name)
