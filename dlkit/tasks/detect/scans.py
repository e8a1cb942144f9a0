"""Simulated scans with what is hidden in them: which ones are for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import UsageError
from dlkit.mmwave import REFERENCE_SIZE, Parameters
from dlkit.mmwave.concealment import CONCEALMENT, Observed, observe
from dlkit.mmwave.parameters_file import SIMULATED as SIMULATED
from dlkit.tasks.detect.decode import Float
from dlkit.tasks.detect.score import at_false_alarms, match

# As for pairs: each training seed has so many scans of its own, far below all that are kept out.
SEEDS_PER_TRAINING = 10_000_000
HELD_OUT_SEED = 1_000_000_000
# Of those that are kept out: for proofs, for thresholds, for evaluations.
PROOF_SEED = HELD_OUT_SEED + 500_000
THRESHOLD_SEED = HELD_OUT_SEED + 600_000
EVALUATION_SEED = HELD_OUT_SEED + 700_000

# False alarms a scan that each sensitivity has on the scans for thresholds.
SENSITIVITIES = {"high": 0.5, "normal": 0.1, "low": 0.02}


@dataclass(frozen=True)
class Sensitivity:
    """A threshold with what it brought on simulated scans that nothing else is done with.

    Attributes:
        threshold: least chance of what is said.
        recall: share of the objects that were found.
        false_alarms: boxes a scan that were none.
    """

    threshold: float
    recall: float
    false_alarms: float


def first_seed(seed: int, count: int) -> int:
    """The first of ``count`` seeds of a training's scans.

    Raises:
        UsageError: they would be those of scans that are kept out.
    """
    first = seed * SEEDS_PER_TRAINING
    if first < 0 or first + count > HELD_OUT_SEED or count > SEEDS_PER_TRAINING:
        raise UsageError(
            f"seed is {seed} and {count} scans are wanted, which would take those of others",
            f"Take a seed from 0 to {HELD_OUT_SEED // SEEDS_PER_TRAINING - 1}, and fewer steps",
        )
    return first


def held_out_scans(first: int, count: int, parameters: Parameters = CONCEALMENT) -> list[Observed]:
    """Scans of the reference size from seed ``first`` on."""
    return [observe(seed, REFERENCE_SIZE, parameters) for seed in range(first, first + count)]


def boxes_of(observed: Observed) -> Float:
    """What is to be found: float32 (N, 4), left, top, width, height."""
    return np.array([one.box for one in observed.hidden], np.float32).reshape(-1, 4)


def padded(noisy: NDArray[np.uint8], multiple_of: int) -> NDArray[np.uint8]:
    """As a network takes it: uint8 (1, H, W)."""
    return np.ascontiguousarray(images.pad(noisy, multiple_of)[None])


def sensitivities(found: Sequence[Float], truth: Sequence[Float]) -> dict[str, Sensitivity]:
    """Thresholds by name, from boxes of scans that serve for nothing else."""
    matched = match(found, truth)
    return {
        name: Sensitivity(*at_false_alarms(matched, most)) for name, most in SENSITIVITIES.items()
    }
