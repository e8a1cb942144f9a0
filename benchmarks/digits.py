"""Digits: PNG files in, a table of answers out; dlkit and what a peer's user would write.

    python benchmarks/digits.py                              # 100,000 files, 3 rounds
    python benchmarks/digits.py --data DATA/MNIST/raw --model BUNDLE --count 20000 --rounds 5

Every contestant does the same files and writes file and digit into a CSV file. Speed is from the
first file to the last answer with everything loaded; start-up and the whole run are beside it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import re
import tempfile
from pathlib import Path

import contest
import cv2
import numpy as np
from contest import Contestant, dlkit, peer

import dlkit as package
from dlkit.bench import machine
from dlkit.idx import read_idx

MINI = Path(package.__file__).parent / "tasks" / "recognize" / "mnist_mini"
_AGREE = 0.9999  # float32 sums in another order may turn a tie


def main() -> None:
    """Write the files, let everybody do them in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=MINI, help="folder with t10k IDX files")
    parser.add_argument("--model", default="digits", help="float32 bundle")
    parser.add_argument("--count", type=int, default=100_000, help="files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="contestants whose name matches: dlkit|plain")
    parser.add_argument("--arrays", action="store_true", help="also a .npy through dlkit recognize")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dlkit-digits-") as scratch:
        _run(options, Path(scratch))


def _run(options: argparse.Namespace, scratch: Path) -> None:
    labels = write_files(options.data, scratch / "digits", options.count)
    one = scratch / "one"
    one.mkdir()
    (one / "0.png").write_bytes(next((scratch / "digits").iterdir()).read_bytes())
    contestants = [
        *ours("dlkit recognize", scratch / "digits", one, scratch / "dlkit.csv", options.model),
        *peers(scratch, options.model),
    ]
    if options.arrays:
        whole, first = scratch / "digits.npy", scratch / "one.npy"
        images = [
            cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            for path in sorted((scratch / "digits").iterdir())
        ]
        np.save(whole, np.stack(images))
        np.save(first, np.stack(images[:1]))
        contestants += ours(
            "dlkit recognize, one .npy", whole, first, scratch / "arrays.csv", options.model
        )
    contestants = [one for one in contestants if re.search(options.only, one.name)]
    if not contestants:
        raise SystemExit(f"no contestant matches --only '{options.only}': try dlkit|plain")
    others = machine.Others()
    found, errors = contest.measure(contestants, options.count, options.rounds)
    checked, wrong = {}, []
    for one in contestants:
        if one.name in found:
            checked[one.name], right = check(one.out, labels)
            wrong += [] if right else [one.name]
    answers = {one.name: digits_of(one.out) for one in contestants if one.name in found}
    for name, other in itertools.islice(answers.items(), 1, None):
        same = np.mean(np.array(other) == np.array(next(iter(answers.values()))))
        wrong += [name] if same < _AGREE else []
    print(contest.speed_table(found, options.count, contestants[0].name, checked))
    print(f"\n{options.count:,} PNG files of 28x28, {options.model} in float32 on the CPU.")
    print(contest.where(options.rounds, others))
    contest.finish(errors, list(dict.fromkeys(wrong)))


def ours(name: str, source: Path, one: Path, out: Path, model: str) -> list[Contestant]:
    """dlkit's own command; its start-up is what it takes for one image."""

    def command(given: Path, target: Path) -> tuple[str, ...]:
        return dlkit("recognize", given, "--model", model, "--out", target, "--device", "cpu")

    start = command(one, out.with_name(f"start-{out.name}"))
    return [Contestant(name, command(source, out), out, start)]


def peers(scratch: Path, model: str) -> list[Contestant]:
    """What others would write; see peers/."""
    folder = scratch / "digits"
    scripts = {
        "plain loop, ONNX Runtime, batch 1": ("digits_plain_loop",),
        "torch eager, DataLoader, PIL": ("digits_dataloader", "--decode", "pil"),
        "torch eager, DataLoader, torchvision.io": ("digits_dataloader", "--decode", "torchvision"),
        "torch.compile, DataLoader, torchvision.io": (
            "digits_dataloader", "--decode", "torchvision", "--compile",
        ),
        "OpenVINO AsyncInferQueue, batch 64": ("digits_async_queue",),
        "the session alone, pixels in memory": ("digits_session",),
    }  # fmt: skip
    found = []
    for name, (script, *options) in scripts.items():
        out = scratch / f"{len(found)}.csv"
        found.append(Contestant(name, peer(script, folder, model, out, *options), out))
    return found


def write_files(data: Path, folder: Path, count: int) -> list[int]:
    """Test digits as PNG files, over and over until there are ``count``; gives their labels."""
    images, labels = (
        read_idx(next(iter(sorted(data.glob(f"t10k-{part}*")))))
        for part in ("images-idx3", "labels-idx1")
    )
    contest.say(f"writing {count:,} files")
    folder.mkdir()
    encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images[:count]]
    for index in range(count):
        (folder / f"{index:07d}.png").write_bytes(encoded[index % len(encoded)])
    return [int(labels[index % len(encoded)]) for index in range(count)]


def digits_of(table: Path) -> list[str]:
    """The answers, in the order of the files' names."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and rows[0]["file"].endswith(".png"):  # of an array they are in its order
        rows.sort(key=lambda row: row["file"])
    return [row["digit"] for row in rows]


def check(table: Path, labels: list[int]) -> tuple[str, bool]:
    """How many answers are right; and whether there is one for every file."""
    digits = digits_of(table)
    if len(digits) != len(labels):
        return f"{len(digits)} of {len(labels)}", False
    right = np.mean([digit == str(label) for digit, label in zip(digits, labels, strict=True)])
    return f"{right * 100:.2f} % right", True


if __name__ == "__main__":
    main()
