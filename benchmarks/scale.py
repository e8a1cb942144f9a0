"""How long ten million inputs in a bucket take on some machines, and what bounds it: arithmetic on
figures that were measured on one machine and figures of the store. docs/scale.md shows the table.

    python benchmarks/scale.py
"""

from __future__ import annotations

from dataclasses import dataclass

INPUTS = 10_000_000
MACHINES = (1, 8, 64)
CORES = 16  # of a machine of the model; the figures below are seconds of one core
GBITS = 10.0  # network of a machine
# AWS, "Best practices design patterns: optimizing Amazon S3 performance": requests a second of one
# prefix, before S3 divides it.
GETS, PUTS = 5500, 3500
LATENCY_S = 0.1  # of a small object, the same page: 100 to 200 ms
CALLERS = 64  # requests of a machine that are under way at once; dlkit.storage.store
LIST_S = 0.1  # of a listing of 1,000 keys; one after the other


@dataclass(frozen=True)
class Work:
    """What an input costs; see docs/scale.md for where the figures come from.

    Attributes:
        local_s: seconds of one core to decode, run and encode one.
        store_s: seconds of one core that its requests take.
        read, written: bytes of it and of its output.
        puts: requests that write it.
    """

    name: str
    local_s: float
    store_s: float
    read: int
    written: int
    puts: int


WORKS = (
    Work("digits, 28 x 28", 0.00027, 0.00034, 300, 0, 0),
    Work("scans, 688 x 384", 0.140, 0.0006, 119_000, 46_000, 1),
)
PLAN_S, JOIN_S = 0.00002, 0.00003  # seconds of one core for each input, by one process


def hours(work: Work, machines: int) -> dict[str, float]:
    """Hours that each part would take by itself."""
    processors = INPUTS * (work.local_s + work.store_s) / (CORES * machines)
    network = INPUTS * (work.read + work.written) * 8 / (GBITS * 1e9 * machines)
    requests = INPUTS * max(1 / GETS, work.puts / PUTS)
    waiting = INPUTS * LATENCY_S / (CALLERS * machines)  # reads and puts have threads of their own
    return {
        "processors": processors / 3600,
        "network": network / 3600,
        "waiting": waiting / 3600,
        "store": requests / 3600,
        "plan and join": INPUTS * (LIST_S / 1000 + PLAN_S + JOIN_S) / 3600,
    }


def table() -> str:
    """As Markdown. Parts overlap, so the longest counts; plan and join come on top."""
    lines = [
        "| | machines | processors | network | waiting | store | plan and join | all | bound by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for work in WORKS:
        for machines in MACHINES:
            found = hours(work, machines)
            alone = found.pop("plan and join")
            bound = max(found, key=lambda part: found[part])
            whole = found[bound] + alone
            bound = "plan and join" if alone > found[bound] else bound
            cells = [f"{hours:.2f} h" for hours in found.values()]
            lines.append(
                f"| {work.name} | {machines} | {' | '.join(cells)} | {alone:.2f} h | "
                f"{whole:.2f} h | {bound} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
