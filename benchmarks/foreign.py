"""Conversions of ONNX files that others wrote to float16: dlkit beside its peers.

python benchmarks/foreign.py fetches the files and the peers, converts, judges, and writes
docs/foreign.md. All that is found lies in a cache: a second run does only what is new. What is
compared, and how: docs/foreign.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_files
import foreign_inputs
import foreign_judge
import foreign_page
import numpy as np
from foreign_results import PEERS, close_ones, verdict

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS_NEED = ("onnxruntime", "onnxconverter-common", "polygraphy", "onnx-graphsurgeon", "sympy",
              "nvidia-modelopt[onnx]")  # fmt: skip
STEPS = ("valid", "shares", "rounded", "onnxruntime", "openvino", "engine")
BACKENDS = ("openvino", "engine")
_FORKS = multiprocessing.get_context("forkserver")
# Not onnxruntime and openvino: they start threads, and a lock that one holds stays held in a fork.
_FORKS.set_forkserver_preload(
    ["foreign_judge", "torch", "onnxscript.rewriter", "dlkit.graph.measure",
     "dlkit.training.engine.run"]
)  # fmt: skip
_SECONDS, _BYTES = 600, 20 << 30  # that one process may take
_LARGEST = 200 << 20  # bytes of a file


def main() -> int:
    """Run what is asked for; 1 where a file cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "dlkit-foreign")
    parser.add_argument("--only", default="", help="regular expression of the files' names")
    parser.add_argument("--converters", default=",".join(("dlkit", *PEERS)))
    parser.add_argument("--precisions", default="fp16", help="of dlkit, e.g. fp16,bf16,int8")
    parser.add_argument("--steps", default=",".join(STEPS), help="of the judge")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "foreign.md")
    options = parser.parse_args()
    names = [name for name in foreign_files.names() if re.search(options.only, name)]
    wanted = []
    for one in options.converters.split(","):
        wanted += [f"dlkit-{p}" for p in options.precisions.split(",")] if one == "dlkit" else [one]
    versions = {one: _version(options.cache, one) for one in wanted}
    failed = 0
    for place, name in enumerate(names, 1):
        begun = time.perf_counter()
        try:
            folder = foreign_files.collect(options.cache, name)
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
            continue
        if sum(path.stat().st_size for path in folder.glob("model.onnx*")) > _LARGEST:
            continue
        results = _judge(options.cache, folder, versions, options.steps.split(","))
        said = ", ".join(f"{one} {verdict(found)}" for one, found in results.items())
        seconds = time.perf_counter() - begun
        print(f"{place} of {len(names)}: {name}: {said} ({seconds:.0f} s)", file=sys.stderr)
    if options.out.name != "none":
        found = {name: read(path) for name in foreign_files.names()
                 if (path := options.cache / "results" / f"{name}.json").is_file()}  # fmt: skip
        options.out.write_text(foreign_page.page(found))
    return 1 if failed else 0


def _judge(cache: Path, folder: Path, versions: dict[str, str], steps: list[str]) -> dict[str, Any]:
    """Convert a file with everybody and judge what comes out; kept in ``results/NAME.json``."""
    kept = cache / "results" / f"{folder.name}.json"
    results = read(kept) if kept.is_file() else {}
    source = folder / "model.onnx"
    for one, version in {"float32": "", **versions}.items():
        target = source if one == "float32" else cache / "converted" / folder.name / one
        before = results.get(one, {})
        if before.get("version") == version and "seconds" in before:
            continue
        found: dict[str, Any] = {"version": version, "ok": True, "seconds": 0.0}
        if one != "float32":
            found |= _convert(cache, one, source, target)
        file = source if one == "float32" else target / "model.onnx"
        if found["ok"]:
            found["sha256"] = _hash(file.parent)
            if before.get("sha256") == found["sha256"]:
                found["steps"] = before.get("steps", {})  # the same bytes: judged already
        results[one] = found
    todo = [(one, step) for one, found in results.items() if found["ok"] and one in versions
            for step in steps if not _known(found, step)]  # fmt: skip
    if "shares" in steps and not _known(results["float32"], "shares"):
        todo.append(("float32", "shares"))
    _take(cache, folder, todo, results)
    # The float32 file is asked only where another one failed: is it the file's fault?
    failed = {step for one, step in todo if step in BACKENDS
              and not results[one]["steps"][step]["ok"]}  # fmt: skip
    _take(cache, folder, [("float32", step) for step in sorted(failed)
                          if not _known(results["float32"], step)], results)  # fmt: skip
    _take(cache, folder, [(one, "again") for one in close_ones(results)
                          if not _known(results[one], "again")], results)  # fmt: skip
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(results, indent=1) + "\n")
    return results


