"""A part of an archive that is an input of its own."""

from __future__ import annotations

from typing import NamedTuple

from dlkit.errors import DlkitError


class Member(NamedTuple):
    """An input inside an archive, which is asked as ``dlkit.storage.Stored`` is.

    Attributes:
        archive: path of the archive.
        state: of the archive: its ETag, or its size, dates and inode.
        content: the bytes, or why there are none.
    """

    archive: str
    state: str
    content: bytes | DlkitError

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else 0

    @property
    def etag(self) -> str:
        """The archive's state: with it, its members are what they were."""
        return self.state

    def read(self) -> tuple[bytes, str]:
        """The bytes, and the archive's state.

        Raises:
            DlkitError: why there are none.
        """
        if isinstance(self.content, DlkitError):
            raise self.content
        return self.content, self.state
