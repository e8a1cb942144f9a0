"""Calibration inputs that say something."""

from __future__ import annotations

from dlkit.errors import UsageError
from dlkit.tasks import Calibration


def check_inputs(inputs: Calibration) -> None:
    """Refuse what says nothing of the ranges that inputs have.

    Raises:
        UsageError: too few, or all the same.
    """
    if not inputs.validation.batches:
        raise UsageError(
            f"{inputs.name} has one sample, int8 needs 2 or more: ranges, and the loss",
            "Name more with --data",
        )
    first = {name: array.flat[0] for name, array in inputs.batches[0].items() if array.size}
    varied = any(
        (feeds[name] != value).any() for feeds in inputs.batches for name, value in first.items()
    )
    if first and not varied:
        name, value = next(iter(first.items()))
        raise UsageError(
            f"{inputs.name}: every value of {name} is {value:g}, which says nothing of the ranges "
            "that int8 needs",
            "Name inputs like those that it will see with --data",
        )
