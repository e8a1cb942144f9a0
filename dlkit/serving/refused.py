"""RefusedError: a request that is not answered, and what its client is told."""

from __future__ import annotations

import logging

from dlkit.errors import DlkitError, InputError, UsageError

_LOG = logging.getLogger(__name__)


class RefusedError(DlkitError):
    """A request that is not answered.

    Attributes:
        status: HTTP's code; gRPC's follows from it.
        retry_after: seconds after which another try may go better; None where none will.
    """

    def __init__(
        self, status: int, what: str, mend: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(what, mend)
        self.status = status
        self.retry_after = retry_after


def invalid(what: str, mend: str = "") -> RefusedError:
    """A request that is wrong by itself."""
    return RefusedError(400, what, mend)


def unknown(what: str) -> RefusedError:
    """A request for something that is not there."""
    return RefusedError(404, what)


def as_refused(error: Exception) -> RefusedError:
    """What a client is told of an exception; a bug keeps its traceback, in the server's log."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, InputError | UsageError):
        return RefusedError(400, error.what, error.mend)
    if isinstance(error, DlkitError):  # it may name files of the server
        _LOG.error("%s", error)
        return RefusedError(500, "the server could not do it; its log says why")
    _LOG.error("a bug", exc_info=error)
    return RefusedError(500, "internal error")
