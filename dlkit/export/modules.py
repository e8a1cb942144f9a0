"""Any module in torch: what it takes and gives."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit import npy
from dlkit.errors import ExportError, UsageError
from dlkit.export.ends import sum_of_rows
from dlkit.export.left_alone import left_alone
from dlkit.export.pixels import Pixels
from dlkit.export.trace import refuse_script, wrapped
from dlkit.export.weights import ModuleConfig
from dlkit.images import open_file
from dlkit.spec import ModelSpec
from dlkit.tasks import Task

# A shape without its batch axis, of float32; or what forward takes, with a batch axis.
Example: TypeAlias = "Sequence[int] | Tensor | Sequence[Tensor]"
_BATCHES = (2, 3)  # an axis of an output that differs between them is the batch
_ROUNDING = 1e-4  # threads add up in another order
_PROBABILITIES = frozenset({"softmax", "_softmax", "sigmoid"})  # as export/ends.py has them
_PASSED = frozenset(
    {"view", "reshape", "flatten", "squeeze", "unsqueeze", "clone", "contiguous", "to", "_to_copy"}
)


@dataclass(frozen=True)
class Described:
    """A module with all that belongs to its graph.

    Attributes:
        model: takes the inputs of ``spec``, gives its outputs.
        origin: what the bundle must remember of it, plain JSON: ``config`` and ``meaning``.
    """

    model: nn.Module
    spec: ModelSpec
    origin: dict[str, Any]


@dataclass(frozen=True)
class Images:
    """What an image task must know of a module.

    Attributes:
        labels: of its classes, in their order.
        pixels: how uint8 pixels become what the module takes; None: pixel / 255.
        resize: how an image of another size becomes that of the module; see ``ModelSpec``.
        multiple_of: heights and widths that the module takes, where its task leaves them free.
    """

    labels: Sequence[str] = ()
    pixels: Pixels | None = None
    resize: str = "stretch"
    multiple_of: int = 1


def describe(
    module: nn.Module, name: str, task: Task, example: Example, images: Images
) -> Described:
    """What a module takes and gives, found by running it.

    Args:
        example: shape of one sample, float32, without its batch axis; or what ``forward`` takes.

    Raises:
        ExportError: the module does not take the example, or gives what is no tensor.
        UsageError: settings that do not fit.
    """
    refuse_script(module)
    inputs = _inputs(example)
    kinds = {one.dtype for one in module.parameters() if one.is_floating_point()}
    if task.images and (other := kinds - {torch.float32}):
        raise ExportError(
            f"{type(module).__name__} has weights of {other.pop()}, expected torch.float32",
            "Make them so: module.float(). --precision says what the bundle computes in",
        )
    with left_alone(module):
        outputs = [_run(module, _batch(inputs, count)) for count in _BATCHES]
        _check_repeats(module, inputs)
    config, meaning = ModuleConfig(), _tensors(module, inputs, outputs)
    if task.images:
        config, meaning = _images(task, inputs, outputs[0], images)
        if config.classes:
            meaning["probabilities"] = _gives_probabilities(module, _batch(inputs, 1))
    elif images != Images():
        raise UsageError(f"labels, pixels and sizes are for images; {task.name} takes none")
    spec = task.describe(config, meaning, images.multiple_of)
    colour = images.pixels.colour if images.pixels is not None else None
    spec = replace(spec, name=name, precision="fp32", colour=colour or spec.colour)
    spec.check()
    task.check(spec)
    model = wrapped(task, module, config, meaning)
    origin = {"config": asdict(config), "meaning": meaning}
    return Described(model, spec, origin)


def read_example(text: str) -> Example:
    """An example from ``3x224x224``, or from a .npz file with what ``forward`` takes.

    Raises:
        InputError: the file cannot be read.
        UsageError: it is neither.
    """
    if text.endswith(".npz"):
        with open_file(text) as file:
            return [torch.from_numpy(one) for one in npy.load_named(file, text).values()]
    try:
        return [int(part) for part in text.split("x")]
    except ValueError as error:
        raise UsageError(f"the example is '{text}'", "Give a shape, e.g. 3x224x224") from error


def _inputs(example: Example) -> list[Tensor]:
    given = [example] if isinstance(example, Tensor) else list(example)
    if given and all(isinstance(one, Tensor) and one.ndim for one in given):
        return [one for one in given if isinstance(one, Tensor)]
    if given and all(isinstance(one, int) and one > 0 for one in given):
        return [torch.zeros(1, *(one for one in given if isinstance(one, int)))]
    raise UsageError(
        f"example is {example!r}", "Give the shape of one sample, e.g. (3, 224, 224), or tensors"
    )


class _Makers(TorchDispatchMode):
    """The operators that made tensors, by what the tensors are."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.of: dict[int, str] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made, name = func(*args, **(kwargs or {})), func.overloadpacket.__name__.rstrip("_")
        self.of[id(made)] = self.of.get(id(args[0]), "") if name in _PASSED else name
        return made


