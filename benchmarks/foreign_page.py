"""docs/foreign.md, of what foreign.py found."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

import foreign_files
import numpy as np
from contest import markdown
from foreign_judge import AGAIN
from foreign_results import (
    NEEDED,
    PEERS,
    SAME,
    Found,
    best_peer,
    beyond_chance,
    close_ones,
    gap,
    is_half,
    judged,
    share_of,
)

_TITLES = {
    "onnxruntime": "onnxruntime.transformers.float16",
    "onnxconverter-common": "onnxconverter-common float16",
    "polygraphy": "polygraphy convert --fp-to-fp16",
    "autocast": "NVIDIA modelopt AutoCast",
}
TEXT = Path(__file__).parent.parent / "docs" / "foreign.template.md"


def page(results: Mapping[str, Mapping[str, Found]]) -> str:
    """The whole page."""
    files = {name: found for name, found in results.items() if "dlkit-fp16" in found}
    filled = {
        "count": str(len(files)), "again": str(AGAIN), "summary": _summary(files),
        "main": _main_table(files),
        "peers": _peer_summary(files), "table": _peer_table(files),
        "reasons": "\n".join(_reasons(files)).strip(), "other": _other_table(files),
        "files": _sources(), "where": _where(files),
    }  # fmt: skip
    text = TEXT.read_text()
    for name, part in filled.items():
        text = text.replace("{{" + name + "}}", part)
    return text


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.0%}" if share >= 0.9995 or share < 0.0005 else (
        f"{share:.1%}")  # fmt: skip


def _runs(found: Found, step: str) -> str:
    one = judged(found, step)
    return "yes" if one["ok"] else "" if one.get("why") == "not tried" else "no"


def _beside(found: Mapping[str, Found], step: str) -> str:
    """Whether a backend takes dlkit's graph; and if not, whether it takes the float32 one."""
    ours = _runs(found["dlkit-fp16"], step)
    if ours != "no":
        return ours
    return "no" if _plain(found, step) else "no, nor float32"


def _plain(found: Mapping[str, Found], step: str) -> bool:
    """Whether a backend takes the float32 file; what ONNX Runtime gives of it is the measure."""
    return step == "onnxruntime" or _runs(found["float32"], step) == "yes"


def _main_table(files: Mapping[str, Mapping[str, Found]]) -> str:
    head = ("file", "GMAC", "10^6 weights", "fp16: multiply-adds, weights", "mean", "largest",
            "best peer", "its mean", "its largest", "ONNX Runtime", "OpenVINO",
            "TensorRT for RTX", "s")  # fmt: skip
    rows = []
    for name, found in files.items():
        ours, counted = found["dlkit-fp16"], judged(found["float32"], "shares")
        size = (
            (f"{counted['gmac']:.3g}", f"{counted['parameters'] / 1e6:.3g}")
            if counted["ok"] else ("?", "?")
        )  # fmt: skip
        peer = best_peer(found)
        theirs = ("none", "", "") if peer is None else (
            peer, gap(found[peer], "mean"), gap(found[peer], "largest"))  # fmt: skip
        if ours["ok"]:
            half = ", ".join(_percent(share_of(ours, "fp16", what))
                             for what in ("multiply_adds", "weights"))  # fmt: skip
            mine = (half, gap(ours, "mean"), gap(ours, "largest"))
            backends = tuple(_beside(found, one) for one in ("onnxruntime", "openvino", "engine"))
        else:
            mine, backends = ("not converted", "", ""), ("", "", "")
        rows.append((name, *size, *mine, *theirs, *backends, f"{ours['seconds']:.0f}"))
    return markdown(head, rows)


