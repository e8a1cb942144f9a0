"""What dlkit knows of each task: one file or folder a task, and nowhere else.

A task is a value, ``TASK``: what goes in and comes out, how an input is prepared and an answer
finished, what is measured and on which data. A new task is one file here, or a value in another
package that its entry point in ``dlkit.tasks``, or ``package.module:NAME``, names. See ``Task``.
"""

from dlkit.plugins import Registry
from dlkit.tasks._data import Calibration, Feeds, HeldOut, Outputs, Score, batch_of
from dlkit.tasks._door import Door, Reply
from dlkit.tasks._model import Answers, Folder, FolderOptions, Model
from dlkit.tasks._session import Session
from dlkit.tasks._task import Task, Tolerance, single

TASKS: Registry[Task] = Registry("task", "dlkit.tasks", "dlkit.tasks", Task, "TASK")

__all__ = [
    "TASKS",
    "Answers",
    "Calibration",
    "Door",
    "Feeds",
    "Folder",
    "FolderOptions",
    "HeldOut",
    "Model",
    "Outputs",
    "Reply",
    "Score",
    "Session",
    "Task",
    "Tolerance",
    "batch_of",
    "single",
]
