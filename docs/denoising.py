"""Write docs/denoising.md from docs/results/*.json, which the commands in its text made.

python docs/denoising.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dlkit.bundle import Bundle

DOCS = Path(__file__).resolve().parent
TEXT = DOCS / "denoising.template.md"


def result(name: str) -> Any:
    """What a command left."""
    return json.loads((DOCS / "results" / f"{name}.json").read_text())


def optional(show: Callable[[Any], str], name: str) -> str:
    """The table of a result, or a word where nobody has run the command yet."""
    if not (DOCS / "results" / f"{name}.json").exists():
        return "*Not measured for these weights yet: the command above does it.*"
    return show(result(name))


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; numbers are to the right."""
    names = list(head)
    lines = ["| " + " | ".join(names) + " |", "|---" + "|---:" * (len(names) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def number(value: float | None, digits: int = 2) -> str:
    """A figure, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def share(row: dict[str, Any], key: str, counted: str) -> str:
    """A share of counted things in per cent."""
    if row[key] is None:
        return ""
    return f"{100 * row[key]:.1f} % of {row[counted]}"


def evaluation(report: dict[str, Any]) -> str:
    """Methods beside each other."""
    head = ["", "images", "PSNR, dB", "SSIM", "SSIM, Wang", "PSNR in the body", "stripes",
            "contrast"]  # fmt: skip
    return table(head, (
        (row["method"], row["images"], number(row["psnr"]), number(row["ssim"], 3),
         number(row["ssim_wang"], 3), number(row["psnr_body"]), number(row["stripes"]),
         number(row["contrast"]))
        for row in report["rows"]
    ))  # fmt: skip


def objects(report: dict[str, Any]) -> str:
    """What became of objects."""
    return table(["", "objects kept dark", "no false object", "no false region"], (
        (row["method"], share(row, "objects_kept", "objects_counted"),
         share(row, "without_false_object", "without_counted"),
         share(row, "without_false_region", "without_counted"))
        for row in report["rows"] if row["images"] == report["settings"]["images"]
    ))  # fmt: skip


def spread(pair: list[float], digits: int = 2) -> str:
    """Mean and standard deviation."""
    return f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"


def seeds(data: dict[str, Any]) -> str:
    """Each training, and their mean."""
    names = [pair["name"] for pair in data["rows"][0]["pairs"]]
    head = ["seed", "simulated", *(f"real {name}" for name in names), "real, mean"]
    rows = []
    for row in data["rows"]:
        cells = [row["simulated"], *row["pairs"], row["real"]]
        rows.append([row["seed"], *(f"{cell['psnr']:.2f} / {cell['ssim']:.3f}" for cell in cells)])
    total = data["summary"]
    ends = [f"{spread(total[f'{one} psnr'])} / {spread(total[f'{one} ssim'], 3)}"
            for one in ("simulated", "real")]  # fmt: skip
    rows.append(["mean ± deviation", ends[0], *([""] * len(names)), ends[1]])
    return table(head, rows)


def candidates(data: dict[str, Any]) -> str:
    """Networks under equal budgets, the best first."""
    rows = sorted(data["rows"], key=lambda row: -row["simulated"]["psnr"])
    return table(["", "parameters", "GFLOP", "simulated", "two real pairs"], (
        (row["name"], f"{row['parameters']:,}", row["gflop"],
         f"{row['simulated']['psnr']:.2f} / {row['simulated']['ssim']:.3f}",
         f"{row['real']['psnr']:.2f} / {row['real']['ssim']:.3f}" if "real" in row else "")
        for row in rows
    ))  # fmt: skip


def ablation(data: dict[str, Any]) -> str:
    """The GAN's variants beside the thesis."""
    return table(["", "here", "thesis", "PSNR over the training, here"], (
        (row["name"], f"{row['psnr']:.2f} / {row['ssim']:.3f}",
         f"{row['thesis'][0]:.2f} / {row['thesis'][1]}" if row["thesis"] else "not in it",
         " ".join(f"{value:.1f}" for value in row["curve"]))
        for row in data["rows"]
    ))  # fmt: skip


def speed(data: dict[str, Any]) -> str:
    """Times side by side."""
    return table(["", "threads", "ours, ms", "article's, ms", "ratio"], (
        (f"{row['backend']}, {row['precision']}", row["threads"], row["ours_ms"],
         row["article_ms"], row["ratio"])
        for row in data["rows"]
    ))  # fmt: skip


def tuning(rows: list[dict[str, Any]]) -> str:
    """What was adapted to, and what others lose."""
    head = ["", "pairs", "held out, before", "after", "ordinary simulated", "after", "taken"]
    return table(head, (
        (row["name"], row["pairs"], number(row["before"]), number(row["after"]),
         number(row["ordinary_before"]), number(row["ordinary_after"]),
         f"{row['end']['strength']:.0%}" if row["end"]["strength"] else "nothing")
        for row in rows
    ))  # fmt: skip


def main() -> None:
    """Fill the template."""
    bundle = Bundle.open("mmwave")
    report, times = result("evaluation"), result("speed")
    parts = {
        "evaluation": evaluation(report),
        "objects": objects(report),
        "seeds": optional(seeds, "seeds"),
        "candidates": optional(candidates, "candidates"),
        "ablation": optional(ablation, "gan_ablation"),
        "speed": speed(times),
        "tuning": optional(tuning, "fine_tuning"),
        "real": evaluation(result("real")),
        "gflop": number(times["gflop"]["denoiser"]),
        "article_gflop": number(times["gflop"]["wgan"], 1),
        "sha": bundle.sha256[:16],
        "megabytes": number(bundle.onnx.stat().st_size / 1e6),
        "count": str(report["settings"]["images"]),
    }
    text = TEXT.read_text()
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    if "{{" in text:
        raise SystemExit(f"nothing fills {text[text.index('{{') :].split('}}')[0]}}}}}")
    (DOCS / "denoising.md").write_text(text)


if __name__ == "__main__":
    main()
