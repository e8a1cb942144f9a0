"""Engines on an NVIDIA GPU: memory, streams, shapes, and which engine fits. No torch."""
