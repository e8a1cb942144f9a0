"""What the scripts here share: contestants in turns, each in its own process, and a table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.bench import machine, words
from dlkit.bench.measure import Spread, interleave
from dlkit.versions import of_modules

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Contestant:
    """One program that does the work.

    Attributes:
        command: what is run; it writes its answers to ``out``.
        start: the same program for one image, whose time is its start-up; empty where the
            program itself says how long it worked, as the last line of its output, in JSON.
        out: where the answers are after a run.
    """

    name: str
    command: tuple[str, ...]
    out: Path
    start: tuple[str, ...] = ()

    @property
    def start_out(self) -> Path:
        """Where the answer of ``start`` goes."""
        return self.out.with_name(f"start-{self.out.name}")


def peer(script: str, *arguments: object) -> tuple[str, ...]:
    """Command of a script in ``peers/``."""
    return (sys.executable, str(PEERS / f"{script}.py"), *map(str, arguments))


def dlkit(*arguments: object) -> tuple[str, ...]:
    """Command of dlkit."""
    return (sys.executable, "-m", "dlkit", *map(str, arguments))


def measure(
    contestants: Sequence[Contestant], images: int, rounds: int
) -> tuple[dict[str, list[Mapping[str, Any]]], dict[str, str]]:
    """Seconds of each contestant: ``work_s`` from the first file to the last answer with
    everything loaded, ``start_s`` before that, ``whole_s`` for the process.
    """
    by_name = {one.name: one for one in contestants}

    def progress(done: int, name: str) -> None:
        say(f"{done + 1} of {rounds * len(contestants)}: {name}")

    def run(name: str) -> dict[str, Any]:
        one = by_name[name]
        for out in (one.out, one.start_out):
            _forget(out)
        whole, output = timed(one.command)
        if isinstance(output, str):
            return {"error": output}
        if not one.start:
            work = float(output["work_s"])
            return {"work_s": work, "start_s": whole - work, "whole_s": whole}
        start, failed = timed(one.start)
        if isinstance(failed, str):
            return {"error": failed}
        work = (whole - start) * images / (images - 1)  # the start did one of them
        return {"work_s": work, "start_s": start, "whole_s": whole}

    return interleave(list(by_name), rounds, run, progress)


def _forget(out: Path) -> None:
    """Remove a result and dlkit's manifest beside it: nobody may find work that was done."""
    if out.is_dir():
        shutil.rmtree(out)  # with the manifest in it
    else:
        out.unlink(missing_ok=True)
    out.with_name(f"{out.name}.manifest.jsonl").unlink(missing_ok=True)


def timed(command: Sequence[str]) -> tuple[float, dict[str, Any] | str]:
    """Wall seconds of a process, and its last line if that is JSON; or what went wrong."""
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return seconds, f"exit code {done.returncode}: {lines[-1] if lines else 'no message'}"
    last = done.stdout.strip().splitlines()[-1:]
    return seconds, json.loads(last[0]) if last and last[0].startswith("{") else {}


def speed_table(
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    images: int,
    first: str,
    checked: Mapping[str, str],
) -> str:
    """Markdown: a row a contestant, with the ratio of ``first`` to it.

    Args:
        checked: by contestant, how its answers compare; one without answers has none.
    """
    rows = []
    ours = Spread.of([one["work_s"] for one in found[first]]).median if first in found else None
    for name, rounds in found.items():
        rates = Spread.of([images / one["work_s"] for one in rounds])
        whole = Spread.of([one["whole_s"] for one in rounds]).median
        start = Spread.of([one["start_s"] for one in rounds]).median
        ratio = "" if ours is None else f"{images / rates.median / ours:.2f}"
        rows.append(
            (
                name, words.number(rates.median),
                f"{words.number(rates.low)} to {words.number(rates.high)}",
                ratio, words.number(start), words.number(whole), words.number(images / whole),
                checked.get(name, ""),
            )
        )  # fmt: skip
    head = (
        "", "images/s", "lowest to highest", f"{first} is faster by", "start-up s", "whole run s",
        "images/s of the whole run", "answers",
    )  # fmt: skip
    return markdown(head, rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def where(rounds: int, others: machine.Others) -> str:
    """The machine and how it was measured, for below a table."""
    found = machine.describe()
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    torch = of_modules(("torch", "torchvision", "PIL"))
    libraries += "".join(f", {name} {version}" for name, version in torch.items())
    return (
        f"Medians of {rounds} interleaved rounds, each run a process of its own. "
        f"Other programs used {words.number(others.percent(), 2)} % of the processors meanwhile. "
        f"{words.machine(found)}; Python {found['python']}, {libraries}."
    )


def say(text: str) -> None:
    """Progress, beside the table that goes to the standard output."""
    print(text, file=sys.stderr, flush=True)


def finish(errors: Mapping[str, str], wrong: Sequence[str]) -> None:
    """Exit code 1 where somebody failed or answered something else than the others."""
    for name, why in errors.items():
        say(f"failed: {name}: {why}")
    for name in wrong:
        say(f"wrong: the answers of {name} differ")
    sys.exit(1 if errors or wrong else 0)
