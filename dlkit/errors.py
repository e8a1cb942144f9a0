"""The exceptions that dlkit raises on purpose.

    DlkitError
    ├── UsageError      a name, option or setting that cannot be (exit code 2)
    ├── InputError      an image or dataset that cannot be used
    ├── BundleError     a bundle that is missing, damaged, or for another task
    ├── BackendError    an inference backend or device that cannot run here
    ├── TrainingError   a run that cannot start, resume or go on
    ├── ExportError     a network that cannot be exported or built
    ├── VerifyError     outputs that differ by more than the tolerance
    └── MachineError    the machine refuses: a full disk, no rights, no memory

Each says ``what`` is wrong (with what was got and what was expected) and how to ``mend`` it; as
text it is one line. The command line prints it and exits with code 2; any other exception is a bug.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG,
}  # fmt: skip
_LONGEST = 1000  # characters of a sentence: damaged files hold names of any length


class DlkitError(Exception):
    """Root of every error that dlkit raises on purpose.

    Attributes:
        what: what is wrong, what was got, what was expected; one sentence without its full stop.
        mend: what to do about it; empty where ``what`` says it already, or nobody knows.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        if len(what) > _LONGEST:
            what = f"{what[: _LONGEST // 2]} ... {what[-_LONGEST // 2 :]}"
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}. {self.mend}" if self.mend else self.what


class UsageError(DlkitError):
    """A name, option or setting that cannot be."""


class InputError(DlkitError):
    """An image or dataset that cannot be used."""


class BundleError(DlkitError):
    """A bundle that is missing, damaged, or made for another task."""


class BackendError(DlkitError):
    """An inference backend or device that cannot run on this machine."""


class TrainingError(DlkitError):
    """A training run that cannot start, resume or go on."""


class ExportError(DlkitError):
    """A network that cannot be exported, converted or built into an engine."""


class VerifyError(DlkitError):
    """Outputs of two backends that differ by more than the tolerance."""


class MachineError(DlkitError):
    """The machine refuses: a full disk, a read-only folder, no memory."""


def refused(error: OSError) -> MachineError | None:
    """What the machine refuses is the user's to mend; None of what is a bug."""
    if error.errno not in _REFUSALS:
        return None
    where = Path(str(error.filename or "the output"))
    if where.name.startswith(".dlkit-"):  # a file on its way: the place is what counts
        where = where.parent
    return MachineError(f"{where} cannot be written or read: {error.strerror}")


@contextmanager
def refusals() -> Iterator[None]:
    """Around a function that writes files.

    Raises:
        MachineError: the machine refuses, e.g. on a full disk.
    """
    try:
        yield
    except OSError as error:
        if (said := refused(error)) is None:
            raise
        raise said from error
