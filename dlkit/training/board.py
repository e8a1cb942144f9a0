"""Logs for TensorBoard, where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NOT_CURVES = {"epoch", "step"}


class Board:
    """Writes RUN/tensorboard; does nothing where tensorboard is not installed.

    Args:
        folder: the run's.
        step: where training goes on; what an earlier try logged beyond it is dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def add(self, entry: Mapping[str, Any]) -> None:
        """An entry of the log: its numbers over the steps."""
        if self._writer is None or "step" not in entry:
            return
        for name, value in entry.items():
            if name not in _NOT_CURVES and isinstance(value, int | float):
                self._writer.add_scalar(name, value, entry["step"])

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
