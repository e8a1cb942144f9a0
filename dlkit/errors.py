"""The exceptions that dlkit raises on purpose.

    DlkitError
    ├── UsageError      a name, option or setting that cannot be (exit code 2)
    ├── InputError      an image or dataset that cannot be used
    ├── BundleError     a bundle that is missing, damaged, or for another task
    ├── BackendError    an inference backend or device that cannot run here
    ├── TrainingError   a run that cannot start, resume or go on
    ├── ExportError     a network that cannot be exported or built
    └── VerifyError     outputs that differ by more than the tolerance

Every message is one line: what is wrong, what was got, what was expected, how to mend it.
The command line prints it and exits with code 2; any other exception is a bug.
"""


class DlkitError(Exception):
    """Root of every error that dlkit raises on purpose."""


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
