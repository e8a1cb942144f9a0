"""Outputs: where answers go, and whether they may."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dlkit.errors import DlkitError, UsageError
from dlkit.runtime.folders.result import Written
from dlkit.runtime.folders.sources import Source

if TYPE_CHECKING:
    from dlkit.runtime.folders.journal import Journal


@dataclass
class Outputs:
    """A file for every input, which replaces only what dlkit wrote.

    Attributes:
        target: the output's path.
        write: writes an answer to a path, whole or not at all.
        journal: knows what earlier runs wrote; set for each pass.
        overwrite: replace what others wrote, too; never an input.
    """

    target: Callable[[Source], Path]
    write: Callable[[Source, Any, Path], None]
    journal: Journal | None = field(default=None, compare=False)
    overwrite: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def claim(self, sources: Sequence[Source]) -> dict[str, DlkitError]:
        """Take possession of the outputs of some files; gives why not, by name, where not."""
        refused: dict[str, DlkitError] = {}
        free = []
        for source in sources:
            if (error := self._refusal(source)) is not None:
                refused[source.name] = error
            else:
                free.append(source.name)
        if self.journal is not None:
            self.journal.claim(free)
        return refused

    def save(self, source: Source, answer: Any) -> Written:
        """Write an answer."""
        path = self.target(source)
        self.write(source, answer, path)
        return Written(path.stat().st_size)

    def there(self, source: Source, line: dict[str, Any]) -> bool:
        """Whether an output is still as the manifest's line has it."""
        try:
            return os.stat(self.target(source)).st_size == line.get("written")  # noqa: PTH116
        except OSError:
            return False

    def _refusal(self, source: Source) -> DlkitError | None:
        path = self.target(source)
        try:
            here = os.stat(path)  # noqa: PTH116  # of every file
        except OSError:
            return None
        try:
            if source.stored is None and os.path.samestat(here, os.stat(source.path)):  # noqa: PTH116
                return UsageError(f"{path} is the input itself", "Choose another --out")
        except OSError:
            pass
        if self.overwrite or (self.journal is not None and self.journal.wrote(source.name)):
            return None
        return UsageError(
            f"{path} is there already, and dlkit did not write it",
            "Choose another --out, or replace it with --overwrite",
        )
