"""dlkit verify"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.bundle import Bundle
    from dlkit.export.verify import Difference, Verification

EXAMPLE = (
    "Examples:  dlkit verify runs/lenet_relu/bundle-fp16  |  "
    "dlkit verify BUNDLE --data mnist  |  dlkit verify BUNDLE --bisect"
)


def command(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped one.")],
    run: Annotated[
        Path | None,
        typer.Option(
            help="The run, or the fp32 bundle, that it was made from.",
            show_default="the folder around the bundle",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Held-out images: mnist-mini, mnist, fashion-mnist or a folder of IDX files; "
            "simulated, or a folder with noisy/ and clean/.",
            show_default="mnist-mini; simulated",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Most images.", show_default="1000 digits, 6 scans"),
    ] = None,
    bisect: Annotated[
        bool,
        typer.Option("--bisect", help="Find the nodes that must stay fp32, and write their list."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="With --bisect: the list.", show_default="keep-fp32.json by the bundle"),
    ] = None,
    engine: Annotated[
        bool,
        typer.Option("--engine", help="With --bisect: run TensorRT engines, not ONNX Runtime."),
    ] = False,
) -> None:
    """Compare torch with every way to run the bundle here; within tolerance, certify it.

    The certificate goes into model.json: differences and task metrics for each backend, versions,
    hardware, and the hashes of what was measured. Out of tolerance is exit code 2 and no
    certificate.
    """
    from rich.console import Console

    from dlkit.bundle import Bundle
    from dlkit.cli._extras import training_installed
    from dlkit.errors import VerifyError

    console = Console()
    notes = Console(stderr=True)
    with training_installed("verify"):
        from dlkit.export.certificate import certify
        from dlkit.export.verify import verify
    opened = Bundle.open(bundle)
    if bisect:
        _bisect(opened, run, data, images, out, engine, console)
        return
    with notes.status("verifying") as status:
        result = verify(opened, run, data, images, status.update)
    _show(opened, result, console)
    certify(opened, result)
    if not result.within:
        own = opened.spec.precision
        wrong = [way.backend for way in result.ways if not way.within and way.precision == own]
        bad = ", ".join(wrong)
        half = opened.spec.precision in ("fp16", "bf16")
        mend = f"dlkit verify {opened.path} --bisect" if half else "dlkit export --precision fp32"
        raise VerifyError(
            f"{opened.path} is out of tolerance on {bad}: no certificate. Try: {mend}"
        )
    notes.print(f"certificate written to {opened.path}/model.json", style="dim", soft_wrap=True)


def _show(bundle: Bundle, result: Verification, console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    agreement = "same" if bundle.spec.task == "recognize" else "dB to it"
    table = Table(
        "backend", "on", "in", "largest", "mean", agreement,
        *result.reference_metrics, "verdict",
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_row(
        "reference", "cpu", "", "", "", "", *map(_number, result.reference_metrics.values()), ""
    )
    for way in result.ways:
        table.add_row(
            way.backend,
            way.device,
            way.precision,
            f"{way.largest:.3g}",
            f"{way.mean:.3g}",
            _number(way.agreement),
            *map(_number, way.metrics.values()),
            _verdict(way),
        )
    console.print(
        f"{bundle.spec.name} ({bundle.spec.precision}) against {result.reference}; "
        f"{result.data.images} images of {result.data.name}",
        highlight=False,
    )
    console.print(table)
    unit = "grey levels" if bundle.spec.task == "denoise" else "probability"
    for precision, allowed in result.tolerances.items():
        ssim = "" if allowed.ssim is None else f", ssim by {allowed.ssim:g}"
        console.print(
            f"allowed in {precision}: {allowed.largest:g} largest and {allowed.mean:g} mean "
            f"difference ({unit}), metrics lower by {allowed.loss:g}{ssim}",
            highlight=False,
        )


def _bisect(
    bundle: Bundle,
    run: Path | None,
    data: str | None,
    images: int | None,
    out: Path | None,
    engine: bool,
    console: Console,
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console as Notes
    from rich.table import Table

    from dlkit.export.bisect import bisect, write_list
    from dlkit.export.engine_runner import engine_runner
    from dlkit.export.rounding import run_rounded

    runner = engine_runner(bundle) if engine else run_rounded
    with Notes(stderr=True).status("bisecting") as status:
        found = bisect(bundle, run, data, images, runner, status.update)
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
    made_from = run or (bundle.path.parent if (around / "recipe.json").is_file() else "RUN")
    path = out or bundle.path.parent / "keep-fp32.json"
    write_list(path, bundle, found)
    console.print(
        f"next: dlkit export {made_from} --precision {bundle.spec.precision} --keep-fp32 {path}",
        style="dim",
        soft_wrap=True,
    )
    typer.echo(path)


def _gap(difference: Difference) -> str:
    numbers = f"largest {difference.largest:.3g}, mean {difference.mean:.3g}"
    return numbers if difference.finite else f"{numbers}, NaN or infinite"


def _verdict(way: Difference) -> str:
    if not way.finite:
        return "NaN"
    return "within" if way.within else "OUT"


def _number(value: float) -> str:
    return f"{value:.4g}"


command.__name__ = "verify"
