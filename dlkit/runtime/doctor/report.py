"""What the doctor found, as plain values; ``dataclasses.asdict`` of a Report is its JSON."""

from __future__ import annotations

from dataclasses import dataclass, field


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
class Gpu:
    """One NVIDIA GPU: its compute capability such as ``8.9``, its memory in bytes."""

    name: str
    compute: str
    memory: int


@dataclass(frozen=True)
class Cuda:
    """The driver, its GPUs, and the CUDA libraries that ONNX Runtime links to.

    Attributes:
        why_none: why CUDA cannot be used here, with the mend; None when it can.
        driver: version of the driver, e.g. ``580.95.05``.
        supports: newest CUDA version that the driver runs, e.g. ``13.2``.
        onnxruntime_built_for: CUDA version that the installed ONNX Runtime was built for; empty
            where it was built without.
        libraries: where each library is that ONNX Runtime's CUDA provider needs; None: nowhere.
    """

    why_none: str | None
    driver: str | None = None
    supports: str | None = None
    gpus: list[Gpu] = field(default_factory=list)
    onnxruntime_built_for: str = ""
    libraries: dict[str, str | None] = field(default_factory=dict)


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
class OnnxLimits:
    """Newest ONNX that the installed ONNX Runtime reads, as it says itself; None: unknown."""

    ir_version: int | None
    opset: int | None


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
        opset: of the domain ``ai.onnx``; None when the header could not be read.
    """

    name: str
    path: str
    task: str
    precision: str
    ir_version: int | None
    opset: int | None
    engines: list[EngineState]


@dataclass(frozen=True)
class Run:
    """Whether a backend opened a bundle on a device, in truth; and why not, with the mend."""

    backend: str
    device: str
    bundle: str
    runs: bool
    reason: str | None


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        machine, cuda, onnx_limits: None when the look itself failed, which is then a finding.
    """

    machine: Machine | None
    cuda: Cuda | None
    libraries: list[Library]
    onnx_limits: OnnxLimits | None
    bundles: list[BundleState]
    runs: list[Run]
    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        """What the user should mend."""
        return [finding for finding in self.findings if finding.problem]

    @property
    def notes(self) -> list[Finding]:
        """What is worth knowing."""
        return [finding for finding in self.findings if not finding.problem]
