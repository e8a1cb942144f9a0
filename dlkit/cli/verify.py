"""dlkit verify"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.bundle import Bundle, Certificate, Measured

EXAMPLE = (
    "Examples:  dlkit verify runs/lenet_relu/bundle-fp16  |  "
    "dlkit verify BUNDLE --data mnist  |  dlkit verify BUNDLE --bisect  |  "
    "dlkit verify net-fp32 --against mypkg.nets:build --weights w.safetensors --data images.npz"
)


def command(
    bundle: Annotated[
        str,
        typer.Argument(
            help="A bundle's folder, or the name of a shipped one. An ONNX file, a run or "
            "package.module:factory is compared, and gets no certificate."
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            help="What it was made from: a run, an fp32 bundle, an ONNX file, or "
            "package.module:factory of a module in torch.",
            show_default="the run around it, its own weights, or the fp32 graph beside it",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights of the module that --against names.", show_default="none"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Held-out data: classes: mnist-mini, mnist, fashion-mnist, or your own folder or "
            ".npz file, of which the test part is taken; images: simulated, or a folder with "
            "noisy/ and clean/; tensors: .npy or .npz files, or random.",
            show_default="of what it was trained on",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1, max=_options.COUNT, help="Most inputs.", show_default="1000 digits, 6 scans"
        ),
    ] = None,
    bisect: Annotated[
        bool,
        typer.Option("--bisect", help="Find the nodes that must stay fp32, and write their list."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a copy that gets the certificate; with --bisect: the list.",
            show_default="the bundle itself; keep-fp32.json beside it, of an ONNX file "
            "NAME-keep-fp32.json here",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Write the new certificate even where the one that is there says more: it was "
            "measured on more inputs, on real ones where these are random, or on backends that "
            "are not here.",
        ),
    ] = False,
    engine: Annotated[
        bool,
        typer.Option("--engine", help="With --bisect: run TensorRT engines, not ONNX Runtime."),
    ] = False,
) -> None:
    """Compare every way to run the bundle here with what it was made from; certify it.

    The certificate goes into model.json: differences and task metrics for each backend, versions,
    hardware, and the hashes of what was measured. Out of tolerance, or without anything independent
    to compare with, is exit code 2 and no certificate. A bundle that ships with dlkit is copied
    into the working directory first.
    """
    from rich.console import Console

    from dlkit.cli._console import plain
    from dlkit.cli._extras import training_installed
    from dlkit.errors import UsageError

    console = Console()
    notes = Console(stderr=True)
    if engine and not bisect:
        raise UsageError("--engine belongs to --bisect")
    with training_installed("verify"):
        from dlkit.export.proof.subject import subject
        from dlkit.export.verifying import verified
    if bisect:
        with tempfile.TemporaryDirectory() as folder:
            opened = subject(bundle, against, Path(folder), weights)
            path = out or opened.path.parent / "keep-fp32.json"
            if out is None and Path(folder) in opened.path.parents:  # which is gone afterwards
                path = Path(f"{opened.spec.name}-keep-fp32.json")
            _bisect(opened, against, weights, data, count, path, engine, console)
        return
    with notes.status("verifying") as status:

        def begun(given: Bundle, ours: Bundle) -> None:
            if ours is not given:
                why = f"{bundle} ships with dlkit and is read-only; " if given.shipped else ""
                line = f"{why}verifying the copy {ours.path}"
                notes.print(plain(line), highlight=False, soft_wrap=True)

        def seen(ours: Bundle, found: Certificate) -> None:
            status.stop()
            _show(ours, found, console)

        done = verified(
            bundle, against, data, count, weights, out, replace, status.update, begun, seen
        )
    if done.bundle is None:
        notes.print("it is no bundle: no certificate was written", style="dim")
    elif done.kept:
        notes.print(
            "within tolerance; the certificate that is there says more than this would "
            f"({done.kept}): it is kept. To replace it: --replace",
            soft_wrap=True,
        )
    else:
        line = f"certificate written to {done.bundle.path}/model.json"
        notes.print(plain(line), style="dim", soft_wrap=True)


def _show(bundle: Bundle, found: Certificate, console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from dlkit.cli._console import plain
    from dlkit.tasks import TASKS

    task, metrics = TASKS.load(bundle.spec.task), found.reference.metrics
    names = "on", "in", "largest", "mean", "differ", task.agreement_name, *metrics, "verdict"
    table = Table(
        Column("backend", no_wrap=True),
        *(Column(name.replace("_", " "), overflow="fold") for name in names),
        box=SIMPLE_HEAD,
        padding=0,
    )
    table.add_row("reference", "cpu", "", "", "", "", "", *map(_number, metrics.values()), "")
    for row in found.measured:
        table.add_row(
            row.backend,
            row.device,
            row.precision,
            f"{row.largest:.3g}",
            f"{row.mean:.3g}",
            f"{row.differing:.2%}" if row.differing else "-",
            _number(row.agreement),
            *map(_number, row.metrics.values()),
            _verdict(row),
        )
    random = " (nobody knows what they should give)" if found.inputs.random else ""
    console.print(
        plain(
            f"{bundle.spec.name} ({bundle.spec.precision}) against {found.reference.name}; "
            f"{found.inputs.count} of {found.inputs.name}{random}"
        ),
        highlight=False,
    )
    console.print(table)
    for name, why in found.refused.items():
        line = f"{name} does not run it: {why}"
        console.print(plain(line), style="dim", highlight=False, soft_wrap=True)
    for precision, allowed in found.tolerances.items():
        losses = ", ".join(f"{name} lower by {loss:g}" for name, loss in allowed["loss"].items())
        console.print(
            f"allowed in {precision}: {allowed['largest']:g} largest and {allowed['mean']:g} mean "
            f"difference ({task.unit}){', ' if losses else ''}{losses}",
            highlight=False,
        )


def _bisect(
    bundle: Bundle,
    against: str | None,
    weights: Path | None,
    data: str | None,
    count: int | None,
    path: Path,
    engine: bool,
    console: Console,
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console as Notes
    from rich.table import Table

    from dlkit.export.proof.bisect import bisect, check_list, write_list
    from dlkit.export.proof.engine_runner import engine_runner
    from dlkit.export.proof.rounding import run_rounded

    check_list(path)
    runner = engine_runner(bundle) if engine else run_rounded
    with Notes(stderr=True).status("bisecting") as status:
        found = bisect(bundle, against, data, count, weights, runner, status.update)
    if not found.culprits:
        console.print(f"within tolerance as it is: {_gap(found.before)}; no node must stay fp32")
        return
    table = Table("node", "operator", "module", "largest output", box=SIMPLE_HEAD)
    for one in found.culprits:
        table.add_row(one.node, one.operator, one.module, f"{one.largest:.4g}")
    console.print(table)
    console.print(f"before: {_gap(found.before)}", highlight=False)
    console.print(
        f"after:  {_gap(found.after)}, with {len(found.culprits)} of {found.low} nodes in fp32 "
        f"({found.tests} graphs tried)",
        highlight=False,
    )
    around = bundle.path.resolve().parent
    made_from = against or (bundle.path.parent if (around / "recipe.json").is_file() else "SOURCE")
    write_list(path, bundle, found)
    console.print(
        f"next: dlkit export {made_from} --precision {bundle.spec.precision} --keep-fp32 {path}",
        style="dim",
        soft_wrap=True,
    )
    typer.echo(path)


def _gap(row: Measured) -> str:
    numbers = f"largest {row.largest:.3g}, mean {row.mean:.3g}"
    return numbers if row.finite else f"{numbers}, NaN or infinite"


def _verdict(row: Measured) -> str:
    if not row.finite:
        return f"{row.nan} NaN" if row.nan else f"{row.infinite} infinite"
    return "within" if row.within else "OUT"


def _number(value: float) -> str:
    return f"{value:.4g}"


command.__name__ = "verify"