def _take(cache: Path, folder: Path, todo: list[tuple[str, str]], results: dict[str, Any]) -> None:
    jobs = [(one, step, _file(cache, folder, one)) for one, step in todo]
    for (one, step), judged in _run_steps(folder, jobs).items():
        results[one].setdefault("steps", {})[step] = judged


def _known(found: dict[str, Any], step: str) -> bool:
    """Whether a step need not be taken again; where dlkit itself failed it may do better now."""
    one = found.get("steps", {}).get(step)
    return one is not None and (one["ok"] or step not in ("shares", "rounded"))


def _file(cache: Path, folder: Path, one: str) -> Path:
    inside = folder if one == "float32" else cache / "converted" / folder.name / one
    return inside / "model.onnx"


def _convert(cache: Path, one: str, source: Path, target: Path) -> dict[str, Any]:
    shutil.rmtree(target, ignore_errors=True)
    if one.startswith("dlkit"):
        target.parent.mkdir(parents=True, exist_ok=True)
        precision = one.removeprefix("dlkit-")
        data = _calibration(source) if precision == "int8" else None
        got, why = _apart(foreign_judge.convert, source, target, precision, data)
        return got[0] if got else {"ok": False, "why": why, "seconds": 0.0}
    target.mkdir(parents=True)
    command = [_python(cache), str(HERE / "peers" / "half_precision.py"), one, str(source),
               str(target / "model.onnx"), str(_arrays(source))]  # fmt: skip
    begun = time.perf_counter()
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, errors="replace",
                               preexec_fn=_limit, start_new_session=True)  # fmt: skip
    try:
        said = "\n".join(process.communicate(timeout=_SECONDS))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # some start processes of their own
        process.communicate()
        said = f"more than {_SECONDS} s"
    code = process.returncode
    found: dict[str, Any] = {"seconds": round(time.perf_counter() - begun, 1)}
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no message"]
    if code == 0 and (target / "model.onnx").is_file():
        alone = [line.split()[1] for line in lines if line.startswith("seconds ")]
        return {"ok": True, "seconds": float(alone[0]) if alone else found["seconds"]}
    return {
        **found,
        "ok": False,
        "why": f"exit code {code}: {lines[-1]}"[:400],
        "log": said[-3000:],
    }


def _calibration(source: Path) -> Path:
    """Folder of samples that int8 is calibrated on."""
    folder = source.with_name("calibration")
    if not folder.is_dir():
        foreign_inputs.calibration(folder, read(source.with_name("about.json"))["inputs"])
    return folder


def _arrays(source: Path) -> Path:
    """The first call's inputs by their names alone, as AutoCast takes them."""
    path = source.with_name("first_call.npz")
    if not path.is_file():
        first: dict[str, Any] = foreign_inputs.read(source.with_name("inputs.npz"))[0]
        np.savez(path, **first)
    return path


def _run_steps(
    folder: Path, jobs: list[tuple[str, str, Path]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Take the steps in one process; after a crash in another one, from the next on."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    left = list(jobs)
    while left:
        got, why = _apart(foreign_judge.judge, folder, left)
        found |= {(name, step): one for name, step, one in got}
        left = left[len(got) :]
        if left:
            name, step, _ = left.pop(0)
            found[name, step] = {"ok": False, "why": f"crash: {why}"}
    return found


def _apart(work: Callable[..., None], *arguments: object) -> tuple[list[Any], str]:
    """What ``work`` sends from a process of its own, and why it ended early.

    Processes are forked from one that has loaded the libraries, which takes longer than the work.
    """
    ours, theirs = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_within, args=(work, *arguments, theirs))
    process.start()
    theirs.close()
    got, until = [], time.monotonic() + _SECONDS
    why = f"more than {_SECONDS} s"
    try:
        while ours.poll(max(0, until - time.monotonic())):
            got.append(ours.recv())
            until = time.monotonic() + _SECONDS
        process.kill()
    except EOFError:
        why = ""
    process.join()
    return got, why or f"exit code {process.exitcode}"


def _within(work: Callable[..., None], *arguments: object) -> None:
    _limit()
    work(*arguments)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))


def _python(cache: Path) -> str:
    """Python of the peers' environment, which is made where it is missing."""
    place = cache / "peers"
    python = place / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS_NEED], check=True)
    return str(python)


def _version(cache: Path, one: str) -> str:
    """What makes a conversion another one: dlkit's sources, a peer's version."""
    if one.startswith("dlkit"):
        digest = hashlib.sha256()
        for path in sorted((ROOT / "dlkit").rglob("*.py")):
            if path.parts[len(ROOT.parts) + 1] in ("export", "graph", "graph.py", "spec.py"):
                digest.update(path.read_bytes())
        return digest.hexdigest()[:12]
    script = str(HERE / "peers" / "half_precision.py")
    done = subprocess.run([_python(cache), script, one], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("model.onnx*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read(path: Path) -> dict[str, Any]:
    """A file of JSON."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    raise SystemExit(main())
