"""Bundles on Hugging Face's hub, by huggingface_hub."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.atomic import atomic_folder
from dlkit.bundle import Bundle
from dlkit.bundle.own import WEIGHTS, own_files
from dlkit.errors import BundleError, InputError, MachineError, UsageError
from dlkit.hub.card import model_card
from dlkit.kept import check_outside

CARD = "README.md"
NEEDED = ("model.onnx", "model.json")
FILES = (*NEEDED, WEIGHTS, CARD)  # what is pushed and pulled; nothing else is looked at
_ADDRESS = re.compile(r"hf://(\w[\w.-]*)/(\w[\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class Repository:
    """A repository on the hub.

    Attributes:
        name: ``USER/NAME``.
        revision: a branch, a tag or a commit; None for the main branch.
    """

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Repository:
        """``hf://USER/NAME`` or ``hf://USER/NAME@REVISION``.

        Raises:
            UsageError: something else.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise UsageError(f"'{text}' is no address on the hub", "Write hf://USER/NAME")
        return cls(f"{found[1]}/{found[2]}", found[3])

    def __str__(self) -> str:
        return f"hf://{self.name}" + (f"@{self.revision}" if self.revision else "")


def push(
    bundle: Bundle, repository: Repository, card: str | None = None, public: bool = False
) -> str:
    """Put a bundle, without its engines, and its card, as one commit; gives that.

    The token is the one that huggingface_hub finds: HF_TOKEN, or who is logged in.

    Args:
        card: README.md; what ``model_card`` knows by default.
        public: whether all may see it, where there is no such repository yet.

    Raises:
        UsageError: huggingface_hub is not installed.
        InputError, MachineError: the hub refuses, or cannot be reached.
    """
    hub, api = _library()
    with _told(repository):
        api.create_repo(repository.name, private=not public, exist_ok=True)
        adding: list[Any] = [
            hub.CommitOperationAdd(path.name, path)
            for path in (bundle.onnx, bundle.path / "model.json", bundle.weights)
            if path is not None
        ]
        text = model_card(bundle, str(repository)) if card is None else card
        adding.append(hub.CommitOperationAdd(CARD, text.encode()))
        if bundle.weights is None and WEIGHTS in api.list_repo_files(
            repository.name, revision=repository.revision
        ):
            adding.append(hub.CommitOperationDelete(WEIGHTS))  # they would be taken for this one's
        done = api.create_commit(
            repository.name, adding, commit_message=f"{bundle.spec.name}, {bundle.sha256[:12]}",
            revision=repository.revision,
        )  # fmt: skip
    return str(done.oid)


def pull(repository: Repository, out: Path, sha256: str | None = None) -> tuple[Bundle, str]:
    """Get a bundle, whole or not at all; gives it and the commit that it is of.

    Only the files of a bundle are fetched, and it is opened as any other, which checks its hashes.
    They come from the same place as the bundle, so who has to be sure gives ``sha256``.

    Args:
        out: a new folder, or a bundle that is replaced, with its README.md; all else in it stays.
        sha256: of the graph and its weights; of anybody's by default.

    Raises:
        UsageError: huggingface_hub is not installed; or ``out`` is in dlkit's own package.
        BundleError: it is damaged, no bundle, or another one; or ``out`` is something else.
        InputError, MachineError: there is no such repository, or it cannot be reached.
    """
    check_outside(out)
    own = own_files(out)
    _, api = _library()
    with tempfile.TemporaryDirectory(prefix="dlkit-") as scratch:
        with _told(repository):
            info = api.model_info(repository.name, revision=repository.revision)
            there = {one.rfilename for one in info.siblings or ()}
            if missing := [name for name in NEEDED if name not in there]:
                raise BundleError(f"{repository} is no bundle: it has no {missing[0]}")
            paths = [
                Path(api.hf_hub_download(repository.name, name, revision=info.sha,
                                         local_dir=scratch))
                for name in FILES if name in there
            ]  # fmt: skip
        with atomic_folder(out, {*own, out / CARD}) as folder:
            for path in paths:
                shutil.copyfile(path, folder / path.name)
            found = Bundle.open(folder)
            if sha256 is not None and found.sha256 != sha256.lower():
                raise BundleError(
                    f"{repository} has the SHA-256 {found.sha256}, expected {sha256}",
                    "Ask whoever told you; nothing was written",
                )
    return Bundle.open(out), str(info.sha)


def _library() -> tuple[Any, Any]:
    try:
        import huggingface_hub as hub
        from huggingface_hub import utils
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise UsageError(
            "for hf:// you need huggingface_hub", "Install it: pip install 'dlkit-vision[hub]'"
        ) from error
    utils.disable_progress_bars()  # type: ignore[attr-defined]
    return hub, hub.HfApi(os.environ.get("HF_ENDPOINT"), library_name="dlkit")


@contextmanager
def _told(repository: Repository) -> Iterator[None]:
    """What huggingface_hub raises as dlkit's errors."""
    from huggingface_hub import errors

    lower = errors.HTTPError  # type: ignore[attr-defined]  # of its HTTP library
    try:
        yield
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        said = f"{status} {error.response.reason_phrase}".strip()
        if status in (401, 403):
            raise MachineError(
                f"{repository}: the hub refuses, or there is no such repository ({said})",
                "Log in with `hf auth login`, or set HF_TOKEN",
            ) from None
        if status == 404:
            raise InputError(f"{repository} is not there ({said})", "Check its name") from None
        raise MachineError(f"{repository}: the hub fails ({said})", "Try again later") from None
    except (lower, errors.LocalEntryNotFoundError, OSError) as error:
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise MachineError(f"{repository}: the hub cannot be reached ({line})") from None
    except (ValueError, RuntimeError) as error:  # an answer that cannot be
        line = str(error).strip().partition("\n")[0]
        raise MachineError(f"{repository}: the hub answers strangely ({line})") from None
