"""What stays as it is: what others put into a folder of dlkit's, and dlkit's own package."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from dlkit.errors import MachineError, UsageError

_PACKAGE = Path(os.path.realpath(__file__)).parent


def keep_others(folder: Path, new: Path, own: Collection[Path]) -> None:
    """Put what is in ``folder``, and not among ``own``, into ``new``, which is to take its place.

    Files are not copied, they get a second name: large ones cost nothing, pipes and all else stay
    what they are. Links stay links, wherever they lead.

    Args:
        own: paths in ``folder`` that are left behind; a folder among them where nothing in it
            stays.

    Raises:
        MachineError: names what cannot be kept; ``folder`` is as it was.
    """
    for path in sorted(folder.iterdir()):
        target = new / path.name
        if path.is_symlink() or not path.is_dir():
            if path not in own:
                _keep(path, target)
            continue
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise _lost(path, "no rights to list it and to write into it")
        if path not in own:
            _make(path, target)
        keep_others(path, target, own)
        if target.is_dir():
            shutil.copystat(path, target)


def _make(path: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _lost(path, "a file of dlkit's takes its place") from None


def _keep(path: Path, target: Path) -> None:
    """One file or link, under a name in another folder."""
    _make(path.parent, target.parent)
    try:
        if path.is_symlink():
            target.symlink_to(path.readlink())
            return
        try:
            os.link(path, target)
        except FileExistsError:
            raise
        except OSError:  # no hard links on this file system, or not to a file of somebody else's
            if not path.is_file():
                raise
            shutil.copy2(path, target)
    except FileExistsError:
        raise _lost(path, "a file of dlkit's takes its place") from None
    except OSError as error:
        raise _lost(path, str(error.strerror)) from error


def _lost(path: Path, why: str) -> MachineError:
    return MachineError(
        f"{path} is not dlkit's and cannot be kept ({why}); nothing was replaced",
        "Move it out of the folder, or choose another --out",
    )


def check_outside(path: Path, option: str = "--out") -> None:
    """Refuse to write into dlkit's own package, whose bundles are read-only.

    Raises:
        UsageError: the path lies there.
    """
    if _PACKAGE in (real := Path(os.path.realpath(path))).parents or real == _PACKAGE:
        raise UsageError(
            f"{option} {path} lies in dlkit's own package, which is read-only",
            f"Choose another {option}",
        )
