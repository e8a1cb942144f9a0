"""Outputs of one way to run a network beside those of its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dlkit.bundle import Measured
from dlkit.errors import BackendError, VerifyError
from dlkit.tasks import HeldOut, Outputs, Task, Tolerance


@dataclass(frozen=True)
class Expected:
    """What a reference gave.

    Attributes:
        data: the inputs.
        outputs: of the reference, for each batch.
        metrics: of the reference.
    """

    task: Task
    data: HeldOut
    outputs: Outputs
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, task: Task, data: HeldOut, outputs: Outputs) -> Expected:
        """Score a reference's outputs.

        Raises:
            VerifyError: the reference itself gives NaN or infinity: nothing can be compared.
        """
        if not _finite(outputs):
            raise VerifyError(f"the reference gives NaN or infinity on {data.name}")
        return cls(task, data, outputs, data.score(outputs[: data.scored]))

    def beside(
        self,
        outputs: Outputs,
        tolerance: Tolerance,
        backend: str,
        precision: str,
        device: str = "cpu",
        sha256: str = "",
    ) -> Measured:
        """How far other outputs are from these.

        Args:
            backend, device, precision, sha256: what gave them; see ``Measured``.

        Raises:
            BackendError: other names, shapes or types than expected.
        """
        gaps = []
        for one, other in zip(self.outputs, outputs, strict=True):
            if set(one) != set(other):
                raise BackendError(f"{backend} gave {', '.join(other)}, expected {', '.join(one)}")
            for name, wanted in one.items():
                got = other[name]
                if got.shape != wanted.shape or got.dtype != wanted.dtype:
                    raise BackendError(
                        f"{backend} gave {name} {got.dtype} {got.shape}, expected {wanted.dtype} "
                        f"{wanted.shape}"
                    )
                gaps.append(np.abs(wanted.astype(np.float64) - got.astype(np.float64)).ravel())
        finite = _finite(outputs)
        # NaN is no number to compare or to write as JSON: it counts as the largest value there is.
        worst = max(1.0, *(float(np.abs(a.astype(np.float64)).max(initial=0))
                           for one in self.outputs for a in one.values()))  # fmt: skip
        gap = np.nan_to_num(np.concatenate(gaps), nan=worst, posinf=worst)
        scored = self.data.scored or len(self.outputs)
        metrics = self.data.score(outputs[: self.data.scored])
        lost = self.task.lost(
            tolerance, self.metrics, metrics, self.outputs[:scored], self.data.count
        )
        largest, mean = float(gap.max(initial=0)), float(gap.mean())
        return Measured(
            backend=backend,
            device=device,
            precision=precision,
            sha256=sha256,
            largest=largest,
            mean=mean,
            finite=finite,
            agreement=self.task.agreement(self.outputs[:scored], outputs[:scored])
            if finite
            else 0.0,
            metrics=metrics,
            within=finite and largest <= tolerance.largest and mean <= tolerance.mean and not lost,
        )


def _finite(outputs: Outputs) -> bool:
    """No NaN and no infinity."""
    arrays = [array for one in outputs for array in one.values() if array.dtype.kind == "f"]
    return all(bool(np.isfinite(array).all()) for array in arrays)
