"""Generate: noise in, images out; of a class that is asked for where the network knows classes."""

from dlkit.tasks.generate.model import Generator
from dlkit.tasks.generate.task import TASK, Name

__all__ = ["TASK", "Generator", "Name"]
