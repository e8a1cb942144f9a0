"""Outputs of one way to run a network beside those of its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Measured
from dlkit.errors import BackendError, VerifyError
from dlkit.export.proof.channels import Channel, worst_channel
from dlkit.tasks import HeldOut, Outputs, Task, Tolerance, batch_of


@dataclass(frozen=True)
class Expected:
    """What a reference gave.

    Attributes:
        data: the inputs.
        outputs: of the reference, for each batch.
        metrics: of the reference.
        scales: by output: the size that differences are relative to; 1 where the task has a unit.
    """

    task: Task
    data: HeldOut
    outputs: Outputs
    metrics: Mapping[str, float]
    scales: Mapping[str, float]

    @classmethod
    def of(cls, task: Task, data: HeldOut, outputs: Outputs) -> Expected:
        """Score a reference's outputs.

        Raises:
            VerifyError: the reference itself gives NaN, or nothing: nothing can be compared.
        """
        if not any(array.size for one in outputs for array in one.values()):
            raise VerifyError(
                f"the reference finds nothing in {data.name}, every output is empty: there is "
                "nothing to compare",
                "Give inputs in which it finds something, with --data",
            )
        if any(np.isnan(array).any() for one in outputs for array in one.values()
               if array.dtype.kind == "f"):  # fmt: skip
            raise VerifyError(
                f"the reference gives NaN on {data.name}: nothing can be compared",
                "Give inputs that it was made for, with --data",
            )
        scales = dict.fromkeys(outputs[0], 1.0)
        if task.relative:
            scales = {name: _scale([one[name] for one in outputs]) for name in scales}
        return cls(task, data, outputs, data.score(outputs[: data.scored]), scales)

    @property
    def varies(self) -> bool:
        """Whether any output is another for another input."""
        return any(self._varies(name) for name in self.outputs[0])

    def _varies(self, name: str) -> bool:
        first: NDArray[Any] | None = None
        for feeds, found in zip(self.data.batches, self.outputs, strict=True):
            array = found[name]
            apart = array.ndim > 0 and len(array) == batch_of(feeds)
            rows = array if apart else array[None]
            first = rows[0] if first is None else first
            if rows.shape[1:] != first.shape or (rows != first).any():
                return True
        return False

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

        Of several outputs the worst counts. What is whole numbers other than pixels (indices,
        classes, counts) is equal or differs; ``mean`` then is the share that differs.

        Args:
            backend, device, precision, sha256: what gave them; see ``Measured``.

        Raises:
            BackendError: other names or types than expected.
        """
        found = [self._gap(name, [one[name] for one in outputs], tolerance)
                 for name in self._names(outputs, backend)]  # fmt: skip
        finite = not any(one.nan or one.infinite for one in found)
        scored = self.data.scored or len(self.outputs)
        metrics = self.data.score(outputs[: self.data.scored])
        lost = self.task.lost(
            tolerance, self.metrics, metrics, self.outputs[:scored], self.data.count
        )
        largest = max(one.largest for one in found)
        mean = max(one.mean for one in found)
        alike = finite and all(one.shapes for one in found)
        channel = self._channel(outputs) if alike and tolerance.channel is not None else None
        if channel and tolerance.channel is not None and channel.error > tolerance.channel:
            lost = [*lost, channel.name]
        return Measured(
            backend=backend,
            device=device,
            precision=precision,
            sha256=sha256,
            largest=largest,
            mean=mean,
            finite=finite,
            agreement=self.task.agreement(self.outputs[:scored], outputs[:scored])
            if alike
            else 0.0,
            metrics=metrics,
            within=alike and largest <= tolerance.largest and mean <= tolerance.mean and not lost,
            differing=sum(one.differing for one in found) / max(sum(one.count for one in found), 1),
            nan=sum(one.nan for one in found),
            infinite=sum(one.infinite for one in found),
            channel=channel.name if channel else "",
            channel_error=channel.error if channel else 0.0,
        )

    def _channel(self, outputs: Outputs) -> Channel | None:
        """The channel that is furthest off, of all outputs that are quantities."""
        found = [
            worst_channel(name, [one[name] for one in self.outputs], [one[name] for one in outputs])
            for name, first in self.outputs[0].items()
            if first.size and _measured(first, self.task.relative)
        ]
        return max(found, key=lambda one: one.error, default=None)

    def _names(self, outputs: Outputs, backend: str) -> list[str]:
        for one, other in zip(self.outputs, outputs, strict=True):
            if set(one) != set(other):
                raise BackendError(f"{backend} gave {', '.join(other)}, expected {', '.join(one)}")
            for name, wanted in one.items():
                if other[name].dtype != wanted.dtype:
                    raise BackendError(
                        f"{backend} gave {name} {other[name].dtype}, expected {wanted.dtype}"
                    )
        return list(self.outputs[0])

    def _gap(self, name: str, got: list[NDArray[Any]], tolerance: Tolerance) -> _Gap:
        wanted = [one[name] for one in self.outputs]
        shapes = all(one.shape == other.shape for one, other in zip(wanted, got, strict=True))
        count = sum(array.size for array in wanted)
        if not shapes:  # an output whose length depends on the data: nothing is beside each other
            return _Gap(1.0, 1.0, 0, 0, count, count, False)
        ours = np.concatenate([array.ravel() for array in wanted])
        theirs = np.concatenate([array.ravel() for array in got])
        if not count:
            return _Gap(0.0, 0.0, 0, 0, 0, 0, True)
        if not _measured(ours, self.task.relative):
            unlike = ours != theirs
            return _Gap(0.0, float(unlike.mean()), 0, 0, int(unlike.sum()), count, True)
        one, other = ours.astype(np.float64), theirs.astype(np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.abs(one - other) / self.scales[name]
        gap[one == other] = 0.0  # infinities that are the same
        nan = int(np.isnan(other).sum())
        infinite = int((np.isinf(other) & (one != other)).sum())
        # NaN is no number to compare or to write as JSON: it counts as the largest value there is.
        finite = np.abs(one[np.isfinite(one)])
        worst = max(1.0, float(finite.max(initial=0)) / self.scales[name])
        gap = np.nan_to_num(gap, nan=worst, posinf=worst)
        return _Gap(float(gap.max()), float(gap.mean()), nan, infinite,
                    int((gap > tolerance.largest).sum()), count, True)  # fmt: skip


def said(row: Measured, allowed: float | None) -> str:
    """Which channel is too far off, for people; nothing where none is."""
    if allowed is None or row.channel_error <= allowed:
        return ""
    return (
        f"the error of {row.channel} is {row.channel_error:.0%} of what it varies by, "
        f"{allowed:.0%} are allowed"
    )


@dataclass(frozen=True)
class _Gap:
    """Of one output: differences, elements that are not finite, that differ, and in all; and
    whether it has the shapes that were expected."""

    largest: float
    mean: float
    nan: int
    infinite: int
    differing: int
    count: int
    shapes: bool


def _measured(array: NDArray[Any], relative: bool) -> bool:
    """Whether values are quantities, not names of something."""
    return array.dtype.kind == "f" or array.dtype == np.uint8 or not relative


def _scale(arrays: list[NDArray[Any]]) -> float:
    """The largest finite value, absolute."""
    found = [np.abs(one[np.isfinite(one)].astype(np.float64)).max(initial=0)
             for one in arrays if one.dtype.kind in "fu"]  # fmt: skip
    return float(max(found, default=0.0)) or 1.0
