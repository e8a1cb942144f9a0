"""The journal of a shard: its parts, and the record that it is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from dlkit.errors import MachineError
from dlkit.runtime.folders.stored_journal import StoredJournal
from dlkit.runtime.folders.todo import Line
from dlkit.storage import Address, ExistsError


class ShardJournal(StoredJournal):
    """A journal that puts the shard's record in the end.

    Args:
        lines: of the plan.
    """

    def __init__(self, place: Address, model: str, lines: list[Line]) -> None:
        self._plan = lines
        self._ours = {line["file"] for line in lines if "own" in line}
        super().__init__(place, model)

    def wrote(self, name: str) -> bool:
        """Whether an earlier run put the output of a file."""
        return name in self._ours or super().wrote(name)

    def finish(self) -> None:
        """Put a line for every input, in their order, unless somebody else did."""
        if self.broken is not None:
            raise MachineError(self.broken, "Make room for temporary files, and run it again")
        latest = {}
        for text in self.path.read_bytes().splitlines():
            line = json.loads(text)
            if "file" in line:
                latest[line["file"]] = line
        record = [line if "status" in line else latest[line["file"]] for line in self._plan]
        with suppress(ExistsError):
            self._store.put(self.place.key, as_text(record), create=True)
        self._forget_parts()


def as_text(lines: Sequence[Line]) -> bytes:
    """JSON lines."""
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
