"""What the doctor found, as plain values; ``dataclasses.asdict`` of an Examination is its JSON."""

from __future__ import annotations

from dataclasses import dataclass

from dlkit.runtime.gpu.driver import Driver


@dataclass(frozen=True)
class Finding:
    """One thing that the user should know.

    Attributes:
        about: the part that it is about, e.g. ``onnxruntime`` or a bundle's path.
        what: what is wrong or worth knowing.
        mend: what to do about it, often a command.
        problem: the user should mend it; else it is a note.
    """

    about: str
    what: str
    mend: str
    problem: bool = True


@dataclass(frozen=True)
class Machine:
    """Python, system, processor, memory.

    Attributes:
        cores: logical processors of the machine.
        cores_allowed: that this process may use: its affinity and the control group's quota, which
            may be a fraction.
        memory: bytes of the machine; None where the system does not tell.
        memory_allowed: bytes that this process may use: the control group's limit, if any.
    """

    python: str
    executable: str
    system: str
    architecture: str
    processor: str
    cores: int
    cores_allowed: float
    memory: int | None
    memory_allowed: int | None


@dataclass(frozen=True)
class Library:
    """A library that dlkit uses.

    Attributes:
        module: the name to import.
        wheels: installed distributions that carry it, e.g. ``onnxruntime-gpu 1.31.1``.
        version: the first wheel's, else what the module says; None: missing.
        imports: True or False where it was tried; None where it was not: it is missing, or slow to
            import.
        error: the import's error.
        purpose: what dlkit needs it for.
        install: how to get it.
    """

    module: str
    wheels: list[str]
    version: str | None
    imports: bool | None
    error: str | None
    purpose: str
    install: str


@dataclass(frozen=True)
class EngineState:
    """An engine in a bundle: whether it fits this machine, and why not."""

    file: str
    fits: bool
    reason: str | None


@dataclass(frozen=True)
class BundleState:
    """A bundle that could be opened.

    Attributes:
        name: as it was asked for.
        verified: its certificate covers model.onnx as it is.
    """

    name: str
    path: str
    task: str
    precision: str
    verified: bool
    engines: list[EngineState]


@dataclass(frozen=True)
class Attempt:
    """Whether a backend opened a bundle on a device, in truth; and why not, with the mend."""

    backend: str
    device: str
    bundle: str
    runs: bool
    reason: str | None
    mend: str = ""


@dataclass(frozen=True)
class Examination:
    """All of it.

    Attributes:
        machine, driver: None when the look itself failed, which is then a finding.
        driver_version: of NVIDIA's driver; None where there is none.
    """

    machine: Machine | None
    driver: Driver | None
    driver_version: str | None
    libraries: list[Library]
    bundles: list[BundleState]
    attempts: list[Attempt]
    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        """What the user should mend."""
        return [finding for finding in self.findings if finding.problem]

    @property
    def notes(self) -> list[Finding]:
        """What is worth knowing."""
        return [finding for finding in self.findings if not finding.problem]
