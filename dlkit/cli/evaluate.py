"""dlkit evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.cli import _options

EXAMPLE = (
    "Examples. Digits:  dlkit evaluate digits --data mnist --out report/\n\n"
    "Two precisions:  dlkit evaluate runs/lenet/bundle-fp32 --compare runs/lenet/bundle-int8\n\n"
    "Scans:  dlkit evaluate mmwave --count 50 --out scans-report/\n\n"
    "On your own pairs:  dlkit evaluate runs/denoiser/bundle-fp32 --data pairs/\n\n"
    "Generated digits:  dlkit evaluate digit_maker --data mnist --out generated-report/"
)


def command(
    bundle: Annotated[
        str, typer.Argument(help="A bundle's folder, or a shipped one's name.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Classes: mnist-mini, mnist, or your own folder or .npz file, of which the test "
            "part is taken. Scans: simulated, or a folder with noisy/ and clean/. Tensors: .npy or "
            ".npz files.",
            show_default="mnist-mini; simulated",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Another bundle of the same task, beside it; repeat.", show_default="none"
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_options.COUNT,
            help="Most test images; simulated pairs.",
            show_default="all test images; 200 pairs",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=_options.COUNT,
            help="Of corruptions and non-digits; of the first simulated pair, counted among the "
            "held-out seeds.",
            show_default="0; 10000",
        ),
    ] = None,
    slow: Annotated[
        int,
        typer.Option(
            min=0, max=_options.COUNT, help="Scans for slow classical methods; 0 leaves them out."
        ),
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.json and pictures.", show_default="none")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, not as tables.")
    ] = False,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
    overwrite: _options.Replace = False,
) -> None:
    """Measure how good a bundle is, as it is deployed, and beside other bundles.

    Classes: accuracy with its 95 % interval, by class, confusion matrix, calibration (ECE, NLL,
    Brier), the worst mistakes; of digits also accuracy on 18 corruptions, and how sure it is of
    pictures that are no digits.

    Scans: PSNR, SSIM, objects and stripes, beside classical methods.

    Generated digits: Fréchet distance, precision, recall, density, coverage, accuracy of the asked
    class, what a LeNet learns from them alone, and whether training digits were copied.
    """
    import json as text
    import sys

    from rich.console import Console

    from dlkit.atomic import check_new
    from dlkit.cli import _bench, _evaluate
    from dlkit.cli._extras import training_installed

    notes = Console(stderr=True)
    if out is not None and out.is_dir():
        check_new(out, overwrite)
    with training_installed("evaluate"):
        from dlkit.evaluation.evaluate import evaluate_bundles

    def loaded(name: str, model: Any) -> None:
        session = model.opened.session
        where = f"{name}: {model.bundle.path}, on {session.backend}, {session.device}"
        notes.print(where, highlight=False, markup=False, soft_wrap=True)

    bundles = [bundle, *(compare or [])]
    with _bench.progress(notes) as show, training_installed("evaluate"):
        report = evaluate_bundles(
            bundles, data, count, seed, slow, out, backend, device, show, loaded
        )
    document = text.dumps(_evaluate.document(report), indent=1) + "\n"
    if out is not None:
        from dlkit.atomic import write_bytes

        write_bytes(out / "report.json", document.encode())
    if json:
        sys.stdout.write(document)
        return
    _evaluate.show(report, Console())
    if out is not None:
        typer.echo(out)


command.__name__ = "evaluate"
