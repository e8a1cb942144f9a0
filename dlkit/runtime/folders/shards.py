"""A run that is cut into shards: a plan, shards that anybody runs, and the join of their parts.

The plan lists every input with its size and ETag, so all who work on it mean the same; an archive
is a shard by itself, and only whoever runs that opens it. A shard is
done when its record is there: one object with a line for each of its inputs, put on the condition
that there is none. A shard that was killed goes on from the parts that it left. The join makes the
table and the manifest that one run would have made, and removes the rest.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace

from dlkit.errors import InputError, MachineError, UsageError
from dlkit.runtime.folders.job import Job, Options, Watch, no_table
from dlkit.runtime.folders.lines import as_lines, read_lines
from dlkit.runtime.folders.pipeline import Seconds
from dlkit.runtime.folders.planned import Planned
from dlkit.runtime.folders.shard_journal import ShardJournal
from dlkit.runtime.folders.sources import LeftOut, Source
from dlkit.runtime.folders.stored_journal import StoredJournal, state_of
from dlkit.runtime.folders.stored_outputs import StoredOutputs
from dlkit.runtime.folders.tally import Tally
from dlkit.runtime.folders.todo import Line
from dlkit.storage import Address, ExistsError, MissingError, Store, open_store

KEYS = 2000  # inputs of a shard
BEFORE = "before"  # of a line: an earlier run has it in the manifest already
_NAMED = 8  # shards that a message names


@dataclass(frozen=True)
class Plan:
    """A plan that is whole.

    Attributes:
        id: of this plan; its objects are below it.
        key: of what computes the answers, as ``Job`` has it.
        count: shards.
        inputs: all of them.
        places: that were listed.
        overwrite: what others put is replaced.
        left_out: what the listing passed over, for people.
        joined: done, done before, and failed inputs, once it is joined.
    """

    id: str
    key: str
    count: int
    inputs: int
    places: list[str]
    overwrite: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    joined: list[int] = field(default_factory=list)


class Shards:
    """The shards of a job whose outputs are objects.

    Raises:
        UsageError: the job's manifest is a file.
    """

    def __init__(self, job: Job) -> None:
        if not isinstance(job.manifest, Address):
            raise UsageError(f"{job.manifest} is a file; shards need addresses")
        self.job = job
        self.manifest: Address = job.manifest
        self.place = state_of(self.manifest, "shards")
        self.store: Store = open_store(self.manifest)
        self.places = [str(one) for one in job.sources.paths]

    def find(self) -> Plan | None:
        """The plan that is there."""
        try:
            data, _ = self.store.get(self.place.below("plan.json").key)
        except MissingError:
            return None
        try:
            return Plan(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self.place}/plan.json is damaged", "Begin anew: --shard plan --overwrite"
            ) from error

    def plan(self, overwrite: bool = False) -> Plan:
        """The plan that is there, or a new one.

        Args:
            overwrite: in any case a new one, by which everything is done anew.

        Raises:
            UsageError: the plan that is there is for another model or setting.
        """
        there = self.find()
        if there is not None and (overwrite or there.joined):
            self._remove(there)
        elif there is not None:
            return self._fitting(there)
        return self._fitting(self._make(overwrite))

    def run(self, plan: Plan, numbers: Sequence[int], watch: Watch = lambda *_: None) -> Tally:
        """Run shards, those that are done already excepted."""
        whole = Tally()
        for number in numbers:
            done = self._record(plan, number)
            if done is None:
                ran = self._run(plan, number, _added(whole, watch))
                whole.left_out.merge(ran.left_out)  # inside archives
                done = self._record(plan, number)
            if done is None:
                raise InputError(f"{self._key(plan, number)} is gone", "Run the command again")
            _count(whole, done)
            watch(whole, self.job.work.seconds)
        return whole

    def join(self) -> Tally:
        """One table and one manifest of all shards.

        Raises:
            UsageError: there is no plan, or a shard is not done.
        """
        plan = self.find()
        if plan is None:
            raise UsageError(f"there is no plan in {self.place}", "Make it: --shard plan")
        if plan.places != self.places:
            raise UsageError(f"the plan in {self.place} is for {', '.join(plan.places)}")
        tally = Tally()
        if plan.joined:  # killed after it was done
            tally.done, tally.skipped, tally.failed = plan.joined
        else:
            self._join(plan, tally)
            joined = replace(plan, joined=[tally.done, tally.skipped, tally.failed])
            self._put_plan(joined)
        self._remove(plan)
        return tally

    def _join(self, plan: Plan, tally: Tally) -> None:
        records = {entry.key for entry in self.store.list(self.place.below(plan.id, "done").key)}
        missing = [one for one in range(plan.count) if self._key(plan, one, "done") not in records]
        if missing:
            named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if missing[_NAMED:] else "")
            raise UsageError(
                f"{len(missing)} of {plan.count} shards are not done: {named}",
                "Run them: --shard I/N; then join again",
            )
        for reason, count in plan.left_out.items():
            tally.left_out.counts[reason] += count
        with closing(StoredJournal(self.manifest, self.job.key, plan.overwrite)) as journal:
            with self.job.table(journal, plan.overwrite) as table:
                for number in range(plan.count):
                    lines = self._record(plan, number) or []
                    journal.take([line for line in lines if BEFORE not in line])
                    if table is not None:
                        table.add_lines(lines)
                    _count(tally, lines)
            if journal.broken is not None:
                raise MachineError(journal.broken, "Make room for temporary files, and join again")
            journal.finish()

    def _make(self, forget: bool) -> Plan:
        """List the inputs; what was done before comes with its line of the manifest."""
        plan = Plan(secrets.token_hex(8), self.job.key, 0, 0, self.places, forget)
        journal = StoredJournal(self.manifest, self.job.key, forget, read_only=True)
        left_out, count, inputs = LeftOut(), 0, 0
        try:
            if self.job.outputs is not None:
                self.job.outputs.begin(journal, forget)
            self.job.say_passed_over(journal, left_out)
            for lines in self._cut(journal, left_out):
                self.store.put(self._key(plan, count), as_lines(lines).encode())
                # of an archive's shard the lines of its members are no inputs of the listing
                count, inputs = count + 1, inputs + sum("archive" not in line for line in lines)
        finally:
            journal.close()
        plan = replace(plan, count=count, inputs=inputs, left_out=dict(left_out.counts))
        try:
            self._put_plan(plan, create=True)
        except ExistsError:  # somebody was quicker
            self._remove(plan, whole=False)
            if (there := self.find()) is not None:
                return there
            raise
        return plan

    def _cut(self, journal: StoredJournal, left_out: LeftOut) -> Iterator[list[Line]]:
        """The lines of each shard."""
        lines: list[Line] = []
        for source in self.job.sources.listed(left_out):
            archive = self.job.sources.is_archive(source)
            if lines and (archive or len(lines) == KEYS):
                yield lines
                lines = []
            if archive:
                yield self._known(source, journal)
            else:
                lines.append(self._planned(source, journal))
        if lines:
            yield lines

    def _planned(self, source: Source, journal: StoredJournal) -> Line:
        if source.stored is None:
            raise UsageError(f"{source.path} is a file; shards need addresses")
        found = journal.answer(source.path, source.name, source.stored)
        if found is not None and self.job.there(source, found[1]):
            return {**found[1], BEFORE: True}
        size, etag = source.stored.size, source.stored.etag
        line: Line = {"file": source.name, "path": source.path, "bytes": size, "etag": etag}
        if isinstance(self.job.outputs, StoredOutputs):
            place = self.job.outputs.place(source)
            line |= {"own": {place: states}} if (states := journal.states(place)) else {}
        return line

    def _known(self, source: Source, journal: StoredJournal) -> list[Line]:
        """Of an archive: what was done before, and the line of itself."""
        line = self._planned(source, journal)
        before, line["own"] = journal.inside(source.path, line["etag"])
        done = [
            {**one, BEFORE: True}
            for one in before
            if self.job.there(Source(one["path"], one["file"]), one)
        ]
        return [*done, line]

    def _run(self, plan: Plan, number: int, watch: Watch) -> Tally:
        data, _ = self.store.get(self._key(plan, number))
        anew = "Begin anew: --shard plan --overwrite"
        lines = list(read_lines(data, f"shard {number} of {self.place}", anew))
        # what lies among the outputs was told by the plan
        sources = Planned(**{**vars(self.job.sources), "ignore": None}, lines=lines)

        def opens(place: Address, key: str, forget: bool, read_only: bool) -> StoredJournal:
            return ShardJournal(place, key, lines, sources.names)

        job = replace(
            self.job,
            manifest=Address(self.place.root, self._key(plan, number, "done")),
            sources=sources,
            table=no_table,
            more=lambda *_: iter(()),
            opens=opens,
        )
        return job.run(Options(overwrite=plan.overwrite), watch)

    def _record(self, plan: Plan, number: int) -> list[Line] | None:
        """A shard's lines, in the order of the plan; None where it is not done."""
        try:
            data, _ = self.store.get(key := self._key(plan, number, "done"))
        except MissingError:
            return None
        mend = f"Remove it, and run its shard again: --shard {number}/{plan.count}"
        return list(read_lines(data, f"{self.place.root}/{key}", mend))

    def _fitting(self, plan: Plan) -> Plan:
        if plan.key != self.job.key or plan.places != self.places:
            raise UsageError(
                f"the plan in {self.place} is for other inputs, another model, backend or setting",
                "Give the same ones, finish and join it, or begin anew: --shard plan --overwrite",
            )
        return plan

    def _put_plan(self, plan: Plan, create: bool = False) -> None:
        data = json.dumps(asdict(plan)).encode()
        self.store.put(self.place.below("plan.json").key, data, create)

    def _key(self, plan: Plan, number: int, kind: str = "todo") -> str:
        return self.place.below(plan.id, kind, f"{number:06d}.jsonl").key

    def _remove(self, plan: Plan, whole: bool = True) -> None:
        self.store.delete([entry.key for entry in self.store.list(self.place.below(plan.id).key)])
        if whole:
            self.store.delete([self.place.below("plan.json").key])


def _count(tally: Tally, lines: Sequence[Line]) -> None:
    for line in lines:
        if line["status"] != "done":
            tally.fail(line["file"], line["error"])
        elif BEFORE in line:
            tally.skipped += 1
        else:
            tally.done += 1


def _added(whole: Tally, watch: Watch) -> Watch:
    def both(tally: Tally, seconds: Seconds) -> None:
        watch(
            Tally(
                whole.done + tally.done, whole.skipped + tally.skipped, whole.failed + tally.failed,
                begun=whole.begun,
            ),
            seconds,
        )  # fmt: skip

    return both
