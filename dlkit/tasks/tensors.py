"""Tensors: any graph, arrays in and arrays out, with any number of inputs and outputs."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import InputError, UsageError
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks._arrays import check_arrays, read_arrays
from dlkit.tasks._calls import calls
from dlkit.tasks._data import Calibration, Feeds, HeldOut, batch_of, halves
from dlkit.tasks._model import Answers, Model
from dlkit.tasks._pictures import is_pictures, picture_batches
from dlkit.tasks._session import Session
from dlkit.tasks._task import Task, Tolerance

if TYPE_CHECKING:
    from torch import nn

Arrays: TypeAlias = dict[str, NDArray[Any]]
Name: TypeAlias = Literal["tensors"]  # tells type checkers what ``dlkit.load`` gives

_NPY = re.compile(r"\.npy(\.npz)*$", re.IGNORECASE)
_FREE = 32  # size of a free axis of random inputs, where nothing says better
_RANDOM = 15  # random samples to calibrate with
_UNPACKED = 1 << 30  # bytes of a file's arrays
_PART = 8  # samples of a call that a large one is cut into


class TensorModel(Model[Feeds, None, Arrays]):
    """A loaded bundle that takes and gives arrays.

    Attributes:
        passed_over: names of arrays that files held and the graph does not take, and how often.
    """

    suffixes = frozenset({".npy", ".npz"})
    stacks = False  # a file holds whole calls

    def __init__(self, bundle: Bundle, opened: Answers) -> None:
        super().__init__(bundle, opened)
        self.passed_over: Counter[str] = Counter()

    def run(self, feeds: Feeds | NDArray[Any]) -> Arrays:
        """One call of the graph.

        Args:
            feeds: an array for every input by its name, with its batch axis; or the array of the
                only input. dtypes and shapes as ``bundle.spec.inputs``.

        Returns:
            An array for every output by its name.

        Raises:
            InputError: an input is missing, unknown, or of another dtype or shape.
        """
        if isinstance(feeds, np.ndarray):
            feeds = {self.bundle.spec.input.name: feeds}
        (found,) = self.answers([feeds], 1)
        return found

    def decode(self, data: bytes, path: str) -> Feeds:
        """The arrays of a .npy or .npz file."""
        feeds, others = read_arrays(data, path, self.bundle.spec, _UNPACKED)
        self.passed_over.update(others)
        return feeds

    def prepare(self, sample: Feeds) -> tuple[Feeds, None]:
        """As it is, once it fits."""
        check_arrays(self.bundle.spec, sample)
        return sample, None

    def infer(self, session: Session, batch: Feeds) -> list[Arrays]:
        """One call."""
        return [session.run(batch)]

    def finish(self, output: Arrays, note: None) -> Arrays:
        """As it is."""
        return output

    def output_name(self, name: str) -> str:
        """``a.npz`` for itself, ``a.npy.npz`` for ``a.npy``: never one name for two."""
        return name + (".npz" if _NPY.search(name) else "")

    def encode(self, answer: Arrays, name: str) -> bytes:
        """A .npz file with an array for every output."""
        buffer = io.BytesIO()
        np.savez(buffer, **answer)  # type: ignore[arg-type]  # allow_pickle is no output's name
        return buffer.getvalue()


class Tensors(Task):
    """Any graph."""

    name = "tensors"
    about = "any graph: arrays in, arrays out"
    model = TensorModel
    batch: ClassVar[Mapping[str, int]] = {"cpu": 1, "cuda": 1}
    any_graph = True
    unit = "of each output's largest value"
    relative = True
    # See ``recognize``: what float16, bfloat16 and eight bits lose in networks of some depth. Of
    # channels: the worst of 68 graphs of all kinds had 0.0004 in float16, 0.003 in bfloat16 and
    # 0.02 in eight bits in the median, 0.09, 0.3 and 0.56 at most where nothing was wrong with it.
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "fp32": Tolerance(1e-3, 1e-4, channel=0.01),
        "fp16": Tolerance(0.05, 5e-3, channel=0.1),
        "bf16": Tolerance(0.3, 0.03, channel=0.3),
        "int8": Tolerance(1.0, 0.1, channel=0.7),
    }

    def open(self, bundle: Bundle, opened: Answers) -> TensorModel:
        """A model of arrays."""
        return TensorModel(bundle, opened)

    def check(self, spec: ModelSpec) -> None:
        """Everything goes."""

    def held_out(
        self,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        data: str | None = None,
        count: int | None = None,
    ) -> HeldOut:
        """Arrays of a folder or a file, or pictures; ``random`` draws some."""
        if data == "random":
            return _random(spec, count or self.least_inputs)
        if data is None:
            raise UsageError(
                f"{spec.name} takes arrays, and none were named",
                "Give --data FILE.npz, a folder of .npy or .npz files, or --data random",
            )
        if is_pictures(data):
            pictures = picture_batches(data, spec, count)
            return HeldOut(Path(data).resolve().name, pictures, 0, lambda _: {})
        files = _array_files(Path(data))
        read = (read_arrays(path.read_bytes(), str(path), spec)[0] for path in files)
        batches = calls(spec, read, count)
        return HeldOut(Path(data).resolve().name, batches, 0, lambda _: {})

    def has_held_out(self, spec: ModelSpec, origin: Mapping[str, Any]) -> bool:
        """Nobody knows what a graph takes."""
        return False

    def calibration(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None, multiply_adds: int
    ) -> Calibration:
        """Arrays as ``held_out`` takes them: the first half for ranges, the others for the loss.
        Random ones are others than those."""
        drawn = data == "random"
        count = _RANDOM * (spec.fixed_batch or 1)
        given = _random(spec, count, 1) if drawn else self.held_out(spec, origin, data)
        found = _cut(spec, given)
        if not found.batches:
            raise InputError(f"{data} has no sample")
        if len(found.batches) < 2:  # enough for half precision
            return Calibration(found.name, found.batches, replace(found, batches=[]))
        return halves(found)

    def describe(self, config: Any, meaning: Mapping[str, Any], multiple_of: int) -> ModelSpec:
        """As ``meaning`` has it: ``inputs`` and ``outputs``, each a list of name, dtype, shape."""

        def tensors(rows: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
            return tuple(TensorSpec(r["name"], r["dtype"], tuple(r["shape"])) for r in rows)

        return ModelSpec(
            name="",
            task=self.name,
            precision="fp32",
            inputs=tensors(meaning["inputs"]),
            outputs=tensors(meaning["outputs"]),
            multiple_of=multiple_of,
        )

    def wrap(self, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
        """The network as it is."""
        return network.eval()


def _cut(spec: ModelSpec, found: HeldOut) -> HeldOut:
    """One call with many samples as several calls, where the graph takes any number."""
    free = all(one.shape and isinstance(one.shape[0], str) for one in spec.inputs)
    if not free or len({one.shape[0] for one in spec.inputs}) > 1:
        return found
    batches: list[Feeds] = [
        {name: array[at : at + _PART] for name, array in feeds.items()}
        for feeds in found.batches
        for at in range(0, batch_of(feeds), _PART)
    ]
    return replace(found, batches=batches)


def _random(spec: ModelSpec, count: int, seed: int = 0) -> HeldOut:
    """Samples that nobody knows the answers of; see ``random_feeds``. The first call has one, where
    the graph takes any number, the others two."""
    batches: list[Feeds] = []
    while count > 0:
        size = min(2, count) if batches else 1
        batches.append(random_feeds(spec, sized(spec, size, _FREE), [seed, len(batches)]))
        count -= batch_of(batches[-1])
    return HeldOut("random inputs", batches, 0, lambda _: {}, random=True)


def sized(
    spec: ModelSpec, batch: int, size: int, states: bool = False
) -> dict[str, tuple[int, ...]]:
    """Shapes by the inputs' names.

    Args:
        batch: of free first axes.
        size: of all other free axes, about: a multiple of what the graph takes.
        states: the only free axis of an input is one of samples, wherever it is and whatever it is
            called, as in the states of recurrent layers.
    """
    up = -(-size // spec.multiple_of) * spec.multiple_of
    first = {one.shape[0] for one in spec.inputs if one.shape}  # a state may have it elsewhere
    for one in spec.inputs if states else ():
        free = [axis for axis in one.shape if isinstance(axis, str)]
        first |= set(free) if len(free) == 1 else set()

    def of(axis: int | str) -> int:
        if isinstance(axis, int):
            return axis
        return batch if axis in first or "batch" in axis.lower() else up

    return {one.name: tuple(map(of, one.shape)) for one in spec.inputs}


def random_feeds(
    spec: ModelSpec, sizes: Mapping[str, Sequence[int]], seed: int | Sequence[int] | None
) -> Arrays:
    """Random arrays of the spec's types: normal floats, bytes of their whole range, whole numbers
    from 0 to 3.

    Args:
        sizes: shapes by the inputs' names.
        seed: of NumPy's generator; None: ones, which are an index of most things.
    """
    random = np.random.default_rng(seed)
    feeds: Arrays = {}
    for one in spec.inputs:
        shape, kind = tuple(sizes[one.name]), np.dtype(one.dtype)
        if seed is None:
            feeds[one.name] = np.ones(shape, kind)
        elif kind.kind == "f":
            feeds[one.name] = random.standard_normal(shape).astype(kind)
        else:
            top = {"b": 2, "u": 256 if kind == np.uint8 else 4}.get(kind.kind, 4)
            feeds[one.name] = random.integers(0, top, shape).astype(kind)
    return feeds


def _array_files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    if path.is_file():
        return [path]
    found = sorted(one for one in path.rglob("*") if one.suffix.lower() in TensorModel.suffixes)
    if not found:
        raise InputError(f"{path} has no .npy or .npz file")
    return found


TASK = Tensors()
