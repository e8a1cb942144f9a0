"""dlkit evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = (
    "Example:  dlkit evaluate mmwave --count 50 --out report/\n\n"
    "On your own pairs:  dlkit evaluate runs/denoiser/bundle-fp32 --data pairs/"
)


def command(
    bundle: Annotated[
        str, typer.Argument(help="A bundle's folder, or a shipped one's name.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Scans: simulated, or a folder with noisy/ and clean/.",
            show_default="the task's own",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(help="Another bundle of the same task, as a row; repeat.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Simulated pairs.")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the first simulated pair, among held-out seeds.")
    ] = 10_000,
    slow: Annotated[
        int, typer.Option(min=0, help="Images for slow classical methods; 0 leaves them out.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.json and pictures.", show_default="none")
    ] = None,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
) -> None:
    """Measure how good a bundle is, beside classical methods and other bundles."""
    import dataclasses
    import json

    from rich.console import Console
    from rich.table import Table

    from dlkit.bundle import Bundle
    from dlkit.cli import _load
    from dlkit.cli._extras import training_installed
    from dlkit.runtime.model import load

    console = Console(stderr=True)
    with training_installed("evaluate"):
        from dlkit.training.evaluations import EVALUATIONS, Request
    opened = [Bundle.open(bundle)]
    task = opened[0].spec.task
    opened += [Bundle.open(other, task) for other in compare or []]
    with training_installed("evaluate"):
        evaluation = EVALUATIONS.load(task)
    if out is not None:
        _load.writable(out)
    methods: dict[str, Callable[[Any], Any]] = {}
    models = {}
    for one in opened:
        model = load(one, backend=backend, device=device)
        name = f"{one.spec.name} ({one.spec.precision})"
        name = name if name not in methods else f"{name}, {one.path}"
        models[name] = {"bundle": str(one.path), "onnx_sha256": one.sha256,
                        "backend": model.opened.session.backend}  # fmt: skip
        methods[name] = _single(model)
    chosen = data or evaluation.DATA
    console.print(f"evaluating on {chosen}", highlight=False)
    report = evaluation.evaluate(methods, Request(chosen, count, seed, slow, out))

    table = Table()
    columns = list(report.rows[0])
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in report.rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console(width=max(console.width, 150)).print(table)
    if out is not None:
        from dlkit.atomic import write_bytes

        data_out = {"models": models, **dataclasses.asdict(report)}
        write_bytes(out / "report.json", (json.dumps(data_out, indent=1) + "\n").encode())
        typer.echo(out)


def _single(model: Any) -> Callable[[Any], Any]:
    """The model's answer for one image."""
    return lambda image: model.answers([image], 1)[0]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}"
    return "" if value is None else str(value)


command.__name__ = "evaluate"
