"""dlkit train"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dlkit.training.loop import Progress as TrainingProgress

EXAMPLE = (
    "Example:  dlkit train lenet_relu --data mnist --set epochs=3 --set seed=1\n\n"
    "On your own pairs, from the shipped weights:  "
    "dlkit train denoiser --data pairs/ --init default\n\n"
    "On two GPUs:  dlkit train resnet --devices 2, or "
    "torchrun --nproc-per-node 2 -m dlkit train resnet"
)


def command(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name.", show_default=False)
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="Digits: mnist-mini (bundled), mnist or fashion-mnist (downloaded), or a folder "
            "with the files. Scans: simulated, or a folder with noisy/ and clean/.",
            show_default="the recipe's",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run.", show_default="runs/RECIPE")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe; repeat."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    devices: Annotated[
        int,
        typer.Option(help="Processes here that share each batch: one a GPU. Not with torchrun."),
    ] = 1,
    nodes: Annotated[
        int, typer.Option(help="Machines; start the command on each, or use torchrun.")
    ] = 1,
    precision: Annotated[
        str, typer.Option(help="fp32, bf16, fp16 (mixed), or auto: the recipe's.")
    ] = "auto",
    accumulate: Annotated[
        int,
        typer.Option(
            help="Parts that a batch is computed in: less memory, the same step but for batch "
            "normalisation and dropout."
        ),
    ] = 1,
    compile_: Annotated[
        bool, typer.Option("--compile", help="torch.compile the network: for GPUs, on CPUs try it.")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            help="Begin with these weights: a run; or, of networks without batch normalisation, "
            "an FP32 bundle, the name of a shipped one, or 'default' for the task's shipped one. "
            "The denoiser then takes its settings for fine-tuning.",
            show_default="fresh weights",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a run that is there.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Shapes, parameters, time and memory by a few real steps; no run."
        ),
    ] = False,
) -> None:
    """Train a recipe. Ctrl-C saves; --resume goes on to the same result."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from dlkit.cli._extras import training_installed
    from dlkit.cli._rank import is_first
    from dlkit.cli._recipes import show_recipes, show_rehearsal
    from dlkit.errors import UsageError

    first = is_first()
    console = Console(stderr=True, quiet=not first)
    with training_installed("train"):
        from dlkit.training.compute import Hardware
        from dlkit.training.recipe import load_recipe
        from dlkit.training.start import train
    if list_:
        show_recipes()
        return
    if recipe is None:
        raise UsageError("which recipe? dlkit train --list shows them, e.g. dlkit train lenet")
    base = load_recipe(recipe)
    weights = None
    if init is not None:
        with training_installed("train"):
            from dlkit.export.weights import load_weights
        weights = load_weights(init, base.task)
        base = base.fine_tuning()
    chosen = base.with_settings(settings or [])
    hardware = Hardware(device, devices, nodes, precision, accumulate, compile_)
    if dry_run:
        with training_installed("train"):
            show_rehearsal(chosen, data, hardware)
        return
    target = out or Path("runs") / recipe
    start = f" from {init}" if init else ""
    console.print(f"{recipe}{start} on {data or chosen.data}, into {target}", highlight=False)
    if (data or chosen.data) == "mnist-mini":
        console.print(
            "  mnist-mini is a bundled tenth of MNIST; the full set: --data mnist", style="dim"
        )
    with Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("training", total=None, epoch=0, losses="preparing data")

        def watch(now: TrainingProgress) -> None:
            losses = _numbers(now.losses)
            progress.update(
                bar, total=now.steps, completed=now.step, epoch=now.epoch, losses=losses
            )
            if now.metrics is not None:
                line = "  ".join(part for part in (losses, _numbers(now.metrics)) if part)
                console.print(f"epoch {now.epoch:3d}  {line}", highlight=False)

        with training_installed("train"):
            finished = train(chosen, target, data, hardware, resume, overwrite, weights, watch)
    if not finished:
        console.print(
            f"stopped and saved; go on with: dlkit train {recipe} --resume (same options)"
        )
        raise typer.Exit(130 if first else 0)  # a launcher kills all when a part of it fails
    if first and (line := _end(target)):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"next: dlkit export {target}", style="dim")
    if first:
        typer.echo(target)


def _end(run: Path) -> str:
    """What the last line of the log says of the test data."""
    import json

    end = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    if "test_accuracy" not in end:
        return ""
    epoch = f", of epoch {end['best_epoch']}" if "best_epoch" in end else ""
    return (
        f"test accuracy {end['test_accuracy']:.2%}{epoch}; expected calibration error "
        f"{end['test_ece']:.2%} at temperature {end['temperature']:.2f}"
    )


def _numbers(values: object) -> str:
    assert isinstance(values, dict)
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


command.__name__ = "train"
