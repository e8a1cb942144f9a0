"""An object as a file that is read in blocks, from front to back or anywhere."""

from __future__ import annotations

import io
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import IO

from dlkit.errors import InputError
from dlkit.storage.store import Store, WholeError

# A request takes 100 to 200 ms whatever its size (see ``store.CALLERS``), and one connection gives
# some 85 to 90 MB/s (AWS, "Best practices design patterns"), so that 8 MB hide the latency.
BLOCK = 8 << 20


class ObjectFile(io.RawIOBase):
    """A file to read. Two blocks are held at most: the one that is read, and the next. Where the
    store gives objects only whole, it is put on the disk here first.

    Args:
        size, etag: as the listing has them.

    Reading raises:
        InputError: the object is another one than was listed, or is gone.
        MachineError: the store cannot be read.
    """

    def __init__(self, store: Store, key: str, size: int, etag: str, block: int = BLOCK) -> None:
        super().__init__()
        self._store, self._key, self._size, self._etag = store, key, size, etag
        self._length = block
        self._at = 0
        self._pool = ThreadPoolExecutor(1, "object-file")
        self._block: tuple[int, bytes] = (-1, b"")
        self._next: tuple[int, Future[bytes]] | None = None
        self._whole: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._size or not len(buffer):
            return 0
        number, begin = divmod(self._at, self._length)
        found = self._get(number)[begin : begin + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._pool.shutdown(wait=True, cancel_futures=True)
            if self._whole is not None:
                self._whole.close()
        super().close()

    def _get(self, number: int) -> bytes:
        if self._block[0] != number:
            following = number == self._block[0] + 1
            ahead, self._next = self._next, None
            if ahead is not None and ahead[0] == number:
                data = ahead[1].result()
            else:
                data = self._read(number)
            self._block = number, data
            more = (number + 1) * self._length < self._size
            if following and more and self._whole is None:
                self._next = number + 1, self._pool.submit(self._read, number + 1)
        return self._block[1]

    def _read(self, number: int) -> bytes:
        start = number * self._length
        stop = min(start + self._length, self._size)
        if self._whole is None:
            try:
                data, etag = self._store.get_range(self._key, start, stop)
                self._check(etag)
                return data
            except WholeError:
                self._whole = self._fetched()
        self._whole.seek(start)
        return self._whole.read(stop - start)

    def _fetched(self) -> IO[bytes]:
        with ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile(prefix="dlkit-"))
            self._check(self._store.get_into(self._key, file))
            stack.pop_all()
        return file

    def _check(self, etag: str) -> None:
        if etag != self._etag:
            raise InputError(f"{self._key} changed while it was read", "Run it again")
