"""Store: what is asked of object storage, and objects that are read ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeVar

from dlkit.errors import InputError, MachineError

# Requests under way at once. A small object takes 100 to 200 ms (AWS, "Best practices design
# patterns: optimizing Amazon S3 performance"), so 64 of them are 300 to 600 objects a second.
CALLERS = 64
_AHEAD = 2 * CALLERS  # objects that are read before they are asked for ...
_AHEAD_BYTES = 256 << 20  # ... and what they may hold


class MissingError(InputError):
    """There is no such object."""


class ExistsError(MachineError):
    """There is such an object already."""


class WholeError(MachineError):
    """The store gives objects whole, and no ranges of them."""


class Entry(NamedTuple):
    """An object of a listing.

    Attributes:
        size: bytes.
        etag: changes with the content, without quotes.
    """

    key: str
    size: int
    etag: str


class Store(Protocol):
    """A bucket. Any thread may call it; errors are ``DlkitError`` and hold no credentials."""

    @property
    def conditional(self) -> bool:
        """Whether it refuses to put what must not be there and is, as far as that is known."""
        ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """The objects below a key, in parts as they come."""
        ...

    def head(self, key: str) -> Entry:
        """An object without its content; ``MissingError`` where there is none."""
        ...

    def get(self, key: str) -> tuple[bytes, str]:
        """Content and ETag of one moment; ``MissingError`` where there is none."""
        ...

    def get_range(self, key: str, start: int, stop: int) -> tuple[bytes, str]:
        """Bytes from ``start`` to ``stop``, within the object, and the ETag of that moment;
        ``WholeError`` where the store cannot do that."""
        ...

    def get_into(self, key: str, file: IO[bytes]) -> str:
        """Write the content into a file, as it comes; gives its ETag."""
        ...

    def marked(self, key: str) -> bool:
        """Whether an object was put by dlkit, as far as the store keeps such a mark."""
        ...

    def put(self, key: str, data: bytes | Path, create: bool = False) -> str:
        """Put an object whole, with dlkit's mark; gives its ETag.

        Args:
            create: only where there is none; ``ExistsError`` otherwise.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is not there is no error."""
        ...


class Stored:
    """An object that is an input.

    Attributes:
        size, etag: as the listing has them.
        archive: nothing: it is no part of another one.
    """

    __slots__ = ("_reading", "etag", "key", "size", "store")
    archive = ""

    def __init__(self, store: Store, entry: Entry) -> None:
        self.store, (self.key, self.size, self.etag) = store, entry
        self._reading: Future[tuple[bytes, str]] | None = None

    def begin(self, pool: ThreadPoolExecutor) -> None:
        """Begin to read it."""
        self._reading = pool.submit(self.store.get, self.key)

    def read(self) -> tuple[bytes, str]:
        """Its content and the ETag of that; waits where it is under way.

        Raises:
            InputError, MachineError: it cannot be read.
        """
        reading, self._reading = self._reading, None
        return self.store.get(self.key) if reading is None else reading.result()


class _Sized(Protocol):
    @property
    def size(self) -> int: ...


class _Holds(Protocol):
    @property
    def stored(self) -> _Sized | None: ...


Source = TypeVar("Source", bound=_Holds)


def read_ahead(sources: Iterable[Source]) -> Iterator[Source]:
    """The sources, while the stored ones behind them are read already."""
    waiting: deque[Source] = deque()
    held = 0
    pool = ThreadPoolExecutor(CALLERS, "read-ahead")
    try:
        for source in sources:
            if isinstance(source.stored, Stored):
                source.stored.begin(pool)
            elif not waiting:
                yield source
                continue
            held += source.stored.size if source.stored is not None else 0
            waiting.append(source)
            while waiting and (len(waiting) > _AHEAD or held > _AHEAD_BYTES):
                first = waiting.popleft()
                held -= first.stored.size if first.stored is not None else 0
                yield first
        yield from waiting
    except BaseException:  # nobody wants the rest
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=False)
