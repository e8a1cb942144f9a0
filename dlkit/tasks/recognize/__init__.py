"""Recognize: which of some classes an image shows; digits also in photographs and on pages."""

from dlkit.tasks.recognize.model import Prediction, Recognizer
from dlkit.tasks.recognize.task import TASK, Name

__all__ = ["TASK", "Name", "Prediction", "Recognizer"]
