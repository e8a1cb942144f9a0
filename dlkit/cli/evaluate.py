"""dlkit evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.cli import _options

EXAMPLE = (
    "Examples. Digits:  dlkit evaluate digits --data mnist --out report/\n\n"
    "Two precisions:  dlkit evaluate runs/lenet/bundle-fp32 --compare runs/lenet/bundle-int8\n\n"
    "Scans:  dlkit evaluate mmwave --count 50 --out report/\n\n"
    "On your own pairs:  dlkit evaluate runs/denoiser/bundle-fp32 --data pairs/"
)


def command(
    bundle: Annotated[
        str, typer.Argument(help="A bundle's folder, or a shipped one's name.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Digits: mnist-mini, mnist, or a folder of IDX files, of which the test part is "
            "taken. Scans: simulated, or a folder with noisy/ and clean/.",
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
            help="Most test digits; simulated pairs.",
            show_default="all digits; 200 pairs",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of corruptions and non-digits; of the first simulated pair, counted among the "
            "held-out seeds.",
            show_default="0; 10000",
        ),
    ] = None,
    slow: Annotated[
        int, typer.Option(min=0, help="Scans for slow classical methods; 0 leaves them out.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.json and pictures.", show_default="none")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, not as tables.")
    ] = False,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
) -> None:
    """Measure how good a bundle is, as it is deployed, and beside other bundles.

    Digits: accuracy with its 95 % interval, by class, confusion matrix, calibration (ECE, NLL,
    Brier), the worst mistakes, accuracy on 18 corruptions, and how sure it is of pictures that are
    no digits.

    Scans: PSNR, SSIM, objects and stripes, beside classical methods.
    """
    import json as text
    import sys

    from rich.console import Console

    from dlkit.bundle import Bundle
    from dlkit.cli import _bench, _evaluate, _load
    from dlkit.cli._extras import training_installed
    from dlkit.runtime.model import load

    notes = Console(stderr=True)
    with training_installed("evaluate"):
        from dlkit.training.evaluations import EVALUATIONS, Request
    opened = [Bundle.open(bundle)]
    task = opened[0].spec.task
    opened += [Bundle.open(other, task) for other in compare or []]
    with training_installed("evaluate"):
        evaluation = EVALUATIONS.load(task)
    if out is not None:
        _load.writable(out)
    methods: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for one in opened:
        model = load(one, backend=backend, device=device)
        session = model.opened.session
        name = f"{one.spec.name} ({one.spec.precision})"
        same = sum(other == name or other.startswith(f"{name} #") for other in methods)
        name = f"{name} #{same + 1}" if same else name
        models[name] = {
            "bundle": str(one.path),
            "onnx_sha256": one.sha256,
            "backend": session.backend,
            "device": session.device,
            "file_sha256": session.sha256,
        }
        methods[name] = evaluation.method(model)
        where = f"{name}: {one.path}, on {session.backend}, {session.device}"
        notes.print(where, highlight=False, markup=False, soft_wrap=True)
    chosen = data or evaluation.DATA
    notes.print(f"evaluating on {chosen}", highlight=False, markup=False, soft_wrap=True)
    with _bench.progress(notes) as progress:
        request = Request(chosen, count, seed, slow, out, progress)
        report = evaluation.evaluate(methods, request)

    document = text.dumps(_evaluate.document(models, report), indent=1) + "\n"
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
