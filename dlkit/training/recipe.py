"""Recipe: what a model is and how it is trained, as a frozen dataclass.

A recipe is a constant in a file of ``recipes/``; a variant is ``replace(base, epochs=10)`` or
``--set epochs=10``; the resolved one is saved as JSON beside the checkpoint.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from dlkit.errors import TrainingError, UsageError
from dlkit.plugins import Plugins, unknown

ARCHITECTURES = Plugins("dlkit.training.architectures", "architecture")
RECIPES = Plugins("dlkit.training.recipes", "recipe")
TRAINERS = Plugins("dlkit.training.trainers", "trainer")

R = TypeVar("R", bound="Recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all recipes have. Each trainer adds its own fields.

    Attributes:
        about: one line for ``dlkit models``; says nothing of what is trained.
        network: the ``Config`` of an architecture.
        data: default of ``--data``.
        seed: of weights, order and augmentation.
        bfloat16: compute forward and backward in bfloat16 where that is safe (torch's autocast).
    """

    trainer: ClassVar[str]  # file in trainers/ that it is for

    about: str = field(compare=False)
    network: Any
    data: str
    seed: int = 0
    bfloat16: bool = False

    @property
    def architecture(self) -> str:
        """Name of the architecture: the file that ``network`` is the Config of."""
        return type(self.network).__module__.rpartition(".")[2]

    @property
    def task(self) -> str:
        """The runtime task that the network serves."""
        return str(ARCHITECTURES.load(self.architecture).TASK)

    def fine_tuning(self: R) -> R:
        """What is different when training begins with weights that are good already."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives the same recipe back."""
        values = dataclasses.asdict(self)
        return {"trainer": self.trainer, "architecture": self.architecture, **values}

    def with_settings(self: R, settings: Iterable[str]) -> R:
        """A variant: each setting is ``key=value``, a field of the recipe or of its network.

        Raises:
            UsageError: no such field (all are listed), or a value of the wrong type.
        """
        recipe = self
        for setting in settings:
            key, equals, text = setting.partition("=")
            key = key.strip()
            if not equals:
                raise UsageError(f"--set {setting}: expected key=value, e.g. --set seed=1")
            own = _scalars(recipe)
            inner = _scalars(recipe.network)
            if key in own:
                recipe = dataclasses.replace(recipe, **{key: _parse(key, text, own[key])})
            elif key in inner:
                value = _parse(key, text, inner[key])
                network = dataclasses.replace(recipe.network, **{key: value})
                recipe = dataclasses.replace(recipe, network=network)
            else:
                raise UsageError(unknown("setting", key, [*own, *inner]))
        return recipe


def from_json(data: Mapping[str, Any]) -> Recipe:
    """Read what ``Recipe.to_json`` wrote.

    Raises:
        TrainingError: it was written by another version, or is damaged.
    """
    try:
        values = dict(data)
        recipe_class = TRAINERS.load(values.pop("trainer")).RECIPE
        config = ARCHITECTURES.load(values.pop("architecture")).Config
        network = config(**values.pop("network"))
        return recipe_class(network=network, **values)  # type: ignore[no-any-return]
    except (KeyError, TypeError, UsageError) as error:
        raise TrainingError(
            f"recipe.json cannot be read ({error}): made by another dlkit? Train again"
        ) from error


def load_recipe(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        UsageError: unknown; close names are suggested.
    """
    return RECIPES.load(name).RECIPE  # type: ignore[no-any-return]


def _scalars(instance: Any) -> dict[str, type]:
    hints = typing.get_type_hints(type(instance))
    names = [field.name for field in dataclasses.fields(instance)]
    return {name: hints[name] for name in names if hints[name] in (int, float, str, bool)}


def _parse(key: str, text: str, kind: type) -> Any:
    text = text.strip()
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise UsageError(f"--set {key}={text}: expected true or false")
        return words[text.lower()]
    try:
        return kind(text)
    except ValueError as error:
        raise UsageError(f"--set {key}={text}: expected {kind.__name__}") from error
