"""Model: a loaded bundle that answers; what a task does before and after the session."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypedDict, TypeVar, Unpack

from dlkit.bundle import Bundle
from dlkit.errors import DlkitError, InputError, UsageError
from dlkit.tasks._door import Door, Reply
from dlkit.tasks._session import Closing, Session

Sample = TypeVar("Sample")  # an input in memory: an image, or arrays by name
Note = TypeVar("Note")  # what finishing must know of a sample
Answer = TypeVar("Answer")


class Folder(Protocol):
    """How a run over files went.

    Attributes:
        done, skipped, failed: files; ``skipped`` were done by an earlier run.
        failures: the first failed names and why.
    """

    done: int
    skipped: int
    failed: int
    failures: list[tuple[str, str]]


class FolderOptions(TypedDict, total=False):
    """What ``Model.run_folder`` can be told besides."""

    batch: int | None
    workers: int | None
    overwrite: bool
    fail_fast: bool
    frames: str
    watch: Callable[[Any, Any], None]


class Answers(Protocol):
    """What runs a model's samples: ``dlkit.runtime.Opened``."""

    @property
    def session(self) -> Session:
        """The session."""
        ...

    @property
    def passed_over(self) -> dict[str, str]:
        """Reason by name of each backend or device that ``auto`` would have preferred."""
        ...

    def answer(
        self, model: Model[Any, Any, Any], prepared: Iterable[tuple[Any, Any]], batch: int
    ) -> list[Any]:
        """Answers, or the ``DlkitError`` in place of one, for what ``prepare`` gave."""
        ...

    def beside(self, bundle: Bundle) -> Session:
        """A session of another bundle, on the same backend and device.

        Raises:
            BackendError: it cannot run there.
        """
        ...

    def run_folder(
        self, model: Model[Any, Any, Any], inputs: Sequence[Path | str], out: Path | str,
        **options: Unpack[FolderOptions],
    ) -> Folder:  # fmt: skip
        """Run files into a folder; see ``Model.run_folder``."""
        ...


