"""Peak resident memory of dlkit recognize over few and over many small images.

python benchmarks/memory.py            # 10,000 and 100,000 PNG files of 28x28, 3 rounds
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import contest
from digits import MINI, write_files

from dlkit.bench import machine
from dlkit.bench.measure import Spread, in_process, interleave


def main() -> None:
    """Write the files, run over each folder in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--counts", default="10000,100000", help="files, fewest first")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    with tempfile.TemporaryDirectory(prefix="dlkit-memory-") as name:
        scratch = Path(name)
        for count in counts:
            write_files(MINI, scratch / str(count), count)
        turn = iter(range(len(counts) * options.rounds))

        def run(count: int) -> Mapping[str, Any]:
            out = scratch / f"answers-{next(turn)}.csv"
            arguments = ["recognize", str(scratch / str(count)), "--out", str(out)]
            arguments += ["--model", options.model, "--device", "cpu"]
            result = in_process({"job": "command", "arguments": arguments})
            if "error" not in result and (rows := _rows(out)) != count:
                return {"error": f"{rows} rows for {count} files"}
            return result

        others = machine.Others()
        found, errors = interleave(
            counts, options.rounds, run, lambda done, count: contest.say(f"{count:,} files")
        )
    rows = []
    first: float | None = None
    for count, results in found.items():
        peak = Spread.of([one["peak_bytes"] / 1e6 for one in results])
        first = first or peak.median
        rows.append(
            (
                f"{count:,}", f"{peak.median:.1f}", f"{peak.low:.1f} to {peak.high:.1f}",
                f"{(peak.median / first - 1) * 100:+.1f} %",
            )
        )  # fmt: skip
    head = ("PNG files of 28x28", "peak MB", "lowest to highest", "against the first")
    print(contest.markdown(head, rows))
    print(f"\n{contest.where(options.rounds, others)}")
    contest.finish({f"{count:,} files": why for count, why in errors.items()}, [])


def _rows(table: Path) -> int:
    with table.open(encoding="utf-8") as file:
        return sum(1 for _ in file) - 1


if __name__ == "__main__":
    main()
