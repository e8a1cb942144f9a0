"""``--shard``: what the commands do with a part of a plan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dlkit.cli._console import plain
from dlkit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.runtime.folders.job import Job, Watch
    from dlkit.runtime.folders.shards import Plan
    from dlkit.runtime.folders.tally import Tally

_PART = re.compile(r"(\d{1,6})/(\d{1,6})")


def check_shard(shard: str | None, ray: str | None, overwrite: bool, others: bool) -> None:
    """Refuse what no shard is.

    Args:
        others: options are given that go with whole runs alone.

    Raises:
        UsageError: what it is, or goes with it.
    """
    if others:
        raise UsageError("--watch, --dry-run and --fail-fast do not go with shards")
    if shard is None:
        return
    if ray is not None:
        raise UsageError("--ray runs all shards, and --shard some", "Give one of them")
    part = _PART.fullmatch(shard)
    if shard not in ("plan", "join") and not (part and int(part[1]) < int(part[2])):
        raise UsageError(
            f"--shard is '{shard}', expected plan, join, or I/N with I from 0 to N - 1",
            "E.g. --shard 0/3, 1/3 and 2/3 in three processes, then --shard join",
        )
    if overwrite and shard != "plan":
        raise UsageError("--overwrite is a matter of the plan", "Say --shard plan --overwrite")


def shard_tally(job: Job, shard: str, overwrite: bool, watch: Watch, console: Console) -> Tally:
    """Do a part, and tell how it went."""
    from dlkit.runtime.folders.shards import Shards

    shards = Shards(job)
    if shard == "join":
        return shards.join()
    plan = shards.plan(overwrite)
    if shard == "plan":
        return _planned(plan, console)
    first, step = map(int, shard.split("/"))
    return shards.run(plan, range(first, plan.count, step), watch)


def _planned(plan: Plan, console: Console) -> Tally:
    from dlkit.runtime.folders.tally import Tally

    text = f"{plan.inputs} inputs in {plan.count} shards"
    console.print(plain(text), highlight=False)
    return Tally()
