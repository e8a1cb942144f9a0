"""Files that appear whole or not at all, and that replace nobody else's."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dlkit.disk import name_to_disk, to_disk
from dlkit.errors import MachineError, UsageError
from dlkit.kept import check_outside, keep_others

PART = ".part"  # ending of a file or folder that is still being written
MARK = ".dlkit-"  # its beginning; the name does not hold the target's, which may be 255 bytes long
_OLD = ".old"
_LOCKS = os.name == "posix"  # whether a file or folder can be locked while it is renamed


@contextmanager
def atomic_path(target: Path, many: bool = False) -> Iterator[Path]:
    """Give a path beside ``target`` to write to; rename it to ``target`` when the block ends well.

    When the block raises, or the process dies, ``target`` is what it was before. A link stays a
    link: what it points to is replaced. It is on the disk before it takes its place, and its name
    after, so that a power cut loses nothing; and what killed processes left of it is removed.

    Args:
        many: it is one of thousands, for which that would take too long; ``clean_parts`` removes
            what is left of them.
    """
    target = _behind_links(target)
    if not many:
        _clean(target)
    part, held = (_part(target), None) if many else _begin(target)
    try:
        yield part
        if not many:
            to_disk(part)
        part.replace(target)
        if not many:
            name_to_disk(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        _let_go(held)


@contextmanager
def atomic_folder(target: Path, own: Collection[Path] | None = None) -> Iterator[Path]:
    """Give a new folder to fill; it takes the place of ``target`` when the block ends well.

    A folder cannot be replaced in one step, so for an instant ``target`` may be missing; it is
    never half of the old and half of the new. Where the process dies in that instant, ``heal``
    brings the old one back.

    Args:
        own: paths in ``target`` that the new folder replaces, as ``keep_others`` takes them: all
            else stays. All of it is replaced by default.

    Raises:
        UsageError: the process works in the folder: who started it would be left in a removed one.
        MachineError: something cannot be kept, or the folder cannot be made.
    """
    given, target = target, Path(os.path.realpath(target))
    if _works_in(target):
        raise UsageError(
            f"{given} is the folder that you are in, and would be replaced by a new one",
            f"Do it from another folder: cd {target.parent}",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file, a pipe or a device is where a folder should be
        raise MachineError(
            f"{given} cannot be written ({error.strerror})", "Choose another folder"
        ) from error
    heal(target)
    _clean(target)
    part, held = _begin(target, folder=True)
    old = _old(target)
    try:
        yield part
        for path in part.rglob("*"):
            if path.is_file():
                to_disk(path)
        if target.exists():
            if own is not None:
                keep_others(target, part, {target / path.relative_to(given) for path in own})
            shutil.rmtree(old, ignore_errors=True)  # of who was killed before it did so
            target.rename(old)
        part.rename(target)
        name_to_disk(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        heal(target)
        raise
    finally:
        _let_go(held)
    shutil.rmtree(old, ignore_errors=True)


def heal(target: Path) -> None:
    """Bring back a folder whose replacement was killed between its two renames."""
    target = Path(os.path.realpath(target))  # '.' and '..' have names, a link leads to it
    if not target.name:  # the root
        return
    with contextlib.suppress(OSError):
        if (old := _old(target)).is_dir() and not target.exists():
            old.rename(target)


def clean_parts(folder: Path) -> None:
    """Remove what killed runs left below a folder; only for who knows that no other run is there.

    Names that begin and end as ``atomic_path`` makes them are dlkit's own.
    """
    for path, _, names in os.walk(folder):
        for name in names:
            if name.startswith(MARK) and name.endswith(PART):
                _remove(Path(path, name))


def write_bytes(target: Path, data: bytes, many: bool = False) -> None:
    """Write a whole file, or leave what was there."""
    with atomic_path(target, many) as part:
        part.write_bytes(data)


def write_new(target: Path, data: bytes) -> None:
    """Write one of many whole files, in a folder that may not be there yet.

    Raises:
        MachineError: it cannot be written.
    """
    try:
        try:
            write_bytes(target, data, many=True)
        except FileNotFoundError:  # of thousands one misses its folder
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, data, many=True)
    except OSError as error:
        raise MachineError(f"{target}: cannot be written ({error.strerror})") from error


def check_writable(folder: Path, option: str = "--out") -> None:
    """Find out before the work whether a folder can be written to; makes it.

    Raises:
        UsageError: it is dlkit's own.
        MachineError: it cannot.
    """
    check_outside(folder, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written to ({error.strerror})", f"Choose another {option}"
        ) from error


def check_file(path: Path, option: str = "--out") -> None:
    """Refuse to put a file in the place of something that is none.

    Raises:
        UsageError: it is a folder, a pipe or a device.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder, expected a file's name")
    if path.exists() and not path.is_file():
        raise UsageError(f"{option} {path} is a pipe or a device, expected a file's name")


