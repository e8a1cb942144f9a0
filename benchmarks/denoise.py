"""Denoise: PNG scans in, cleaned PNG scans out; dlkit and what a peer's user would write.

    python benchmarks/denoise.py                             # 96 simulated scans, 3 rounds
    python benchmarks/denoise.py --data scans/ --model BUNDLE --rounds 5

Every contestant does the same files, folder to folder. Speed is from the first file to the last
answer with everything loaded; start-up and the whole run are beside it. Below the table is what the
processor time of dlkit's own decoding, inference and encoding allows when no processor ever waits.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import contest
import cv2
import numpy as np
from contest import Contestant, dlkit, peer

from dlkit.bench import machine, words
from dlkit.bench.plan import input_files
from dlkit.processors import cpu_count
from dlkit.runtime.model import load

_DIFFERENT_SCANS = 16
_SCAN = (678, 384)
# Float32 sums in another order move a rounded pixel by one grey level; bfloat16 keeps 8 bits.
_LEVELS = {"float32": 1, "bfloat16": 16}
_FLOAT32 = "dlkit denoise, float32"


def main() -> None:
    """Write the files, let everybody do them in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of PNG scans instead of simulated ones")
    parser.add_argument("--model", default="mmwave", help="float32 bundle")
    parser.add_argument("--count", type=int, default=96, help="files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="contestants whose name matches: dlkit|plain")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dlkit-denoise-") as scratch:
        _run(options, Path(scratch))


def _run(options: argparse.Namespace, scratch: Path) -> None:
    folder, one = scratch / "scans", scratch / "one"
    count = write_files(options.data, folder, options.count)
    one.mkdir()
    (one / "0.png").write_bytes(next(folder.iterdir()).read_bytes())

    def ours(name: str, out: Path, *choice: object) -> Contestant:
        start, how = out.with_name(f"start-{out.name}"), ("--model", options.model, *choice)
        commands = [
            dlkit("denoise", source, "--out", target, "--device", "cpu", *how)
            for source, target in ((folder, out), (one, start))
        ]
        return Contestant(name, commands[0], out, commands[1])

    # What auto takes computes in bfloat16 where the processor has it and the certificate allows it.
    first = "dlkit denoise"
    with load(options.model, device="cpu") as model:
        auto, own = model.opened.session.backend, model.opened.session.arithmetic
    arithmetic = "bfloat16" if own == "bf16" else "float32"
    contestants = [ours(first, scratch / "out")]
    if arithmetic != "float32":
        contestants.append(ours(_FLOAT32, scratch / "out-float32", "--backend", "onnxruntime"))
    scripts = {
        "plain loop, ONNX Runtime, batch 1": ("denoise_plain_loop",),
        "torch eager, DataLoader": ("denoise_dataloader",),
        "torch.compile, DataLoader": ("denoise_dataloader", "--compile"),
        "OpenVINO AsyncInferQueue": ("denoise_async_queue",),
    }
    for place, (name, (script, *rest)) in enumerate(scripts.items()):
        out = scratch / f"out-{place}"
        contestants.append(Contestant(name, peer(script, folder, options.model, out, *rest), out))
    contestants = [one for one in contestants if re.search(options.only, one.name)]
    if not contestants:
        raise SystemExit(f"no contestant matches --only '{options.only}': try dlkit|plain")
    others = machine.Others()
    found, errors = contest.measure(contestants, count, options.rounds)
    checked, wrong = {}, []
    measured = [one for one in contestants if one.name in found]
    exact = [one for one in measured if one.name != first or arithmetic == "float32"]
    reference = (exact or measured)[0]
    for one in measured:
        levels = _LEVELS["float32" if one in exact else arithmetic]
        checked[one.name], right = compare(folder, reference.out, one.out, levels)
        wrong += [] if right else [one.name]
    print(contest.speed_table(found, count, contestants[0].name, checked))
    print(f"\n{count} PNG scans, folder to folder, {options.model} on the CPU. {first} chose")
    print(f"{auto}, which computes in {arithmetic}; all others compute in float32.")
    print(f"Answers: largest and mean difference from {reference.name}, in grey levels of 255.")
    if first in found:
        rate = count / float(np.median([one["work_s"] for one in found[first]]))
        print(allowed(folder, options.model, scratch / "stages", rate))
    print(contest.where(options.rounds, others))
    contest.finish(errors, wrong)


def allowed(folder: Path, model: str, out: Path, rate: float) -> str:
    """What the sum of processor times allows, and which share of it ``rate`` is."""
    _, stages = contest.timed(peer("denoise_stages", folder, model, out))
    if isinstance(stages, str):
        return f"Processor times could not be measured: {stages}."
    cores = cpu_count()
    most = cores / sum(stages.values())
    parts = ", ".join(f"{name} {words.milliseconds(value)}" for name, value in stages.items())
    return (
        f"Processor time an image, in ms: {parts}. On {cores} processors that allows "
        f"{words.number(most)} images/s; dlkit denoise reaches {words.percent(rate / most)} of it."
    )


def write_files(data: Path | None, folder: Path, count: int) -> int:
    """Scans as PNG files, over and over until there are ``count``; gives how many there are."""
    folder.mkdir()
    if data is not None:
        encoded = [path.read_bytes() for path in input_files(data) if path.suffix == ".png"]
    else:
        from dlkit.mmwave import simulate

        contest.say(f"simulating {min(count, _DIFFERENT_SCANS)} scans")
        scans = [simulate(seed, _SCAN).noisy for seed in range(min(count, _DIFFERENT_SCANS))]
        encoded = [cv2.imencode(".png", scan)[1].tobytes() for scan in scans]
    for index in range(count):
        (folder / f"{index:05d}.png").write_bytes(encoded[index % len(encoded)])
    return count


def compare(folder: Path, expected: Path, found: Path, levels: int) -> tuple[str, bool]:
    """Largest and mean difference of grey levels over all files; and whether it is small enough."""
    largest, means = 0, []
    for source in sorted(folder.iterdir()):
        pair = [
            cv2.imread(str(place / source.name), cv2.IMREAD_UNCHANGED)
            for place in (expected, found)
        ]
        if any(image is None for image in pair) or pair[0].shape != pair[1].shape:
            return f"{source.name} is missing or of another shape", False
        difference = cv2.absdiff(*pair)
        largest = max(largest, int(difference.max()))
        means.append(float(difference.mean()))
    return f"{largest}, {words.number(float(np.mean(means)))}", largest <= levels


if __name__ == "__main__":
    main()