def _summary(files: Mapping[str, Mapping[str, Found]]) -> str:
    done = [name for name, found in files.items() if found["dlkit-fp16"]["ok"]]
    liars = [name for name in done if not is_half(files[name]["dlkit-fp16"])]
    wrong = [name for name in done if not judged(files[name]["dlkit-fp16"], "valid")["ok"]]
    worse, alone, better, same = [], [], [], []
    again: dict[str, list[str]] = {"more": [], "chance": [], "less": []}
    for name in done:
        peer = best_peer(files[name])
        if peer is None:
            alone.append(name)
            continue
        mine, theirs = (judged(files[name][one], "rounded").get("mean")
                        for one in ("dlkit-fp16", peer))  # fmt: skip
        if close := close_ones(files[name]):
            _sort_in(again, name, beyond_chance(files[name], close))
        if mine is None or mine > theirs * SAME:
            worse.append(name)
        else:
            (better if mine * SAME < theirs else same).append(name)
    lines = [
        f"- {len(files)} files; dlkit converts {len(done)} as they are "
        f"({len(done) / max(1, len(files)):.0%}) and refuses {len(files) - len(done)}.",
        f"- Called fp16, and less than 95 % so: {_list(liars)}. Not valid: {_list(wrong)}.",
        f"- Mean difference beside the best peer: smaller by a factor of 1.5 or more on "
        f"{len(better)}, about as large on {len(same)}, larger by that factor on {len(worse)}"
        f"{': ' if worse else ''}{', '.join(worse)}. On {len(alone)} no peer gives a valid graph "
        f"that is 95 % fp16{': ' if alone else ''}{', '.join(alone)}.",
        f"- Of those that are about as large, dlkit's is the larger on the first calls on "
        f"{sum(map(len, again.values()))}. On {AGAIN} further calls, ± one standard error (of so "
        f"many files, one differs by two of them by chance): larger by more than three of them on "
        f"{_list(again['more'])}; within three on {_list(again['chance'])}; smaller by more on "
        f"{_list(again['less'])}.",
    ]
    for step, title in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO"),
                        ("engine", "TensorRT for RTX")):  # fmt: skip
        tried = [name for name in done if _runs(files[name]["dlkit-fp16"], step)]
        runs = [name for name in tried if _runs(files[name]["dlkit-fp16"], step) == "yes"]
        only = [name for name in tried if name not in runs and _plain(files[name], step)]
        lines.append(f"- {title} takes {len(runs)} of {len(tried)} of dlkit's graphs; of the "
                     f"others it takes the float32 graph of: {_list(only)}.")  # fmt: skip
    return "\n".join(lines)


def _sort_in(again: dict[str, list[str]], name: str, found: tuple[float, float] | None) -> None:
    """Note by how much dlkit's difference is larger: beyond chance, or not."""
    if found is None:
        again["more"].append(f"{name} (not tried)")
        return
    share, error = found
    where = "chance" if abs(share) <= 3 * error else "more" if share > 0 else "less"
    again[where].append(f"{name} {share:+.1%} ± {error:.1%}")


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _peer_summary(files: Mapping[str, Mapping[str, Found]]) -> str:
    rows = []
    for name in ("dlkit-fp16", *_run_here(files)):
        tried = [found[name] for found in files.values() if name in found]
        done = [one for one in tried if one["ok"]]
        valid = [one for one in done if judged(one, "valid")["ok"]]
        half = [one for one in valid if is_half(one)]
        runs = [one for one in done if judged(one, "onnxruntime")["ok"]]
        wrong = [one for one in done if (judged(one, "rounded").get("mean") or 0) > 0.01
                 or judged(one, "rounded").get("broken")]  # fmt: skip
        seconds = float(np.median([one["seconds"] for one in done])) if done else 0.0
        rows.append((_TITLES.get(name, "dlkit"), *(str(len(one)) for one in
                     (tried, done, valid, half, runs, wrong)), f"{seconds:.0f}"))  # fmt: skip
    head = ("", "files", "converted", "and valid", "and 95 % fp16", "ONNX Runtime runs it",
            "mean difference above 1 %, or NaN", "median s")  # fmt: skip
    return markdown(head, rows)