def check_new(path: Path, overwrite: bool, option: str = "--out") -> None:
    """Refuse to replace a file, or to write into a folder that holds something.

    Raises:
        UsageError: there is one, and that it is replaced was not said; or it is dlkit's own.
    """
    check_outside(path, option)
    there = any(path.iterdir()) if path.is_dir() else path.exists() or path.is_symlink()
    if there and not overwrite:
        raise UsageError(f"{option} {path} is there already", "Choose another, or add --overwrite")


def same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder, through links and mounts too."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def lock(file: IO[bytes]) -> bool:
    """Lock an open file for this process, until it is closed; False where another holds it."""
    if not _LOCKS:
        return _lock_on_windows(file)
    return _locked(file.fileno()) is not False


def _locked(file: int) -> bool | None:
    """Lock an open file; False where another holds it, None where the file system has no locks."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _lock_on_windows(file: IO[bytes]) -> bool:
    import importlib

    msvcrt = importlib.import_module("msvcrt")
    at = file.tell()
    try:
        file.seek(1 << 62)  # beyond what is read and written
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    finally:
        file.seek(at)
    return True


def _works_in(folder: Path) -> bool:
    """Whether this process works in a folder or below it."""
    try:
        return Path.cwd().resolve().is_relative_to(folder)
    except FileNotFoundError:  # its folder was removed
        return False


def _behind_links(target: Path) -> Path:
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _hashed(target: Path) -> str:
    """What dlkit's names beside a target have in common; of a fixed length."""
    return f"{MARK}{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}"


def _part(target: Path) -> Path:
    return target.with_name(f"{_hashed(target)}-{secrets.token_hex(8)}{PART}")


def _old(target: Path) -> Path:
    return target.with_name(f"{_hashed(target)}{_OLD}")


def _begin(target: Path, folder: bool = False) -> tuple[Path, int | None]:
    """A new part, and what holds it, so that nobody takes it for one that was left behind."""
    while True:
        part = _part(target)
        part.mkdir() if folder else part.touch()
        if not _LOCKS:
            return part, None
        with contextlib.suppress(FileNotFoundError):
            file = os.open(part, os.O_RDONLY)
            if _locked(file) is not False and part.exists():
                return part, file
            os.close(file)  # somebody cleaned it away before it was held


def _let_go(held: int | None) -> None:
    if held is not None:
        os.close(held)


def _clean(target: Path) -> None:
    """Remove parts of a target that nobody holds: who wrote them was killed."""
    if _LOCKS:
        for path in target.parent.glob(f"{_hashed(target)}-*{PART}"):
            _remove(path)


def _remove(part: Path) -> None:
    """Remove a part, unless somebody holds it."""
    with contextlib.suppress(OSError):
        file = os.open(part, os.O_RDONLY)
        try:
            if not _LOCKS or _locked(file):
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        finally:
            os.close(file)
