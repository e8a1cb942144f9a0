"""A table's rows in the order of the inputs, whether they were done now or before."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from dlkit.runtime.folders.sources import Source
from dlkit.runtime.folders.table import Table

Line = dict[str, Any]


class Ordered:
    """Holds back what was done before until what comes before it in the inputs is done.

    So a run that was killed and goes on ends with the table of one that was not. Of a line that
    waits only its place in the manifest is kept: there may be a million.

    Args:
        table: takes the lines; None where there is none.
        read: gives the manifest's line at a place.
    """

    def __init__(self, table: Table | None, read: Callable[[int], Line]) -> None:
        self._table, self._read = table, read
        self._begun = self._ended = 0  # sources that are done now
        self._after, self._places = array("Q"), array("Q")
        self._next = 0

    def counted(self, sources: Iterable[Source]) -> Iterator[Source]:
        """The sources that are done now, as they are begun."""
        for source in sources:
            self._begun += 1
            yield source

    def before(self, place: int, line: Line) -> None:
        """One that was done before comes next."""
        if self._table is None:
            return
        if self._begun == self._ended:
            self._table.add_lines([line])
        else:
            self._after.append(self._begun)
            self._places.append(place)

    def add(self, lines: Sequence[Line]) -> None:
        """Lines of sources that are done now, in their order."""
        if self._table is None:
            return
        done = 0
        while self._next < len(self._after):
            now = self._after[self._next] - self._ended
            if now > len(lines):
                break
            self._table.add_lines([*lines[done:now], self._read(self._places[self._next])])
            self._next += 1
            done = now
        else:
            del self._after[:], self._places[:]
            self._next = 0
        self._table.add_lines(lines[done:])
        self._ended += len(lines)

    def close(self) -> None:
        """Nothing is done any more: what still waits comes now."""
        for place in self._places[self._next :]:
            if self._table is not None:
                self._table.add_lines([self._read(place)])
