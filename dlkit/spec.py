"""ModelSpec: what a deployed model takes and gives, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from dlkit.errors import BundleError

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the graph.

    Attributes:
        name: the tensor's name in the graph.
        dtype: a numpy dtype name, e.g. ``uint8``.
        shape: a size per axis; a string names an axis whose size is free.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What a model takes and gives.

    Attributes:
        name: for people, e.g. ``lenet``.
        task: the runtime task that it serves, e.g. ``recognize`` or ``denoise``.
        precision: type of the network's arithmetic, one of ``PRECISIONS``.
        input: uint8 pixels, (N, H, W), 0 to 255.
        output: recognize: float32 probabilities (N, classes); denoise: uint8 pixels (N, H, W).
        multiple_of: free heights and widths must be multiples of this; the runtime pads and crops.
        labels: the meaning of each class, in order; empty when the output is an image.
    """

    name: str
    task: str
    precision: str
    input: TensorSpec
    output: TensorSpec
    multiple_of: int = 1
    labels: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives the same spec back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelSpec:
        """Read what ``to_json`` wrote.

        Raises:
            BundleError: a field is missing, unknown or of the wrong kind.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise BundleError(
                f"spec has unknown fields {', '.join(unknown)}: made by a newer dlkit? Upgrade it"
            )
        try:
            spec = cls(
                name=str(data["name"]),
                task=str(data["task"]),
                precision=str(data["precision"]),
                input=_tensor(data["input"]),
                output=_tensor(data["output"]),
                multiple_of=int(data.get("multiple_of", 1)),
                labels=tuple(str(label) for label in data.get("labels", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"spec cannot be read: {type(error).__name__} {error}") from error
        if spec.multiple_of < 1:
            raise BundleError(f"spec has multiple_of {spec.multiple_of}, expected 1 or more")
        return spec


def _tensor(data: Mapping[str, Any]) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, str) else int(axis) for axis in data["shape"])
    return TensorSpec(name=str(data["name"]), dtype=str(data["dtype"]), shape=shape)
