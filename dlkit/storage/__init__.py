"""Object storage: buckets as places of inputs and outputs, behind one small protocol."""

from dlkit.storage.address import Address, Place, place
from dlkit.storage.object_file import ObjectFile
from dlkit.storage.opening import open_store
from dlkit.storage.store import (
    Entry,
    ExistsError,
    MissingError,
    Store,
    Stored,
    read_ahead,
)

__all__ = [
    "Address",
    "Entry",
    "ExistsError",
    "MissingError",
    "ObjectFile",
    "Place",
    "Store",
    "Stored",
    "open_store",
    "place",
    "read_ahead",
]
