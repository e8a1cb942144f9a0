"""S3, Google's and Azure's object storage, and folders, by obstore."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from dlkit.environment import whole_number
from dlkit.errors import DlkitError, MachineError, UsageError
from dlkit.storage.address import Address
from dlkit.storage.store import CALLERS, Entry, ExistsError, MissingError, WholeError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

MARK = "dlkit"  # name of the metadata of what dlkit put
# 503 Slow Down may last some seconds; eight attempts with doubled pauses are about 20 s.
RETRIES = "DLKIT_STORE_RETRIES"
_DENIED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_EMULATORS = ("AZURE_STORAGE_USE_EMULATOR", "AZURE_ENDPOINT", "GOOGLE_BASE_URL")


class Bucket:
    """A ``Store`` of obstore; see ``dlkit.storage.store.Store``.

    Args:
        root: as ``Address`` has it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._local = root == "file://"
        self._conditional: bool | None = True if self._local else None
        self._learning = threading.Lock()
        with _told(root):
            self._store = _opened(Address(root, ""))

    def list(self, prefix: str) -> Iterator[Entry]:
        with self._said(prefix):
            for part in obstore.list(self._store, prefix or None, chunk_size=1000):
                for one in part:
                    yield Entry(one["path"], one["size"], _plain(one["e_tag"]))

    def head(self, key: str) -> Entry:
        with self._said(key):
            one = obstore.head(self._store, key)
        return Entry(key, one["size"], _plain(one["e_tag"]))

    def get(self, key: str) -> tuple[bytes, str]:
        with self._said(key):
            found = obstore.get(self._store, key)
            data = found.bytes().to_bytes()
        if len(data) != found.meta["size"]:
            raise MachineError(
                f"{self.root}/{key}: gave {len(data)} of {found.meta['size']} bytes",
                "Run it again",
            )
        return data, _plain(found.meta["e_tag"])

    def get_range(self, key: str, start: int, stop: int) -> tuple[bytes, str]:
        with self._said(key):
            try:
                found = obstore.get(self._store, key, options={"range": (start, stop)})
            except exceptions.GenericError as error:
                if "non-partial response" in str(error):  # rclone's server answers so
                    raise WholeError(f"{self.root}: gives objects whole alone") from None
                raise
            data = found.bytes().to_bytes()
        if len(data) != stop - start:
            raise MachineError(
                f"{self.root}/{key}: gave {len(data)} of {stop - start} bytes", "Run it again"
            )
        return data, _plain(found.meta["e_tag"])

    def get_into(self, key: str, file: IO[bytes]) -> str:
        size = 0
        with self._said(key):
            found = obstore.get(self._store, key)
            for part in found.stream():
                size += file.write(part)
        if size != found.meta["size"]:
            raise MachineError(
                f"{self.root}/{key}: gave {size} of {found.meta['size']} bytes", "Run it again"
            )
        return _plain(found.meta["e_tag"])

    def marked(self, key: str) -> bool:
        with self._said(key):
            return MARK in obstore.get(self._store, key, options={"head": True}).attributes

    def put(self, key: str, data: bytes | Path, create: bool = False) -> str:
        if not create:
            return self._put(key, data, create=False)
        with self._learning:
            if self._conditional is None:
                return self._put_first(key, data)
        if not self._conditional:
            self._must_be_free(key)
        return self._put(key, data, create=True)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                with self._said(key):
                    obstore.delete(self._store, key)
            except MissingError:
                pass

    @property
    def conditional(self) -> bool:
        """Whether it refuses to put what must not be there and is; known after such a put."""
        return self._conditional is not False

    def _put(self, key: str, data: bytes | Path, create: bool) -> str:
        attributes: Any = None if self._local else {MARK: "1"}
        large = isinstance(data, Path) and not create
        with self._said(key):
            done = obstore.put(
                self._store, key, data, attributes=attributes,
                mode="create" if create else "overwrite", use_multipart=None if large else False,
            )  # fmt: skip
        return _plain(done["e_tag"])

    def _put_first(self, key: str, data: bytes | Path) -> str:
        """Put the same twice: who takes the second, too, does not know If-None-Match."""
        self._must_be_free(key)
        tag = self._put(key, data, create=True)
        try:
            tag = self._put(key, data, create=True)
            self._conditional = False
        except ExistsError:
            self._conditional = True
        return tag

    def _must_be_free(self, key: str) -> None:
        try:
            self.head(key)
        except MissingError:
            return
        raise ExistsError(f"{self.root}/{key} is there already")

    @contextmanager
    def _said(self, key: str) -> Iterator[None]:
        with _told(f"{self.root}/{key}"):
            yield


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What obstore raises as dlkit's errors."""
    try:
        yield
    except DlkitError:
        raise
    except FileNotFoundError as error:
        raise MissingError(f"{what}: is not there ({_reason(error)})") from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise ExistsError(f"{what}: is there already ({_reason(error)})") from None
    except _DENIED as error:
        raise MachineError(
            f"{what}: the store refuses ({_reason(error)})",
            "Check the credentials in the environment, and whether they have expired",
        ) from None
    except (exceptions.BaseError, OSError, ValueError, NotImplementedError) as error:
        raise MachineError(f"{what}: cannot be reached ({_reason(error)})") from None


def _reason(error: BaseException) -> str:
    """What went wrong in one line, without addresses: those of Azure may hold a signature."""
    text = str(error)
    status = re.search(r"non-2xx status code: (\d+ [A-Za-z ]+)", text)
    code = re.search(r"<Code>(\w+)</Code>", text)
    if status:
        return status[1].strip() + (f", {code[1]}" if code else "")
    line = text.partition("\n")[0]
    line = re.sub(r"\w+://\S+", "...", line.rpartition(" - ")[2] or line)
    return line.strip() or type(error).__name__


def _plain(etag: str | None) -> str:
    """An ETag without quotes: some listings have them, some not."""
    return (etag or "").removeprefix("W/").strip('"')


def _opened(address: Address) -> ObjectStore:
    retries = whole_number(RETRIES, 8)
    retry: RetryConfig = {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=120),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }
    asked = [os.environ.get(name, "") for name in (*_ENDPOINTS, *_EMULATORS)]
    client: ClientConfig = {
        "timeout": timedelta(seconds=60),
        "connect_timeout": timedelta(seconds=10),
        "pool_max_idle_per_host": str(CALLERS),
        # an endpoint that was named as http:// is meant so
        "allow_http": any(one.startswith("http://") or one == "true" for one in asked),
    }
    match address.scheme:
        case "file":
            return LocalStore("/", automatic_cleanup=True)  # of folders that are empty then
        case "s3":
            return S3Store(address.bucket, client_options=client, retry_config=retry)
        case "gs":
            return GCSStore(address.bucket, client_options=client, retry_config=retry)
        case "az":
            return AzureStore(address.bucket, client_options=client, retry_config=retry)
        case other:
            raise UsageError(f"{other}:// is no kind of address that is read")
