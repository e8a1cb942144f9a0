"""Recipe: what a model is and how it is trained, as a frozen dataclass.

A recipe is a constant: of a file in ``recipes/``, of another package, or of any Python file. A
variant is ``replace(base, epochs=10)`` or ``--set epochs=10``, also of a part of it:
``--set optimizer.learning_rate=0.01``. The resolved one is saved as JSON beside the checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeGuard

from dlkit.errors import TrainingError, UsageError
from dlkit.plugins import Registry, load_attribute, unknown
from dlkit.tasks import Task
from dlkit.training.architecture import Network

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from dlkit.training.engine.fabric import Compute
    from dlkit.training.engine.trainer import Trainer

_SCALARS = (int, float, str, bool)
_LARGEST = 2**63 - 1
_LARGEST_SEED = 2**32 - 1  # torch takes 64 bits, and the number of the step is mixed into it


@dataclass(frozen=True)
class Example:
    """What a recipe's network would be on usual data: for lists, and to try without training.

    Attributes:
        network: with nothing left to the data.
        meaning: as ``Trainer.meaning`` gives it.
        shape: of one input that the network takes, float32, without the batch.
    """

    network: Network
    meaning: Mapping[str, Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """What all recipes have. Each way to train has a subclass with its own fields and parts.

    Attributes:
        about: one line for ``dlkit models``; says nothing of what is trained.
        network: what is trained.
        data: default of ``--data``.
        seed: of weights, order and augmentation.
        bfloat16: compute forward and backward in bfloat16 where that is safe (torch's autocast).
    """

    least: ClassVar[Mapping[str, float]] = {}  # smallest values of fields, by dotted name
    below: ClassVar[Mapping[str, float]] = {}  # and what they must stay below
    # package.module:CLASS; by name, since a trainer knows its recipe and not the other way round
    trained_by: ClassVar[str] = ""

    about: str = field(compare=False)
    network: Network
    data: str
    seed: int = 0
    bfloat16: bool = False

    def trainer(self, data: str, compute: Compute) -> Trainer:
        """What trains it on ``data``: ``trained_by``, called with the recipe and both of these.

        Raises:
            UsageError: settings that cannot be.
            InputError: data that cannot be used.
        """
        made: Trainer = load_attribute(self.trained_by)(self, data, compute)
        made.notes = [*made.notes, *compute.notes]
        return made

    @abstractmethod
    def example(self) -> Example:
        """The network on usual data; settings that are not 0 stay."""

    def rehearsed(self, data: str) -> Self:
        """The same with little data, where those cost much: to try a few steps."""
        return self

    @property
    def task(self) -> Task:
        """The task that the network serves."""
        return self.network.architecture.task

    def fine_tuning(self, data: str) -> Recipe:
        """What is different when training on ``data`` begins with weights that are good already."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives the same recipe back."""
        values = {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)
            if one.name != "network"
        }
        parts = {
            name: dataclasses.asdict(value) if _is_part(value) else value
            for name, value in values.items()
        }
        kind = type(self)
        return {
            "recipe": _CLASSES.reference(kind, kind.__module__),
            "network": self.network.to_json(),
            **parts,
        }

    def with_settings(self, settings: Iterable[str]) -> Self:
        """A variant: each setting is ``name=value``.

        A name is dotted where the field is in a part, ``optimizer.learning_rate``; its last word is
        enough where only one part has it, and the part's own where it has a ``name``:
        ``optimizer=adam``.

        Raises:
            UsageError: no such field (all are listed), or a value of the wrong type.
        """
        recipe = self
        for setting in settings:
            key, equals, text = setting.partition("=")
            key = key.strip()
            if not equals:
                raise UsageError(f"--set {setting}: expected name=value, e.g. --set seed=1")
            known = dict(recipe._settings())
            if f"{key}.name" in known:
                key = f"{key}.name"
            if key not in known:
                same = [name for name in known if name.rpartition(".")[2] == key]
                if len(same) > 1:
                    raise UsageError(f"--set {key}: which one? {', '.join(same)}")
                if not same:
                    raise unknown("setting", key, list(known))
                key = same[0]
            recipe = recipe._with(key.split("."), _parse(key, text, known[key]))
        return recipe

    def check(self) -> None:
        """Refuse what cannot be, before anything is computed or overwritten.

        Raises:
            UsageError: a number that is too small, too large, or no number at all.
        """
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"seed is {self.seed}, expected 0 to {_LARGEST_SEED}")
        for name, _ in self._settings():
            value: Any = self
            for word in name.split("."):
                value = getattr(value.config if isinstance(value, Network) else value, word)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{name} is {value}, expected a number")
            least, below = self.least.get(name), self.below.get(name)
            if (least is not None and value < least) or (below is not None and value >= below):
                wanted = f"{least:g} or more" if least is not None else ""
                wanted += f"{', ' if wanted else ''}below {below:g}" if below is not None else ""
                raise UsageError(f"{name} is {value}, expected {wanted}")

    def _settings(self) -> Iterator[tuple[str, type]]:
        """Dotted name and type of every scalar in it."""
        yield from _scalars(self)
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            part = value.config if isinstance(value, Network) else value
            if _is_part(part):
                yield from ((f"{one.name}.{name}", kind) for name, kind in _scalars(part))

    def _with(self, words: list[str], value: Any) -> Self:
        if len(words) == 1:
            return dataclasses.replace(self, **{words[0]: value})
        part = getattr(self, words[0])
        if isinstance(part, Network):
            changed: Any = part.replace(**{words[1]: value})
        else:
            changed = dataclasses.replace(part, **{words[1]: value})
        return dataclasses.replace(self, **{words[0]: changed})