def _gives_probabilities(module: nn.Module, inputs: list[Tensor]) -> bool:
    """Whether a module gives probabilities: no softmax must be put behind it again.

    Raises:
        ExportError: it gives per cent.
    """
    with torch.inference_mode(), _Makers() as makers:
        (given,) = _run(module, inputs)
    if makers.of.get(id(given)) in _PROBABILITIES:
        return True
    random = torch.Generator().manual_seed(0)
    drawn = [torch.rand(one.shape, generator=random).to(one.dtype) for one in inputs]
    whole = sum_of_rows(one.numpy() for given in (inputs, drawn) for one in _run(module, given))
    if whole == 100:
        raise ExportError(
            f"{type(module).__name__} gives per cent (each sample's sum is 100), expected logits "
            "or probabilities",
            "Leave the factor 100 out",
        )
    return whole == 1


def _batch(inputs: list[Tensor], count: int) -> list[Tensor]:
    """The first sample of each input so many times."""
    return [one[:1].repeat(count, *[1] * (one.ndim - 1)) for one in inputs]


def _run(module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
    given = ", ".join(f"{str(one.dtype)[6:]} {tuple(one.shape)}" for one in inputs)
    try:
        with torch.inference_mode():
            found = module(*inputs)
    except (RuntimeError, TypeError, ValueError, IndexError, SystemExit) as error:
        raise ExportError(
            f"{type(module).__name__} does not take {given}: {str(error).partition(chr(10))[0]}",
            "Give an example that its forward takes, each with its batch axis first",
        ) from error
    several = list(found) if isinstance(found, tuple | list) else [found]
    if not several or not all(isinstance(one, Tensor) for one in several):
        kinds = ", ".join(type(one).__name__ for one in several) or "nothing"
        raise ExportError(
            f"{type(module).__name__} gives {kinds}, expected a tensor or a tuple of them",
            "Put it into a module that gives tensors",
        )
    return several


def _check_repeats(module: nn.Module, inputs: list[Tensor]) -> None:
    """Refuse what no reference could be compared with.

    Raises:
        ExportError: two answers to the same input differ.
    """
    given = [one[:1] for one in inputs]
    if all(one.is_floating_point() and not one.any() for one in given):  # of a shape: zeros hide
        given = [torch.rand_like(one) for one in given]
    for one, other in zip(_run(module, given), _run(module, given), strict=True):
        if one.shape == other.shape:
            first, second = one.to(torch.complex128), other.to(torch.complex128)
            if torch.allclose(first, second, rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True):
                continue
        raise ExportError(
            f"{type(module).__name__} answers differently each time to the same input: dropout or "
            "noise that is not off in eval mode, or a state that its forward changes",
            "Make it stop: dropout as nn.Dropout, or F.dropout(..., training=self.training); give "
            "noise and states to forward as inputs",
        )


def _tensors(
    module: nn.Module, inputs: list[Tensor], outputs: list[list[Tensor]]
) -> dict[str, Any]:
    """Inputs named as ``forward`` has them; of the outputs, what differs by batch is free."""
    names = [
        one.name
        for one in inspect.signature(module.forward).parameters.values()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    names += [f"input_{place}" for place in range(len(names), len(inputs))]
    few, many = outputs
    if len(few) != len(many):
        raise ExportError(
            f"{type(module).__name__} gives {len(few)} or {len(many)} outputs by batch"
        )
    labels = ["output"] if len(few) == 1 else [f"output_{place}" for place in range(len(few))]
    return {
        "inputs": [
            {"name": name, "dtype": _dtype(one), "shape": ["n", *one.shape[1:]]}
            for name, one in zip(names, inputs, strict=False)
        ],
        "outputs": [
            {
                "name": label,
                "dtype": _dtype(one),
                "shape": [
                    size if size == bigger else "n" if place == 0 else f"{label}_{place}"
                    for place, (size, bigger) in enumerate(zip(one.shape, other.shape, strict=True))
                ],
            }
            for label, one, other in zip(labels, few, many, strict=True)
        ],
    }


def _images(
    task: Task, inputs: list[Tensor], outputs: list[Tensor], images: Images
) -> tuple[ModuleConfig, dict[str, Any]]:
    """Config and meaning of one float32 (N, C, H, W) in, one tensor out."""
    shapes = [tuple(one.shape[1:]) for one in inputs]
    right = len(inputs) == 1 and inputs[0].dtype == torch.float32 and len(shapes[0]) == 3
    if not right or shapes[0][0] not in (1, 3) or len(outputs) != 1:
        raise UsageError(
            f"to {task.name}, a module takes one float32 (N, C, H, W), C 1 or 3, and gives one "
            f"tensor; this one takes {shapes} and gives {len(outputs)}",
            "Give --example CxHxW, or export it to tensors",
        )
    channels, height, width = shapes[0]
    pixels = (images.pixels or Pixels()).of(channels)
    mean, std = pixels.unit()
    given = outputs[0].shape
    if len(given) not in (2, 4):
        raise UsageError(
            f"to {task.name}, a module gives (N, classes) or images (N, C, H, W); this one gives "
            f"{tuple(given)}"
        )
    if len(given) == 4 and (images.labels or pixels != Pixels().of(channels)):
        raise UsageError(
            "labels and pixels belong to classes; a network that gives images takes them as they "
            "are, 0 to 1"
        )
    meaning: dict[str, Any] = {
        "size": [height, width],
        "channels": channels,
        "levels": False,
        "mean": mean,
        "std": std,
        "resize": images.resize,
        "scale": given[2] // height if len(given) == 4 else 1,
    }
    if images.labels:
        meaning["labels"] = list(images.labels)
    return ModuleConfig((height, width), int(given[1]) if len(given) == 2 else 0), meaning


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
