"""What ``dlkit bench`` measured: plain JSON values, so that a file of them will do for a report."""

from __future__ import annotations

from typing import Any, TypedDict


class SpreadValues(TypedDict):
    median: float
    low: float
    high: float


class ImageRates(TypedDict):
    """How fast OpenCV reads and writes image files of a kind, images a second."""

    what: str
    decode_per_s: SpreadValues
    encode_per_s: SpreadValues


class CeilingRates(TypedDict):
    """The machine's own rates: float32 matrix product, bytes copied, image files."""

    gflops: SpreadValues
    copy_gb_s: SpreadValues
    images: list[ImageRates]


class BundleRow(TypedDict):
    """A bundle that was measured.

    Attributes:
        name: its own and its precision; with its place where two are alike.
        network: the spec's name.
        sample: what one is called: ``image``, ``sample``, or ``call`` where no axis counts samples.
        inputs: shape of one sample by input, without its batch axis.
        multiply_adds: of one sample; None where they cannot be counted.
        metrics_of: data that the certificate's metrics were measured on; None without one.
    """

    name: str
    network: str
    task: str
    precision: str
    path: str
    sha256: str
    model_bytes: int
    sample: str
    inputs: dict[str, list[int]]
    multiply_adds: int | None
    metrics_of: str | None


class WayRow(TypedDict):
    """What both kinds of rows have.

    Attributes:
        sha256: of the file that ran: model.onnx or an engine.
        metrics: as certified for that file, backend and device; None where nobody measured them.
        samples_per_s: the median of rounds, the lowest and the highest; so is every spread.
        peak_bytes: most memory that the process held; None where the system does not tell.
    """

    bundle: str
    task: str
    precision: str
    backend: str
    device: str
    sha256: str
    metrics: dict[str, float] | None
    samples_per_s: SpreadValues
    peak_bytes: SpreadValues | None


class InferenceRow(WayRow):
    """A session called with one batch again and again.

    Attributes:
        latency_s: p50, p90 and p99 of a call; None where there were too few calls to know.
        share_of_ceiling: of the matrix product's rate; None on a GPU, or where it is not known.
    """

    batch: int
    latency_s: dict[str, float | None]
    calls: int
    load_s: SpreadValues
    first_s: SpreadValues
    share_of_ceiling: float | None


class FolderRow(WayRow):
    """The task's command over a folder.

    Attributes:
        files: in the folder.
        seconds: of the whole process.
        start_s: of the same command over one file.
        samples_per_s_after_start: of the other files in the rest of the time; None where it is too
            short to tell.
        bound_samples_per_s: what decoding, inference and encoding allow together.
    """

    files: int
    seconds: SpreadValues
    start_s: SpreadValues
    samples_per_s_after_start: SpreadValues | None
    bound_samples_per_s: float | None
    share_of_bound: float | None


class Unmeasured(TypedDict):
    """Something that was not measured, and why."""

    what: str
    reason: str


class BenchResult(TypedDict):
    """All of it.

    Attributes:
        format: 1; a key that changes its meaning changes it.
        date: ISO 8601, UTC.
        command: the command line that repeats it.
        settings: what was asked for.
        machine: processor, memory, system, versions, and what others used of the processors.
        notes: warnings.
        ceiling: None where it could not be measured.
        left_out: what cannot run here.
        failed: what should have run.
    """

    format: int
    date: str
    command: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    notes: list[str]
    ceiling: CeilingRates | None
    bundles: list[BundleRow]
    inference: list[InferenceRow]
    folder: list[FolderRow]
    left_out: list[Unmeasured]
    failed: list[Unmeasured]
