"""Generate: noise in, images out; of a class that is asked for where the network knows classes."""

from dlkit.tasks.generate.model import Generator
from dlkit.tasks.generate.task import TASK

__all__ = ["TASK", "Generator"]
