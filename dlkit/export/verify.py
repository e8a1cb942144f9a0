"""Does a bundle still compute what the network computes?

The reference is torch in float32 when the run is known, else ONNX Runtime on the CPU.
"""

from __future__ import annotations

import datetime
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import Bundle, sha256
from dlkit.errors import BackendError, DlkitError, TrainingError
from dlkit.runtime.session import open_session, runnable
from dlkit.training.data.digits import load_digits
from dlkit.training.data.mmwave import simulate
from dlkit.training.data.pairs import HELD_OUT_SEED
from dlkit.training.pixels import wrap
from dlkit.training.run import Run

# Largest and mean difference that is allowed, by task and precision. Probabilities are 0 to 1;
# images are grey levels. float32 sums in another order differ by about 1e-6 relative, which can
# move a rounded pixel by one level. float16 has 11 bits: 2^-11 = 0.0005 relative an operation,
# which a deep network and a steep softmax or levels curve enlarge.
TOLERANCES = {
    ("recognize", "fp32"): (1e-4, 1e-5),
    ("recognize", "fp16"): (0.05, 2e-3),
    ("denoise", "fp32"): (1.0, 0.01),
    ("denoise", "fp16"): (8.0, 0.5),
}
_DIGITS = 257  # odd, and more than one batch of any backend
_SCANS = ((168, 96), (170, 101))  # small, and of a size that needs padding


@dataclass(frozen=True)
class Difference:
    """How far a backend is from the reference.

    Attributes:
        largest, mean: absolute difference of outputs (probabilities, or grey levels).
        finite: no NaN and no infinity.
        within: inside the tolerance.
    """

    backend: str
    device: str
    reference: str
    largest: float
    mean: float
    finite: bool
    within: bool


def find_run(bundle: Bundle, run: Path | None) -> Run | None:
    """The run that a bundle was exported from: the one named, else the folder around the bundle.

    Raises:
        TrainingError: the run that was named has another checkpoint.
    """
    wanted = bundle.origin.get("checkpoint_sha256")
    found = Run(run or bundle.path.resolve().parent)
    if run is None and not found.checkpoint.is_file():
        return None
    found.load_recipe()
    if not found.checkpoint.is_file():
        raise TrainingError(f"{found.path} has no checkpoint.pt: train it first")
    if sha256(found.checkpoint) != wanted:
        if run is None:
            return None
        raise TrainingError(
            f"{bundle.path} was not exported from the checkpoint in {run}: export it again"
        )
    return found


def verify(bundle: Bundle, run: Path | None = None) -> list[Difference]:
    """Compare every backend that can run here with the reference, on real inputs.

    Writes what was measured into the bundle's model.json where all are within tolerance.

    Raises:
        TrainingError: the run that was named does not fit.
        BackendError: no backend runs here.
    """
    source = find_run(bundle, run)
    batches = _inputs(bundle)
    ways = runnable(bundle)
    if not ways:
        raise BackendError(f"nothing on this machine can run {bundle.path}")
    if source is not None:
        reference, name = _torch_outputs(source, batches), "torch fp32"
    else:
        reference, name = _outputs(bundle, *ways[0], batches), " ".join(ways[0])
    differences = [
        _compare(
            bundle, backend, device, name, reference, _outputs(bundle, backend, device, batches)
        )
        for backend, device in ways
    ]
    if all(difference.within for difference in differences):
        _record(bundle, differences)
    return differences


def _inputs(bundle: Bundle) -> list[NDArray[np.uint8]]:
    """Held-out digits or simulated scans, and noise; batches of 1, odd and large."""
    random = np.random.default_rng(0)
    if bundle.spec.task == "recognize":
        digits = load_digits("mnist-mini").test_images[:_DIGITS].numpy()
        noise = random.integers(0, 256, (7, *digits.shape[1:]), dtype=np.uint8)
        return [digits[:1], digits, noise]
    scans = [
        images.pad(simulate(HELD_OUT_SEED + index, size).noisy, bundle.spec.multiple_of)
        for index, size in enumerate(_SCANS)
    ]
    noise = random.integers(0, 256, (3, 64, 96), dtype=np.uint8)
    return [*(scan[None] for scan in scans), noise]


def _torch_outputs(run: Run, batches: list[NDArray[np.uint8]]) -> list[NDArray[Any]]:
    recipe = run.load_recipe()
    model = wrap(recipe.task, run.load_network(), recipe.network).eval()
    with torch.inference_mode():
        return [model(torch.from_numpy(batch.copy())).numpy() for batch in batches]


def _outputs(
    bundle: Bundle, backend: str, device: str, batches: list[NDArray[np.uint8]]
) -> list[NDArray[Any]]:
    session = open_session(bundle, backend, device).session
    return [session(batch) for batch in batches]


def _compare(
    bundle: Bundle,
    backend: str,
    device: str,
    name: str,
    reference: list[NDArray[Any]],
    outputs: list[NDArray[Any]],
) -> Difference:
    for one, other in zip(reference, outputs, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise DlkitError(
                f"{backend} gave {other.dtype} {other.shape}, {name} {one.dtype} {one.shape}"
            )
    gaps = np.concatenate(
        [
            np.abs(one.astype(np.float64) - other.astype(np.float64)).ravel()
            for one, other in zip(reference, outputs, strict=True)
        ]
    )
    finite = all(bool(np.isfinite(output).all()) for output in outputs)
    most, mean = TOLERANCES[bundle.spec.task, bundle.spec.precision]
    within = finite and float(gaps.max()) <= most and float(gaps.mean()) <= mean
    return Difference(backend, device, name, float(gaps.max()), float(gaps.mean()), finite, within)


def _record(bundle: Bundle, differences: list[Difference]) -> None:
    bundle.with_parity(
        {
            "onnx_sha256": bundle.sha256,
            "date": datetime.date.today().isoformat(),
            "machine": platform.machine(),
            "tolerance": TOLERANCES[bundle.spec.task, bundle.spec.precision],
            "measured": [asdict(difference) for difference in differences],
        }
    )
