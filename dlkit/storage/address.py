"""Addresses of objects: ``s3://bucket/key`` and the like; everything else is a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dlkit.errors import UsageError

SCHEMES = ("s3", "gs", "az", "file")


@dataclass(frozen=True)
class Address:
    """Where an object is, or the beginning of the keys of many.

    Attributes:
        root: scheme and bucket, e.g. ``s3://scans``; ``file://`` has no bucket.
        key: below the root, without slashes at its ends; a folder's path for ``file``.
    """

    root: str
    key: str

    def __str__(self) -> str:
        return f"{self.root}/{self.key}"

    @property
    def scheme(self) -> str:
        """One of ``SCHEMES``."""
        return self.root.partition("://")[0]

    @property
    def bucket(self) -> str:
        """Its name; nothing for ``file``."""
        return self.root.partition("://")[2]

    @property
    def name(self) -> str:
        """The last part of the key; the bucket's name where there is no key."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def suffix(self) -> str:
        """The ending of the name with its point, or nothing."""
        return Path(self.name).suffix

    def below(self, *names: str) -> Address:
        """An address below this one."""
        return Address(self.root, "/".join([*([self.key] if self.key else []), *names]))

    @property
    def parent(self) -> Address:
        """Where it is."""
        return Address(self.root, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> Address:
        """The same with another last part."""
        return self.parent.below(name)

    def holds(self, other: Address) -> bool:
        """Whether another is this one, or below it."""
        inside = not self.key or f"{other.key}/".startswith(f"{self.key}/")
        return self.root == other.root and inside


Place = Path | Address


def place(text: str | Path | Address) -> Place:
    """A path, or the address that a text is.

    Raises:
        UsageError: an address of another kind, or without a bucket.
    """
    if not isinstance(text, str):
        return text
    scheme, colon, rest = text.partition("://")
    if not colon or not scheme.isalnum():
        return Path(text)
    if scheme not in SCHEMES:
        raise UsageError(
            f"{scheme}:// is no kind of address that is read",
            f"Use {', '.join(f'{one}://' for one in SCHEMES)}, or a path",
        )
    if scheme == "file":
        if not rest.startswith("/"):
            raise UsageError(f"{text} is no whole path", "Write file:///PATH, from the root")
        return Address("file://", str(Path(rest).resolve()).strip("/"))
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise UsageError(f"{text} names no bucket", f"Write {scheme}://BUCKET/FOLDER")
    return Address(f"{scheme}://{bucket}", key.strip("/"))
