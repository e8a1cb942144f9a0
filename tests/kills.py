"""Kills (kill -9) at random moments: a run that goes on ends as one that was never disturbed.

``make kills`` does it fifty times to each command; tests/test_kills.py a few times.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import psutil

from dlkit.__main__ import main
from dlkit.mmwave import simulate
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine.run import Run

from .conftest import untrained_run

_TOGETHER = 5  # kills before a run may come to its end
_LIMIT = 900.0  # seconds of a run: more is one that hangs, on the busiest machine
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["dlkit.cli", "dlkit.export.api", "dlkit.training.engine.start", "onnxruntime", "onnxscript",
     "matplotlib.figure", "matplotlib.backends.backend_agg"]
)  # fmt: skip
# They differ from run to run by their nature; the sum is of the time, too.
_DATES = ("time", "date", "seconds", "check", "written_ns")

Found = Mapping[str, object]


class Case(NamedTuple):
    """A command that is killed.

    Attributes:
        begin: its arguments, for an output folder.
        go_on: the same after a kill.
        found: all that it wrote, by name.
    """

    name: str
    begin: Callable[[Path], list[object]]
    go_on: Callable[[Path], list[object]]
    found: Callable[[Path], Found]


def undated(value: Any) -> Any:
    """A JSON value without dates and times."""
    if isinstance(value, dict):
        return {name: undated(one) for name, one in value.items() if name not in _DATES}
    return [undated(one) for one in value] if isinstance(value, list) else value


def lines(path: Path) -> list[Any]:
    return [undated(json.loads(line)) for line in path.read_text().splitlines()]


def files(folder: Path) -> dict[str, object]:
    """Every file's bytes; of a manifest what is done; of other JSON all but dates.

    What TensorBoard keeps is left out: all of it is dated.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name.endswith("manifest.jsonl"):
            done = [line for line in lines(path) if "file" in line]
            found[name] = sorted(done, key=lambda line: str(line["file"]))
        elif path.suffix == ".jsonl":
            found[name] = lines(path)
        elif path.suffix == ".json":
            found[name] = undated(json.loads(path.read_bytes()))
        elif path.is_file() and "tensorboard" not in path.parts:
            found[name] = path.read_bytes()
    return found


def of_run(folder: Path) -> Found:
    """What a training wrote; of the checkpoint every value."""
    found = files(folder)
    state = Run(folder).load_checkpoint()
    state["log"] = undated(json.loads(state["log"]))
    found["checkpoint.pt"] = flat(state)
    return found


