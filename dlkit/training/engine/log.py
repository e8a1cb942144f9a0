"""What a run writes beside its weights: log.jsonl, curve.png and TensorBoard's events."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.atomic import write_bytes
from dlkit.training.engine.curve import draw_curve
from dlkit.training.engine.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_SECONDS_BETWEEN_PICTURES = 15.0  # drawing takes as long as an epoch of a small network
_NOT_CURVES = {"epoch", "step"}

Entry = dict[str, Any]


class Log:
    """Writes the entries of a run as they come.

    Args:
        entries: that are there already; the list grows elsewhere.
        step: where training begins, or goes on; what an earlier try told TensorBoard beyond it is
            dropped.
    """

    def __init__(self, run: Run, entries: list[Entry], step: int) -> None:
        self._run, self._entries = run, entries
        self._board = _board(run.path, step)
        self._drawn = time.monotonic()
        self._told = 0 if step == 0 else len(entries)

    def write(self, finished: bool = False) -> None:
        """Write what is new. The curve is not drawn each time, or it would cost much."""
        lines = "".join(json.dumps(entry) + "\n" for entry in self._entries)
        write_bytes(self._run.log, lines.encode())
        for entry in self._entries[self._told :]:
            self._tell_board(entry)
        self._told = len(self._entries)
        if self._board is not None:
            self._board.flush()  # else a kill loses two minutes of it
        drawable = any(entry["event"] == "epoch" and entry["epoch"] for entry in self._entries)
        late = time.monotonic() - self._drawn > _SECONDS_BETWEEN_PICTURES
        if drawable and (finished or late):
            draw_curve(self._entries, self._run.path / "curve.png")
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Nothing comes any more."""
        if self._board is not None:
            self._board.close()

    def _tell_board(self, entry: Entry) -> None:
        """Its numbers over the steps."""
        if self._board is None or "step" not in entry:
            return
        for name, value in entry.items():
            if name not in _NOT_CURVES and isinstance(value, int | float):
                self._board.add_scalar(name, value, entry["step"])


def _board(folder: Path, step: int) -> SummaryWriter | None:
    """A writer of RUN/tensorboard; None where tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)
