"""dlkit generate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.images import UInt8
    from dlkit.tasks.generate import Generator

EXAMPLE = (
    "Examples:  dlkit generate --count 64 --label 7 --seed 0 --out grid.png  |  "
    "dlkit generate BUNDLE --count 60000 --out made.npz  |  "
    "dlkit generate --interpolate 10 --count 5 --out ways.png"
)


def command(
    bundle: Annotated[
        str, typer.Argument(help="A bundle's folder, or a shipped one's name.")
    ] = "digit_maker",
    count: Annotated[
        int,
        typer.Option(
            min=1,
            max=_options.COUNT,
            help="Pictures; with --interpolate ways from one to the next.",
        ),
    ] = 64,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="The class that is made; repeat, and they take turns.",
            show_default="every class in turn",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    truncation: Annotated[
        float | None,
        typer.Option(
            help="Draw noise beyond plus and minus this again: more usual pictures, fewer kinds.",
            show_default="none",
        ),
    ] = None,
    interpolate: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=_options.COUNT,
            help="Pictures of each way from one to the next.",
            show_default="no ways",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="A picture of all, a .npz file, or a folder of pictures."),
    ] = Path("generated.png"),
    columns: Annotated[
        int | None,
        typer.Option(
            min=1, max=_options.COUNT, help="Of the picture of all.", show_default="about square"
        ),
    ] = None,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
    batch: _options.Batch = None,
    overwrite: _options.Replace = False,
    require_certificate: _options.RequireCertificate = False,
    accept_random: _options.AcceptRandom = False,
) -> None:
    """Make pictures: the same for the same seed, on every backend but for rounding.

    A .npz file has images, labels and classes as dlkit train takes them.
    """
    import itertools

    from dlkit.atomic import check_new, check_writable
    from dlkit.bundle import Bundle
    from dlkit.cli import _pictures
    from dlkit.cli._console import notes
    from dlkit.cli._folder import end, load_model
    from dlkit.errors import UsageError
    from dlkit.images import SUFFIXES
    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.runtime.model import task_of
    from dlkit.tasks.generate import Generator

    console = notes()
    arrays = out.suffix.lower() == ".npz"
    whole = arrays or out.suffix.lower() in SUFFIXES
    check_new(out, overwrite)
    if out.exists() and whole != out.is_file():
        raise UsageError(f"--out {out} is {'no file' if whole else 'no folder'}", "Choose another")
    if arrays and interpolate is not None:
        raise UsageError(
            "what lies between classes has none: a .npz file holds no ways", "Use --out ways.png"
        )
    if columns is not None and (arrays or not whole):
        raise UsageError(
            f"--columns is of a picture of all, and --out {out} is a "
            f"{'.npz file' if arrays else 'folder'}",
            "Leave it out, or use --out grid.png",
        )
    opened = Bundle.open(bundle)
    task = task_of(opened, "generate")

    def feed(device: str) -> Feeding:
        return Feeding.of(task, device, batch, workers=1)

    model, feeding = load_model(
        opened, task.name, backend, device, feed, None, require_certificate, accept_random, console
    )
    with model:
        assert isinstance(model, Generator)
        ends = count if interpolate is None else count + 1
        labels = None
        if label:
            labels = list(itertools.islice(itertools.cycle(label), ends))
        model.classes(ends, labels)  # refused before anything is made
        check_writable(out.resolve().parent)
        if interpolate is None:
            made = model.generate(count, labels, seed, truncation, feeding.batch)
        else:
            made = model.interpolate(count, interpolate, labels, seed, truncation, feeding.batch)
        if arrays:
            _write_arrays(model, made, labels, out)
        elif whole:
            _write_grid(made, columns or interpolate, out)
        else:
            classes = model.classes(len(made), labels) if interpolate is None else None
            names = [model.labels[one] for one in classes] if classes is not None else None
            _pictures.write(out, made, names)
    console.print(f"{len(made)} pictures, seed {seed}", highlight=False)
    end(out, 0)


def _write_grid(made: UInt8, columns: int | None, out: Path) -> None:
    from dlkit import images
    from dlkit.tasks.generate.grid import grid

    images.write(out, grid(made, columns))


def _write_arrays(model: Generator, made: UInt8, labels: list[str] | None, out: Path) -> None:
    import io

    import numpy as np

    from dlkit.atomic import write_new

    arrays: dict[str, Any] = {
        "images": made if made.ndim == 3 else made[..., ::-1]
    }  # RGB, as datasets are
    classes = model.classes(len(made), labels)
    if classes is not None:
        arrays |= {"labels": classes, "classes": np.array(model.labels)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_new(out, buffer.getvalue())


command.__name__ = "generate"
