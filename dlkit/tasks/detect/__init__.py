"""Detect: scans in, concealed objects out, with boxes, chances and masks."""

from dlkit.tasks.detect.model import Detector
from dlkit.tasks.detect.objects import ConcealedObject, Detection
from dlkit.tasks.detect.task import TASK, Name

__all__ = ["TASK", "ConcealedObject", "Detection", "Detector", "Name"]
