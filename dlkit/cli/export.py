"""dlkit export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  dlkit export runs/lenet_relu --precision fp16 --trt"


def command(
    run: Annotated[Path, typer.Argument(help="A run's folder, made by dlkit train.")],
    precision: Annotated[str, typer.Option(help="fp32 or fp16; it is written into the graph.")] = (
        "fp32"
    ),
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle.", show_default="RUN/bundle-PRECISION"),
    ] = None,
    trt: Annotated[
        bool, typer.Option("--trt", help="Also build a TensorRT engine into the bundle.")
    ] = False,
) -> None:
    """Export a run into a bundle: model.onnx, model.json and, with --trt, an engine."""
    from rich.console import Console

    from dlkit.cli._extras import training_installed

    console = Console(stderr=True)
    with training_installed("export"):
        from dlkit.export.onnx import export_run
        from dlkit.export.tensorrt import build_engine
    with console.status("exporting"), training_installed("export"):
        bundle = export_run(run, precision, out)
    console.print(
        f"{bundle.spec.name} ({precision}): {bundle.onnx.stat().st_size / 1e6:.2f} MB",
        highlight=False,
    )
    if trt:
        with console.status("building the TensorRT engine"):
            engine = build_engine(bundle)
        console.print(f"engine: {engine.name}", highlight=False, soft_wrap=True)
    console.print(f"next: dlkit verify {bundle.path}", style="dim")
    typer.echo(bundle.path)


command.__name__ = "export"
