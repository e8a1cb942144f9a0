"""What a run writes beside its weights: log.jsonl, curve.png and TensorBoard's events."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from dlkit.atomic import write_bytes
from dlkit.training.board import Board
from dlkit.training.curve import draw_curve
from dlkit.training.run import Run

_SECONDS_BETWEEN_PICTURES = 15.0  # drawing takes as long as an epoch of a small network

Entry = dict[str, Any]


class Record:
    """Writes the entries of a run's log as they come.

    Args:
        entries: that are there already; the list grows elsewhere.
        step: where training begins, or goes on.
    """

    def __init__(self, run: Run, entries: list[Entry], step: int) -> None:
        self._run, self._entries = run, entries
        self._board = Board(run.path, step)
        self._drawn = -math.inf
        self._told = 0 if step == 0 else len(entries)

    def write(self, finished: bool = False) -> None:
        """Write what is new. The curve is not drawn each time, or it would cost much."""
        lines = "".join(json.dumps(entry) + "\n" for entry in self._entries)
        write_bytes(self._run.log, lines.encode())
        for entry in self._entries[self._told :]:
            self._board.add(entry)
        self._told = len(self._entries)
        drawable = any(entry["event"] == "epoch" and entry["epoch"] for entry in self._entries)
        late = time.monotonic() - self._drawn > _SECONDS_BETWEEN_PICTURES
        if drawable and (finished or late):
            draw_curve(self._entries, self._run.path / "curve.png")
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Nothing comes any more."""
        self._board.close()