_CLASSES: Registry[type] = Registry("recipe class", "", "", type, "")
RECIPES: Registry[Recipe] = Registry(
    "recipe", "dlkit.training.recipes", "dlkit.recipes", Recipe, "RECIPE"
)


def from_json(data: Mapping[str, Any]) -> Recipe:
    """Read what ``Recipe.to_json`` wrote.

    Raises:
        UsageError: the package that its architecture or its class came from is not here.
        TrainingError: it was written by another version, or is damaged.
    """
    try:
        values = dict(data)
        kind = load_attribute(str(values.pop("recipe")))
        if not (isinstance(kind, type) and issubclass(kind, Recipe)):
            raise TypeError(f"{kind} is no recipe class")
        network = Network.from_json(values.pop("network"))
        hints = typing.get_type_hints(kind)
        for name, value in values.items():
            part = hints.get(name)
            if isinstance(part, type) and dataclasses.is_dataclass(part):
                values[name] = part(**value)
        recipe = kind(network=network, **values)
        _check_types(recipe)
        return recipe
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        why = str(error).partition("\n")[0][:200]
        raise TrainingError(
            f"recipe.json cannot be read ({type(error).__name__}: {why}): made by another dlkit?",
            "Train again",
        ) from error


def _check_types(recipe: Recipe) -> None:
    """JSON may hold anything in the place of a number.

    Raises:
        TypeError: it does.
    """
    for name, kind in recipe._settings():
        value: Any = recipe
        for word in name.split("."):
            value = getattr(value.config if isinstance(value, Network) else value, word)
        fits = type(value) in ((int, float) if kind is float else (kind,))
        if not fits or (kind is int and abs(value) > _LARGEST):
            raise TypeError(f"{name} is {str(value)[:50]!r}, expected {kind.__name__}")


def _scalars(instance: Any) -> list[tuple[str, type]]:
    hints = typing.get_type_hints(type(instance))
    names = [one.name for one in dataclasses.fields(instance)]
    return [(name, hints[name]) for name in names if hints[name] in _SCALARS]


def _is_part(value: object) -> TypeGuard[DataclassInstance]:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _parse(key: str, text: str, kind: type) -> Any:
    text = text.strip()
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise UsageError(f"--set {key}={text}: expected true or false")
        return words[text.lower()]
    try:
        value = kind(text)
        if kind is int and abs(value) > _LARGEST:
            raise ValueError
        return value
    except ValueError as error:
        whole = f"a whole number, at most {_LARGEST}"
        what = {int: whole, float: "a number"}.get(kind, kind.__name__)
        raise UsageError(f"--set {key}={text}: expected {what}") from error