class Model(Closing, Generic[Sample, Note, Answer]):
    """A loaded bundle that answers. One subclass a task. Use it with ``with``, or ``close`` it.

    Attributes:
        suffixes: endings of the files that it takes.
        stacks: samples of one shape can run together in one batch. Where not, what ``prepare``
            gives is a whole call of the graph.
        door: how ``reply`` is asked; None where there is none.
        bundle: what was loaded.
        opened: the session, and why it was chosen.
    """

    suffixes: ClassVar[frozenset[str]]
    stacks: ClassVar[bool] = True
    door: ClassVar[Door | None] = None

    def __init__(self, bundle: Bundle, opened: Answers) -> None:
        self.bundle = bundle
        self.opened = opened

    @abstractmethod
    def decode(self, data: bytes, path: str) -> Sample:
        """A sample from the bytes of its file; ``path`` is for messages.

        Raises:
            InputError: it is none, or too large.
        """

    def decode_all(self, data: bytes, path: str, frames: str) -> list[Sample]:
        """All samples of a file, e.g. the frames of an image.

        Args:
            frames: ``all``, ``first``, or the number of one, from 1.

        Raises:
            InputError: as ``decode`` has it; or there is no such one.
        """
        return [self.decode(data, path)]

    @property
    def setting(self) -> str:
        """What else than the bundle and the backend its answers depend on, for manifests."""
        return ""

    @property
    def others(self) -> tuple[Bundle, ...]:
        """Other bundles whose networks take part in its answers."""
        return ()

    def check(self, sample: Sample) -> None:  # files are checked as they are decoded
        """Refuse what is no sample, of those that come from memory.

        Raises:
            InputError: it is none.
        """

    @abstractmethod
    def prepare(self, sample: Sample) -> tuple[Any, Note]:
        """A sample as the graph takes it, without its batch axis, and a note for ``finish``.

        Raises:
            InputError: it cannot be taken.
        """

    def infer(self, session: Session, batch: Any) -> Any:
        """The session's output for a batch: stacked samples, or a whole call of the graph."""
        return session(batch)

    @abstractmethod
    def finish(self, output: Any, note: Note) -> Answer:
        """The answer for one sample from its row of the session's output.

        Raises:
            InputError: the model gave nothing that can be an answer, e.g. NaN.
        """

    def finish_all(self, outputs: Any, notes: Sequence[Note]) -> Sequence[Answer | DlkitError]:
        """``finish`` for each row; the error in place of an answer that cannot be."""
        answers: list[Answer | DlkitError] = []
        for output, note in zip(outputs, notes, strict=True):
            try:
                answers.append(self.finish(output, note))
            except DlkitError as error:
                answers.append(error)
        return answers

    @abstractmethod
    def output_name(self, name: str) -> str:
        """What the output of a file is called, below the folder of outputs: its own name where
        ``encode`` keeps the format, e.g. that and ``.json`` where it does not."""

    @abstractmethod
    def encode(self, answer: Answer, name: str) -> bytes:
        """An answer as the bytes of a file of this name.

        Raises:
            InputError: the format cannot hold it.
        """

    def encode_all(self, answers: Sequence[Answer], name: str) -> bytes:
        """The answers for all samples of a file as the bytes of one.

        Raises:
            InputError: the format cannot hold them.
        """
        if len(answers) != 1:
            raise InputError(f"{name} would hold {len(answers)} answers, expected one")
        return self.encode(answers[0], name)

    def reply(self, data: bytes, options: Mapping[str, str]) -> Reply:
        """Answer one file, as ``door`` has it.

        Args:
            data: the file's bytes; empty where the door takes none.
            options: as text; those that are not given have their usual values.

        Raises:
            InputError: the file cannot be taken, or has no answer.
            UsageError: an option is unknown or cannot be; or there is no door.
        """
        raise UsageError(f"{self.bundle.spec.name} answers no single files")

    def options(self, given: Mapping[str, str]) -> dict[str, str]:
        """Options of the door, once all are known.

        Raises:
            UsageError: one is not.
        """
        known = {} if self.door is None else self.door.options
        for name in given:
            if name not in known:
                raise UsageError(
                    f"there is no option {name[:50]!r}", f"There are: {', '.join(known) or 'none'}"
                )
        return dict(given)

    def answers(self, samples: Iterable[Sample], batch: int) -> list[Answer]:
        """Answer for samples in memory, in their order.

        Raises:
            InputError: something is no sample, or has no answer.
        """
        prepared = []
        for sample in samples:
            self.check(sample)
            prepared.append(self.prepare(sample))
        found = self.opened.answer(self, prepared, batch)
        for answer in found:
            if isinstance(answer, DlkitError):
                raise answer
        return found

    def run_folder(
        self, inputs: Path | str | Sequence[Path | str], out: Path | str,
        **options: Unpack[FolderOptions],
    ) -> Folder:  # fmt: skip
        """Run files of folders into a folder: a file for every file, subfolders mirrored.

        Every input is done or listed as failed; outputs appear whole or not at all; a second run
        goes on where the first stopped (OUT/manifest.jsonl says what was done).

        Args:
            inputs: folders and files.
            out: folder of the outputs.
            options: ``batch``: samples that run together, by task and device; ``workers``: threads
                that read, run and save, one a processor; ``overwrite``: do everything anew;
                ``fail_fast``: stop after the first failure; ``frames``: of an image file, ``all``,
                ``first``, or the number of one; ``watch``: called now and then with how far it is.

        Raises:
            UsageError: inputs that are missing, or an ``out`` that would overwrite them.
            InputError: there is no input at all.
        """
        given = [inputs] if isinstance(inputs, Path | str) else list(inputs)
        return self.opened.run_folder(self, given, out, **options)

    def close(self) -> None:
        """Let go of memory and device; a second call does nothing."""
        self.opened.session.close()
