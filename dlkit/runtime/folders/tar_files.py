"""Tar files, read from front to back: nothing is unpacked onto the disk, nothing is held but one
member at a time, and what the archive says of names, kinds and sizes is not trusted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Self, cast

from dlkit.errors import DlkitError, InputError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MOST = 1 << 30  # bytes of a member
_CHUNK = 1 << 20  # bytes that are read at once
_LONGEST = 1 << 20  # bytes of a member's name and other fields; file systems have 4096
_DAMAGED = (
    tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError,
    IndexError, RecursionError,  # tarfile's, of cut and of chained headers
)  # fmt: skip
_PACKED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
# Members whose content is fields of the next one: they are read whole, before anybody sees them.
_FIELDS = b"LKxgX"

Found = tuple[str, bytes | DlkitError]


def tar_members(
    file: IO[bytes],
    wanted: Callable[[str], bool],
    unread: Callable[[str], bool],
    left_out: Callable[[str, str], None],
) -> Iterator[Found]:
    """Name and content of the members that are wanted, in their order.

    In the place of a content that cannot be had is the error that says why: links, devices, names
    that lead out of the archive or come twice. The last one of a damaged archive has no name.

    Args:
        file: at its beginning.
        wanted: which names are taken.
        unread: of the others, which are said to be left out.
        left_out: takes the reason and the name of each file that is passed over.
    """
    seen: set[int] = set()
    try:
        with _unpacked(file) as plain:
            with tarfile.open(fileobj=plain, mode="r|", tarinfo=_Info) as archive:
                while (info := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # or it keeps them
                    for found in _taken(archive, info, wanted, unread, left_out):
                        key = hash(found[0])
                        if key in seen:
                            yield f"{found[0]} (2)", InputError("the archive has this name twice")
                            continue
                        seen.add(key)
                        yield found
                    _pass(archive)
                more = _goes_on(archive)
            while plain.read(_CHUNK):  # the sum at the end of what is packed
                pass
    except DlkitError as error:
        yield "", error
        return
    except _DAMAGED as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        yield "", InputError(f"the archive is damaged or cut after {len(seen)} files ({why})")
        return
    if more:
        yield (
            "",
            InputError(
                f"the archive ends after {len(seen)} files, and something follows",
                "If it is another archive, give it as a file of its own",
            ),
        )
    elif not seen:
        yield "", InputError("the archive holds no file of a kind that is taken")


def _taken(
    archive: tarfile.TarFile,
    info: tarfile.TarInfo,
    wanted: Callable[[str], bool],
    unread: Callable[[str], bool],
    left_out: Callable[[str, str], None],
) -> Iterator[Found]:
    parts = [part for part in info.name.split("/") if part not in ("", ".")]
    name = "/".join(parts)
    if info.isdir():
        return
    if not wanted(name):
        if unread(name):
            left_out("files of kinds that are not read", name)
        return
    if "\0" in name:
        yield name.replace("\0", "?"), InputError("its name holds a NUL")
    elif info.name.startswith("/") or ".." in parts or _elsewhere(name):
        yield info.name, InputError("its name leads out of the archive")
    elif not info.isreg():
        kind = "a link" if info.islnk() or info.issym() else "a device or the like"
        yield name, InputError(f"is {kind}, and no file")
    elif any(part.startswith(".") for part in parts):
        left_out("hidden files", name)
    elif info.size > _MOST:
        yield name, InputError(f"has {info.size} bytes, more than {_MOST >> 30} GiB are not taken")
    else:
        content = archive.extractfile(info)
        yield name, b"" if content is None else content.read()


def _pass(archive: tarfile.TarFile) -> None:
    """Go to the end of a member, which tarfile would look for far beyond the end of a cut file."""
    stream = cast(IO[bytes], archive.fileobj)
    while (left := archive.offset - 1 - stream.tell()) > 0:
        if not stream.read(min(left, _CHUNK)):
            raise tarfile.ReadError("unexpected end of data")


def _goes_on(archive: tarfile.TarFile) -> bool:
    """Whether something but zeros follows the end."""
    stream = cast(IO[bytes], archive.fileobj)
    while part := stream.read(_CHUNK):
        if part.count(0) != len(part):
            return True
    return False


def _elsewhere(name: str) -> bool:
    return os.sep != "/" and (os.sep in name or ":" in name)


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """The tar file itself, by how it begins and not by its name."""
    head = file.read(8)
    file.seek(0)
    for magic, opened in _PACKED.items():
        if head.startswith(magic):
            return cast(IO[bytes], opened(file))
    return file


class _Info(tarfile.TarInfo):
    """A header that does not take damage for the end, as tarfile does."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        fields = archive.pax_headers  # of all members from here on: they add up
        if fields and sum(map(len, fields)) + sum(map(len, fields.values())) > _LONGEST:
            raise tarfile.ReadError(f"fields of more than {_LONGEST} bytes")
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # a block of zeros is the end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} in the place of a header") from error

    @classmethod
    def frombuf(cls, buffer: Any, encoding: str, errors: str) -> Self:
        info = super().frombuf(buffer, encoding, errors)
        if info.type in _FIELDS and info.size > _LONGEST:
            raise tarfile.ReadError(f"fields of {info.size} bytes")
        return info
