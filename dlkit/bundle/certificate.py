"""Certificate: what was measured of a bundle, against which reference, on which inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dlkit.errors import BundleError
from dlkit.typed import from_plain


@dataclass(frozen=True)
class Measured:
    """One way to run the bundle, beside the reference.

    Attributes:
        backend: its name; ``rounded`` is ONNX Runtime on the graph that rounds after each node.
        device: ``cpu`` or ``cuda``.
        precision: type that it computes in: the graph's, or the backend's own.
        sha256: hash of the file that was run: model.onnx or an engine.
        largest, mean: absolute difference of outputs, in the task's unit; of several the worst.
        finite: no NaN and no infinity.
        agreement: how alike the answers are, as the task has it.
        metrics: task metrics on the held-out inputs, by name.
        within: inside the tolerance.
        differing: share of elements that differ by more than the tolerance's largest.
        nan, infinite: elements that are so and should not be.
        channel, channel_error: the channel of an output that is furthest off, and its error as a
            share of its spread; nothing where the task's metrics say more.
    """

    backend: str
    device: str
    precision: str
    sha256: str
    largest: float
    mean: float
    finite: bool
    agreement: float
    metrics: Mapping[str, float]
    within: bool
    differing: float = 0.0
    nan: int = 0
    infinite: int = 0
    channel: str = ""
    channel_error: float = 0.0


@dataclass(frozen=True)
class Reference:
    """What a bundle was compared with: never itself.

    Attributes:
        name: for people, e.g. ``torch fp32, the run's weights``.
        sha256: hash of the checkpoint or file that holds it.
        metrics: its own task metrics.
        named: the bundle says itself that it was made of it.
    """

    name: str
    sha256: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    named: bool = True


@dataclass(frozen=True)
class Inputs:
    """What was put in.

    Attributes:
        name: of the data.
        count: inputs that were compared.
        sha256: hash of all of them.
        random: they were drawn at random: nobody knows what the answers should be.
        guess: task metrics that need no network.
    """

    name: str
    count: int
    sha256: str
    random: bool = False
    guess: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Certificate:
    """What ``dlkit verify`` measured.

    Attributes:
        onnx_sha256: hash of model.onnx.
        spec_sha256: hash of the spec: labels and sizes change an answer, too.
        date: ISO 8601, UTC.
        reference: what it was compared with.
        inputs: on what.
        tolerances: what was allowed, by precision.
        measured: one row a backend and device.
        refused: why the backends that could not load it did not, by name and device.
        versions: of the libraries that took part.
        hardware: where it was measured.
    """

    onnx_sha256: str
    spec_sha256: str
    date: str
    reference: Reference
    inputs: Inputs
    tolerances: Mapping[str, Any]
    measured: tuple[Measured, ...]
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    refused: Mapping[str, str] = field(default_factory=dict)

    def rows(self, sha256: str, backend: str | None = None) -> list[Measured]:
        """What was measured within tolerance of a file, by any backend or the one that is named."""
        return [
            row
            for row in self.measured
            if row.sha256 == sha256 and row.within and backend in (None, row.backend)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives the same certificate back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Certificate:
        """Read what ``to_json`` wrote.

        Raises:
            BundleError: a field is missing or of the wrong kind.
        """
        try:
            return from_plain(cls, data)
        except TypeError as error:
            raise BundleError(
                f"the certificate cannot be read: {error}", "Measure it again: dlkit verify"
            ) from error
