"""What came of a file: an answer, where it was written, or why there is none."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from dlkit.errors import DlkitError


class Written(NamedTuple):
    """An output.

    Attributes:
        size: bytes.
        sum, modified: of a file, whose place was claimed before: of its content (see ``Content``),
            and nanoseconds since 1970.
        etag, place: of an object, and where that is as the manifest says it.
    """

    size: int
    sum: str = ""
    modified: int = 0
    etag: str = ""
    place: str = ""


@dataclass(slots=True)
class Result:
    """The answer for one source, or why there is none.

    Attributes:
        size, modified, changed, inode: of the file when it was read: bytes, nanoseconds since 1970
            (of its content, and of its inode), and the inode's number.
        etag: of an object that was read, in the place of dates.
        written: its output; None where it has none.
        putting: its output on the way to an object store.
    """

    source: Any
    answer: Any = None
    error: DlkitError | None = None
    size: int = 0
    modified: int = 0
    changed: int = 0
    inode: int = 0
    etag: str = ""
    written: Written | None = None
    putting: Future[Written] | None = None
