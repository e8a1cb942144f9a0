"""The inputs of a shard, as its plan has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dlkit.runtime.folders.sources import Inputs, LeftOut, Source
from dlkit.runtime.folders.todo import Line
from dlkit.storage import Address, Entry, Stored, open_store


@dataclass(frozen=True)
class Planned(Inputs):
    """What is left to do of a shard.

    Attributes:
        lines: of the plan; those with a status were done by an earlier run.
        names: takes the names of all inputs in their order, as they come; of archives too.
    """

    lines: Sequence[Line] = ()
    names: list[str] = field(default_factory=list)

    def __call__(self, left_out: LeftOut | None = None) -> Iterator[Source]:
        """Those that were not done before, archives opened."""
        before = {line["file"] for line in self.lines if "status" in line}
        whole = any(map(self.is_archive, self.listed()))
        for line in self.lines:
            if "status" in line:
                if not whole:  # it comes again, in the place that it has in its archive
                    self.names.append(line["file"])
                continue
            for source in self.inside(_source(line), left_out):
                self.names.append(source.name)
                if source.name not in before:
                    yield source

    def listed(self, left_out: LeftOut | None = None) -> Iterator[Source]:
        """Those that were not done before, archives not opened."""
        return (_source(line) for line in self.lines if "status" not in line)


def _source(line: Line) -> Source:
    root, key = _split(line["path"])
    stored = Stored(open_store(Address(root, "")), Entry(key, line["bytes"], line["etag"]))
    return Source(line["path"], line["file"], stored)


def _split(path: str) -> tuple[str, str]:
    """An object's root and key, whatever its key holds."""
    scheme, _, rest = path.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key
