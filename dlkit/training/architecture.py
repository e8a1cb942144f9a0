"""Architecture: a kind of network, as a value; Network: one of that kind, with its settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

from torch import nn

from dlkit.errors import UsageError
from dlkit.plugins import Registry
from dlkit.tasks import Task

Config = TypeVar("Config")


@dataclass(frozen=True)
class Architecture(Generic[Config]):
    """A kind of network. dlkit's own are constants, one a file of ``training/networks/``.

    A classifier takes float32 (N, channels, image_size, image_size), normalised, and gives logits
    (N, classes); these three are whole numbers of its config. A network that restores images takes
    float32 (N, channels, H, W), 0 to 1, with H and W multiples of ``multiple_of``, and gives the
    same, about 0 to 1. One that makes images takes float32 (N, latent + classes), noise and behind
    it one 1 among zeros for the class, and gives float32 (N, channels, image_size, image_size), -1
    to 1. Where one of these numbers is 0, a trainer fills in what the data have. What a plug-in's
    task takes is that task's matter.

    Attributes:
        name: for people, e.g. ``lenet``.
        task: that it serves, e.g. ``dlkit.tasks.recognize.TASK``.
        config: a frozen dataclass of plain scalars: what of the network can be chosen.
        build: makes it, freshly initialised.
        multiple_of: heights and widths must be multiples of this.
        adapted: convolutions whose channels are scaled and shifted when a trained network is
            adapted to few pairs; empty where it is trained on as a whole.
    """

    name: str
    task: Task
    config: type[Config]
    build: Callable[[Config], nn.Module]
    multiple_of: int = 1
    adapted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise UsageError(
                f"task of the architecture {self.name}: expected a Task, got {self.task!r}",
                "Give the task itself, e.g. dlkit.tasks.recognize.TASK",
            )

    def __call__(self, **settings: Any) -> Network:
        """A network of this kind; what is not set is as the config has it."""
        return Network(self, self.config(**settings))

    @property
    def reference(self) -> str:
        """The name by which ``ARCHITECTURES`` finds it again.

        Raises:
            UsageError: it is no constant of the module that holds ``build`` or ``config``.
        """
        # either may be another architecture's
        homes = [self.config.__module__, getattr(self.build, "__module__", "")]
        for home in homes:
            if any(value is self for value in vars(sys.modules.get(home, object)).values()):
                return ARCHITECTURES.reference(self, home)
        return ARCHITECTURES.reference(self, homes[0])


@dataclass(frozen=True)
class Network:
    """A network to be: an architecture and its settings.

    Attributes:
        config: an instance of ``architecture.config``.
    """

    architecture: Architecture[Any]
    config: Any

    def build(self) -> nn.Module:
        """Make it, with fresh weights.

        Raises:
            UsageError: settings that make no network.
        """
        try:
            return self.architecture.build(self.config)
        except ValueError as error:  # torch's, e.g. of a dropout of 2
            raise UsageError(f"{self.architecture.name}: {error}") from error

    def replace(self, **settings: Any) -> Network:
        """The same with other settings."""
        return Network(self.architecture, replace(self.config, **settings))

    def filled(self, **found: int) -> Network:
        """The same for some data: settings that are 0 become what was found there.

        Raises:
            UsageError: the config has no such setting.
        """
        for name in found:
            if not hasattr(self.config, name):
                raise UsageError(
                    f"{type(self.config).__qualname__} of the architecture "
                    f"{self.architecture.name} has no {name}, and the data decide it",
                    f"Give it the field '{name}: int = 0'",
                )
        return self.replace(**{name: getattr(self.config, name) or found[name] for name in found})

    def to_json(self) -> dict[str, Any]:
        """``architecture`` by its reference, and the settings; plain JSON values."""
        return {"architecture": self.architecture.reference, **asdict(self.config)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Network:
        """Read what ``to_json`` wrote.

        Raises:
            UsageError: the architecture is not here; says which package it came from.
            TypeError, KeyError: other settings than it has.
        """
        settings = dict(data)
        architecture = ARCHITECTURES.load(str(settings.pop("architecture")))
        return architecture(**settings)


ARCHITECTURES: Registry[Architecture[Any]] = Registry(
    "architecture",
    "dlkit.training.networks",
    "dlkit.architectures",
    Architecture,
    "ARCHITECTURE",
)
