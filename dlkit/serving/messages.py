"""A request and its answer, whatever protocol brought them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from numpy.typing import NDArray

from dlkit.serving.datatypes import BYTES, DTYPES, datatype_of
from dlkit.serving.refused import invalid

_MOST_AXES = 32  # numpy 1 had no more, and no graph has
_MOST_ELEMENTS = 1 << 40  # beyond any body that is taken; products of shapes end here
Values: TypeAlias = "NDArray[Any] | list[bytes]"


@dataclass(slots=True)
class Tensor:
    """An input or output.

    Attributes:
        name: of the graph.
        datatype: as ``DTYPES`` has it, or ``BYTES``.
        shape: with its batch axis.
        values: an array of that shape; of ``BYTES`` the elements in C order.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values

    @classmethod
    def of(cls, name: str, array: NDArray[Any]) -> Tensor:
        """A tensor that holds an array."""
        return cls(name, datatype_of(array.dtype.name), array.shape, array)


@dataclass(slots=True)
class Asked:
    """An output that a request names.

    Attributes:
        binary: behind the JSON head or in it; None where the request says it for all.
        classes: instead of the values, so many of the most probable classes; 0: the values.
    """

    name: str
    binary: bool | None = None
    classes: int = 0


@dataclass(slots=True)
class Inference:
    """A request.

    Attributes:
        id: comes back as it is; None where there was none.
        outputs: those that are wanted; none named: all.
        binary: how outputs come that do not say it themselves.
        timeout: seconds in which it must begin to run; None: whenever.
    """

    inputs: list[Tensor]
    outputs: list[Asked] = field(default_factory=list)
    id: str | None = None
    binary: bool = False
    timeout: float | None = None


@dataclass(slots=True)
class Answered:
    """The answer to a request: its outputs, in the order in which they were asked for."""

    model: str
    version: str
    outputs: list[Tensor]


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape as a client wrote it.

    Raises:
        RefusedError: no list of whole numbers from 0, or too many of them.
    """
    axes = shape if isinstance(shape, list | tuple) else None
    if axes is None or not all(type(axis) is int and axis >= 0 for axis in axes):
        raise invalid(f"{name}: its shape is no list of whole numbers from 0")
    if len(axes) > _MOST_AXES or elements(axes) >= _MOST_ELEMENTS:
        raise invalid(f"{name}: its shape is too large")
    return tuple(axes)


def elements(shape: list[int] | tuple[int, ...]) -> int:
    """How many elements a shape holds, or ``_MOST_ELEMENTS`` where it is beyond."""
    count = 1
    for axis in shape:
        count *= axis
        if count >= _MOST_ELEMENTS and 0 not in shape:
            return _MOST_ELEMENTS
    return count


def check_datatype(name: str, datatype: Any) -> str:
    """A type as a client wrote it.

    Raises:
        RefusedError: the protocol has no such type.
    """
    if not isinstance(datatype, str) or (datatype not in DTYPES and datatype != BYTES):
        raise invalid(f"{name}: its datatype is none of {', '.join([*DTYPES, BYTES])}")
    return datatype


def seconds(parameters: dict[str, Any]) -> float | None:
    """The deadline of a request: ``timeout``, in microseconds.

    Raises:
        RefusedError: no whole number from 0. 0 is none, as clients send it.
    """
    timeout = parameters.get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        raise invalid("timeout is no whole number of microseconds from 0")
    return timeout / 1e6 if timeout else None


def check_parameters(parameters: Any, where: str) -> dict[str, Any]:
    """Parameters as a client wrote them.

    Raises:
        RefusedError: no object; or they ask for what this server does not do: sequences of requests
            that belong together, memory that is shared.
    """
    if not isinstance(parameters, dict):
        raise invalid(f"{where}: its parameters are no object")
    for name, value in parameters.items():
        if name.startswith("shared_memory") or (name == "sequence_id" and value not in (0, "")):
            raise invalid(f"{where}: the parameter {name[:50]} asks for what is not implemented")
    return parameters


def check_names(tensors: list[Tensor], outputs: list[Asked]) -> None:
    """Refuse what is named twice."""
    for kind, names in (("input", [one.name for one in tensors]),
                        ("output", [one.name for one in outputs])):  # fmt: skip
        if len(set(names)) != len(names):
            raise invalid(f"an {kind} is named twice")


def shown(name: str) -> str:
    """What a client called something, for a message."""
    return repr(name if len(name) <= 100 else f"{name[:100]}...")
