"""Write docs/evaluation.md and its pictures from a report on the shipped digits.

dlkit evaluate digits --data mnist --out figures && python docs/evaluation.py figures
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dlkit.bundle import Bundle
from dlkit.evaluation.class_tables import tables
from dlkit.evaluation.digits import NON_DIGITS
from dlkit.evaluation.report import Table

DOCS = Path(__file__).resolve().parent
TEXT = DOCS / "evaluation.template.md"


def markdown(table: Table) -> str:
    """A table; numbers are to the right, totals are bold."""
    sides = [
        "---" if index == 0 or column in table.words else "---:"
        for index, column in enumerate(table.columns)
    ]
    lines = [_line(table.columns), _line(sides)]
    first_total = len(table.rows) - table.totals
    for index, row in enumerate(table.rows):
        lines.append(
            _line(f"**{cell}**" if cell and index >= first_total else cell for cell in row)
        )
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.strip() for cell in cells) + " |"


def main(report: Path) -> None:
    """Fill the template, copy the pictures."""
    data: dict[str, Any] = json.loads((report / "report.json").read_text())
    (model,) = data["models"].values()
    shipped = Bundle.open("digits")
    if model["onnx_sha256"] != shipped.sha256:
        raise SystemExit(f"{report} is of another bundle than the shipped one: evaluate digits")
    shown = tables(data["rows"], data["details"], data["settings"]["classes"])
    robustness, non_digits, classes, summary = map(markdown, shown)
    parts = {
        "sha": shipped.sha256[:16],
        "images": f"{data['settings']['data']['images']:,}",
        "data": f"SHA-256 {data['settings']['data']['sha256'][:16]}",
        "count": str(NON_DIGITS),
        "summary": summary,
        "classes": classes,
        "robustness": robustness,
        "non_digits": non_digits,
    }
    text = TEXT.read_text()
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    if "{{" in text:
        raise SystemExit(f"nothing fills {text[text.index('{{') :].split('}}')[0]}}}}}")
    (DOCS / "evaluation.md").write_text(text)
    for picture in report.glob("*.png"):
        shutil.copyfile(picture, DOCS / "images" / f"digits-{picture.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
