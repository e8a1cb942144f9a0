"""The shipped detector of concealed objects."""

from __future__ import annotations

from dlkit.training.detect.recipe import DetectRecipe
from dlkit.training.networks.detector import ARCHITECTURE as DETECTOR

RECIPE = DetectRecipe(
    about="the shipped detector: concealed objects on scans, by a small U-Net",
    network=DETECTOR(),
)
