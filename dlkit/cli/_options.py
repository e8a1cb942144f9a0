"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Inputs = Annotated[
    list[Path],
    typer.Argument(help="Folders (searched with subfolders) and image files.", show_default=False),
]
Backend = Annotated[
    str,
    typer.Option(help="onnxruntime, openvino, or auto: the first that runs here."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Workers = Annotated[
    int, typer.Option(min=1, help="Threads that read, and as many that write, images.")
]
RequireCertificate = Annotated[
    bool,
    typer.Option("--require-certificate", help="Run only what dlkit verify has certified."),
]
