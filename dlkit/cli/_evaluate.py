"""What ``evaluate`` shows and writes besides its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Shown

    from dlkit.evaluation.report import Report, Table


def document(report: Report) -> dict[str, Any]:
    """The whole report as JSON values.

    Keys: ``format`` (1; a key that changes its meaning changes it), ``date``, ``versions``, and the
    fields of a ``Report`` but its tables.
    """
    import dataclasses
    import datetime

    from dlkit.versions import installed

    values = {
        field.name: getattr(report, field.name)
        for field in dataclasses.fields(report)
        if field.name != "tables"
    }
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"format": 1, "date": now, "versions": installed(), **values}


def show(report: Report, console: Console) -> None:
    """Its tables, or where it has none, one of its rows."""
    from rich.console import Console

    if not report.tables:
        Console(width=max(console.width, 150)).print(_plain(report.rows))
        return
    for table in report.tables:
        console.print(_shown(table))


def _shown(table: Table) -> Shown:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table as Shown

    shown = Shown(
        title=escape(table.title), title_justify="left", title_style="bold", box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for index, column in enumerate(table.columns):
        text = index == 0 or column in table.words
        shown.add_column(escape(column), justify="left" if text else "right", overflow="fold")
    for index, row in enumerate(table.rows):
        total = index >= len(table.rows) - table.totals
        if total and index == len(table.rows) - table.totals:
            shown.add_section()
        shown.add_row(*map(escape, row), style="bold" if total else None)
    return shown


def _plain(rows: list[dict[str, Any]]) -> Shown:
    from rich.markup import escape
    from rich.table import Table as Shown

    shown = Shown()
    for column in rows[0]:
        shown.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        shown.add_row(*(escape(_cell(row[column])) for column in rows[0]))
    return shown


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}"
    return "" if value is None else str(value)
