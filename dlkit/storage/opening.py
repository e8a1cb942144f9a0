"""Open the store of an address."""

from __future__ import annotations

import functools

from dlkit.errors import UsageError
from dlkit.storage.address import Address
from dlkit.storage.store import Store


@functools.cache
def _open(root: str) -> Store:
    try:
        from dlkit.storage.buckets import Bucket
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise UsageError(
            f"to read and write {root.partition('://')[0]}:// you need obstore",
            "Install it: pip install 'dlkit-vision[cloud]'",
        ) from error
    return Bucket(root)


def open_store(address: Address) -> Store:
    """The store of an address; credentials come from the environment.

    Raises:
        UsageError: the extra is not installed, or the environment lacks something.
    """
    return _open(address.root)
