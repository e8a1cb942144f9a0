"""Denoise: noisy images in, cleaned images out; passive millimetre-wave scans first of all."""

from dlkit.tasks.denoise.model import Denoiser
from dlkit.tasks.denoise.task import TASK, Name

__all__ = ["TASK", "Denoiser", "Name"]