def flat(value: Any) -> Any:
    """Nested values without tensors, which do not say in one word whether they are equal."""
    if isinstance(value, dict):
        return {str(name): flat(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [flat(one) for one in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else value


def cases(folder: Path, small: bool) -> list[Case]:
    """The four commands, on inputs that are made here.

    Args:
        small: of so few inputs that a run takes about two seconds.
    """
    scans, pages = folder / "scans", folder / "pages"
    scans.mkdir()
    pages.mkdir()
    for index in range(12 if small else 96):
        cv2.imwrite(str(scans / f"{index}.png"), simulate(index, (256, 192)).noisy)
    digits = load_labelled("mnist-mini").test_images
    for index in range(6 if small else 24):
        page = np.full((500, 900), 255, np.uint8)
        for place in range(12):
            row, column = divmod(place, 6)
            digit = 255 - cv2.resize(digits[12 * index + place], (84, 84))
            page[100 + 200 * row :, 40 + 140 * column :][:84, :84] = digit
        cv2.imwrite(str(pages / f"{index}.png"), page)
    run = untrained_run(folder, "lenet_relu")
    epochs = f"epochs={1 if small else 2}"

    def denoise(out: Path) -> list[object]:
        return ["denoise", scans, "--out", out, "--backend", "onnxruntime"]

    def recognize(out: Path) -> list[object]:
        # a worker would take 256 of them at once, if they were as quick as digits
        return [
            "recognize", pages, "--out", out / "p.csv", "--annotate", out / "seen", "--batch", 64,
        ]  # fmt: skip

    def fresh(out: Path) -> list[object]:
        return ["train", "lenet_relu", "--set", epochs, "--out", out]

    def resumed(out: Path) -> list[object]:
        begun = (out / "recipe.json").exists()  # else there is nothing to resume
        return [*fresh(out), *(["--resume"] if begun else [])]

    def export(out: Path) -> list[object]:
        return ["export", run, "--precision", "fp16", "--out", out / "bundle"]

    return [
        Case("denoise", denoise, denoise, files),
        Case("recognize --annotate", recognize, recognize, files),
        Case("train", fresh, resumed, of_run),
        Case("export", export, export, files),
    ]


def command(arguments: list[str], errors: Path) -> None:
    """``dlkit`` in a process of its own."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["dlkit", *arguments]
    main()


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        killed: it was not done by then.
        wall: seconds that it took.
        cpu: seconds of processor time; other work on the machine does not change them.
    """

    killed: bool
    wall: float
    cpu: float


def run_for(arguments: list[object], wall: float = math.inf, cpu: float = math.inf) -> Ended:
    """Run until it is done, or for so many seconds of either kind.

    The libraries are loaded already, so that kills do not meet imports alone.
    """
    begun, used = time.monotonic(), 0.0
    with tempfile.NamedTemporaryFile() as errors:
        process = _SERVER.Process(target=command, args=([*map(str, arguments)], Path(errors.name)))
        process.start()
        watched = psutil.Process(process.pid)
        while process.exitcode is None and used < cpu and time.monotonic() - begun < wall:
            with contextlib.suppress(psutil.NoSuchProcess):
                used = sum(watched.cpu_times()[:2])
            process.join(0.02)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = Path(errors.name).read_text(errors="replace")
    assert process.exitcode in (0, -signal.SIGKILL), said
    return Ended(bool(process.exitcode), time.monotonic() - begun, used)


def finish(arguments: list[object]) -> Ended:
    """Run to the end."""
    ended = run_for(arguments, wall=_LIMIT)
    assert not ended.killed, "it hangs"
    return ended


def attack(case: Case, folder: Path, kills: int, dice: random.Random) -> int:
    """Kill a command so often; gives how many runs were compared.

    Raises:
        AssertionError: one ended otherwise than an undisturbed run.
    """
    whole = folder / "whole"
    whole.mkdir(parents=True)
    seconds = finish(case.begin(whole)).wall
    wanted = case.found(whole)
    runs = 0
    while kills > 0:
        out = folder / f"{runs}" / "whole"  # the same name: it may stand in a file
        out.mkdir(parents=True)
        begun = False
        for _ in range(min(kills, _TOGETHER)):
            arguments, after = (case.go_on if begun else case.begin)(out), dice.uniform(0, seconds)
            if not run_for(arguments, wall=after).killed:
                if not begun:  # the machine is quicker than it was
                    seconds = after
                break
            begun = True
            kills -= 1
        finish(case.go_on(out))
        found = case.found(out)
        assert found.keys() == wanted.keys(), (case.name, found.keys() ^ wanted.keys())
        for name, value in wanted.items():
            expected = flat_paths(value, whole)
            assert flat_paths(found[name], out) == expected, (case.name, name, runs)
        runs += 1
    return runs


def flat_paths(value: Any, folder: Path) -> Any:
    """A value in which a folder's own path is left out."""
    if isinstance(value, dict):
        return {name: flat_paths(one, folder) for name, one in value.items()}
    if isinstance(value, list):
        return [flat_paths(one, folder) for one in value]
    return value.replace(str(folder), "") if isinstance(value, str) else value


def second_by_second(case: Case, folder: Path) -> int:
    """Kill a command again and again, after a second of work; gives how often.

    Raises:
        AssertionError: it never comes to its end.
    """
    whole, out = folder / "whole", folder / "killed" / "whole"
    for place in (whole, out):
        place.mkdir(parents=True)
    work = finish(case.begin(whole)).cpu
    idle = finish(case.go_on(whole)).cpu  # all is done: libraries and models are loaded
    kills = 0
    while run_for((case.go_on if kills else case.begin)(out), cpu=idle + 1).killed:
        kills += 1
        assert kills < 20 + 5 * work, f"{case.name} does not get forward"
    assert kills, f"{case.name} is done within a second"
    found = case.found(out)
    for name, value in case.found(whole).items():
        assert flat_paths(found[name], out) == flat_paths(value, whole), (case.name, name)
    return kills


def try_all(kills: int, only: str = "") -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for case in cases(folder, small=False):
            if only not in case.name:
                continue
            begun = time.monotonic()
            runs = attack(case, folder / case.name, kills, random.Random(case.name))
            print(
                f"{case.name}: {kills} kills, {runs} runs as if undisturbed, "
                f"{time.monotonic() - begun:.0f} s",
                flush=True,
            )
            if case.name != "export":  # which is short, and begins anew
                often = second_by_second(case, folder / f"{case.name} every second")
                print(f"{case.name}: killed every second, done after {often} kills", flush=True)


if __name__ == "__main__":
    try_all(int(sys.argv[1]), *sys.argv[2:])
