"""The journal of a shard: its parts, and the record that it is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from dlkit.errors import MachineError
from dlkit.runtime.folders.lines import as_lines, plain
from dlkit.runtime.folders.stored_journal import StoredJournal
from dlkit.runtime.folders.todo import Line
from dlkit.storage import Address, ExistsError


class ShardJournal(StoredJournal):
    """A journal that puts the shard's record in the end.

    Args:
        lines: of the plan.
        names: of all inputs in their order, those in archives too, once the run is through.
    """

    def __init__(
        self, place: Address, model: str, lines: Sequence[Line], names: Sequence[str]
    ) -> None:
        self._before = {line["file"]: line for line in lines if "status" in line}
        self._names = names
        self._ours: dict[str, list[int]] = {}
        for line in lines:
            self._ours |= line.get("own", {})
        super().__init__(place, model)

    def states(self, place: str) -> list[int]:
        """Of what earlier runs put there."""
        return self._ours.get(place, []) + super().states(place)

    def finish(self) -> None:
        """Put a line for every input, in their order, unless somebody else did."""
        if self.broken is not None:
            raise MachineError(self.broken, "Make room for temporary files, and run it again")
        latest = {}
        for text in self.path.read_bytes().splitlines(keepends=True):
            line = json.loads(plain(text) or b"{}")
            if "file" in line:
                latest[line["file"]] = line
        record = [self._before.get(name) or latest[name] for name in self._names]
        with suppress(ExistsError):
            self._store.put(self.place.key, as_lines(record).encode(), create=True)
        self._forget_parts()