def _peer_table(files: Mapping[str, Mapping[str, Found]]) -> str:
    peers = _run_here(files)
    head = ("file", "dlkit", *(_TITLES[name] for name in peers))
    rows = [(name, *(_cell(found.get(one)) for one in ("dlkit-fp16", *peers)))
            for name, found in files.items()]  # fmt: skip
    return markdown(head, rows)


def _run_here(files: Mapping[str, Mapping[str, Found]]) -> list[str]:
    """The peers that were run."""
    return [name for name in PEERS if any(name in found for found in files.values())]


def _cell(found: Found | None) -> str:
    """Mean difference, and what is wrong with it."""
    if found is None:
        return ""
    if not found["ok"]:
        return "not converted"
    said, share = [gap(found, "mean")], share_of(found, "fp16", "multiply_adds")
    if not judged(found, "valid")["ok"]:
        said.append("invalid")  # types cannot be told in it, so nothing is said of its share
    elif share is not None and share < NEEDED:
        said.append(f"{_percent(share)} fp16")
    if not judged(found, "onnxruntime")["ok"]:
        said.append("not run")
    if judged(found, "rounded").get("broken"):
        said.append("NaN or infinite")
    return ", ".join(said)


def _reasons(files: Mapping[str, Mapping[str, Found]]) -> Iterator[str]:
    """A line for each failure, in the words of the program that failed."""
    for name in ("dlkit-fp16", *PEERS):
        lines = []
        for file, found in files.items():
            one = found.get(name)
            if one is None:
                continue
            if not one["ok"]:
                lines.append(f"- {file}: {_short(one['why'])}")
                continue
            for step, title in (
                ("valid", "invalid"),
                ("onnxruntime", "ONNX Runtime"),
                ("openvino", "OpenVINO"),
                ("engine", "TensorRT for RTX"),
            ):
                why = judged(one, step).get("why", "")
                if not judged(one, step)["ok"] and why != "not tried":
                    lines.append(f"- {file}, {title}: {_short(why)}")
        if lines:
            yield f"\n{_TITLES.get(name, 'dlkit')}:\n"
            yield from lines


def _short(text: str, most: int = 200) -> str:
    flat = " ".join(text.split()).replace("|", "/").replace(str(Path.home()), "~")
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _other_table(files: Mapping[str, Mapping[str, Found]]) -> str:
    rows = []
    for name, found in files.items():
        for kind in ("bf16", "int8"):
            one = found.get(f"dlkit-{kind}")
            if one is None:
                continue
            if not one["ok"]:
                rows.append((name, kind, _short(one["why"], 120), "", "", "", "", ""))
                continue
            half = ", ".join(_percent(share_of(one, kind, what))
                             for what in ("multiply_adds", "weights"))  # fmt: skip
            rows.append(
                (
                    name,
                    kind,
                    half,
                    gap(one, "mean"),
                    gap(one, "largest"),
                    *(_runs(one, step) for step in ("onnxruntime", "openvino", "engine")),
                )
            )
    head = ("file", "precision", "share: multiply-adds, weights", "mean", "largest",
            "ONNX Runtime", "OpenVINO", "TensorRT for RTX")  # fmt: skip
    return markdown(head, rows)


def _sources() -> str:
    rows = [(f"{one.name} {one.version}", one.licence, ", ".join(file.name for file in one.files))
            for one in foreign_files.PACKAGES]  # fmt: skip
    return markdown(("package", "licence of the package", "files"), rows)


def _where(files: Mapping[str, Mapping[str, Found]]) -> str:
    said = []
    for name in ("dlkit-fp16", *_run_here(files)):
        versions = sorted({found[name]["version"] for found in files.values() if name in found})
        said.append(f"{_TITLES.get(name, 'dlkit, hash of its sources')} {' and '.join(versions)}")
    return f"Versions: {', '.join(said)}. Measured on {platform.machine()}, without a GPU."
