"""Who may ask: a key, and no pages of other sites."""

from __future__ import annotations

import functools
import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from dlkit.errors import UsageError
from dlkit.serving.refused import RefusedError

_SHORTEST = 16  # characters of a key


@functools.lru_cache(maxsize=64)  # asked for every request
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_key(path: Path) -> str:
    """The key of a file: its first line.

    Raises:
        UsageError: it cannot be read, or is too short.
    """
    try:
        key = path.read_text("utf-8").partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"--key-file {path} cannot be read") from error
    if len(key) < _SHORTEST or not key.isascii():
        raise UsageError(
            f"the key in {path} has {len(key)} characters, expected {_SHORTEST} or more of ASCII",
            f"Make one: openssl rand -hex 32 > {path}",
        )
    return key


@dataclass(frozen=True)
class Safety:
    """Whom a server answers.

    Attributes:
        key: that requests must bring; None: anybody.
        loopback: it listens on this machine alone: then a name that a page of another site made
            to point here (DNS rebinding) is refused, too.
    """

    key: str | None = None
    loopback: bool = True

    def check_key(self, authorization: str | None) -> None:
        """Compare in a time that does not depend on the key.

        Raises:
            RefusedError: it is missing or wrong.
        """
        if self.key is None:
            return
        scheme, _, given = (authorization or "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self.key.encode())
        if not same or scheme.lower() != "bearer":
            raise RefusedError(401, "a key is needed", "Send it as Authorization: Bearer KEY")

    def check_site(self, host: str | None, origin: str | None) -> None:
        """Refuse what a page of another site makes a browser send.

        Raises:
            RefusedError: it is such a request.
        """
        if origin is not None and origin.partition("://")[2] != (host or ""):
            raise RefusedError(403, "pages of other sites may not ask this server")
        if self.loopback and host is not None and not is_loopback(_without_port(host)):
            raise RefusedError(
                403,
                "the server listens on this machine alone, and was asked by another name",
                "Ask for 127.0.0.1 or localhost, or start it with --host",
            )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lstrip("[")
    return host.partition(":")[0]
