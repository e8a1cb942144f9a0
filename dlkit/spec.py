"""ModelSpec: what a deployed model takes and gives, as JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dlkit.errors import BundleError
from dlkit.typed import from_plain

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
COLOURS = ("grey", "rgb", "bgr")
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's: controls, halves of pairs, ends of lines
RESIZES = ("stretch", "letterbox", "crop")


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

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class ModelSpec:
    """What a model takes and gives.

    Attributes:
        name: for people, e.g. ``lenet``.
        task: name of the task that it serves, as ``dlkit.tasks`` knows it.
        precision: type of the network's arithmetic, one of ``PRECISIONS``.
        inputs, outputs: of the graph, in its order. Tasks of images have one input: uint8 pixels,
            0 to 255, (N, H, W) grey or (N, H, W, 3) in the order that ``colour`` says.
        labels: the meaning of each class, in order; empty where there are none.
        colour: of the pixels, one of ``COLOURS``.
        resize: how an image of another size becomes the fixed size of the input, one of
            ``RESIZES``: stretched; fitted inside, the rest black; or its middle, filling all.
        multiple_of: free heights and widths must be multiples of this; the runtime pads and crops.
        scale: how many times as high and wide an output image is.
        pages: the classes are handwritten digits as in MNIST, so that they can be looked for in
            photographs and on pages.
        options: what else a task wants to know; plain JSON values.
    """

    name: str
    task: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...] = ()
    colour: str = "grey"
    resize: str = "stretch"
    multiple_of: int = 1
    scale: int = 1
    pages: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input(self) -> TensorSpec:
        """The one input.

        Raises:
            BundleError: there are several.
        """
        return _only(self.inputs, self.name, "input")

    @property
    def output(self) -> TensorSpec:
        """The one output.

        Raises:
            BundleError: there are several.
        """
        return _only(self.outputs, self.name, "output")

    @property
    def fixed_batch(self) -> int | None:
        """Samples in every call of the graph; None where it takes any number, or where its first
        axes are not all the same and so do not count samples."""
        firsts = {one.shape[0] if one.shape else 0 for one in self.inputs}
        size = next(iter(firsts))
        if len(firsts) != 1 or isinstance(size, str) or size < 1:
            return None
        # what shape inference could not tell is seen when it runs
        known = all(one.shape and one.shape[0] in (size, str(one.shape[0])) for one in self.outputs)
        return size if known else None

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
                f"spec has unknown fields {', '.join(unknown)}: made by a newer dlkit?",
                "Upgrade dlkit",
            )
        try:
            spec = from_plain(cls, data)
        except TypeError as error:
            raise BundleError(f"spec cannot be read: {error}") from error
        spec.check()
        return spec

    def check(self) -> None:
        """Refuse values that cannot be.

        Raises:
            BundleError: which one.
        """
        if not self.name or self.name in (".", "..") or set(self.name) & set("/\\\0"):
            raise BundleError(f"spec has the name {self.name!r}, expected one without slashes")
        for name in ("multiple_of", "scale"):
            if getattr(self, name) < 1:
                raise BundleError(f"spec has {name} {getattr(self, name)}, expected 1 or more")
        for name, known in (("precision", PRECISIONS), ("colour", COLOURS), ("resize", RESIZES)):
            if (got := getattr(self, name)) not in known:
                raise BundleError(f"spec has {name} '{got}', expected one of {', '.join(known)}")
        if not self.inputs or not self.outputs:
            raise BundleError("spec has no inputs or no outputs")
        for what, text in self._texts():
            if not is_one_line(text):
                raise BundleError(
                    f"{what} is {text!r}, expected text in one line without control characters"
                )

    def _texts(self) -> Iterator[tuple[str, str]]:
        """What is printed and written to tables, where others' texts must not steer a terminal."""
        yield from (("name", self.name), ("task", self.task))
        for place, label in enumerate(self.labels, start=1):
            yield f"label {place}", label
        for what, tensors in (("input", self.inputs), ("output", self.outputs)):
            for place, one in enumerate(tensors, start=1):
                for text in (one.name, one.dtype, *map(str, one.shape)):
                    yield f"a text of {what} {place}", text


def is_one_line(text: str) -> bool:
    """Whether a text can be printed and written to tables: it does not steer a terminal."""
    return not any(unicodedata.category(one) in _CONTROL for one in text)


def _only(tensors: tuple[TensorSpec, ...], name: str, what: str) -> TensorSpec:
    if len(tensors) != 1:
        named = ", ".join(map(str, tensors))
        raise BundleError(f"{name} has {len(tensors)} {what}s ({named}), expected one")
    return tensors[0]
