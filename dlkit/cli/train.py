"""dlkit train"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.training.engine.loop import Moment
    from dlkit.training.engine.run import Run

EXAMPLE = (
    "Example:  dlkit train lenet_relu --data mnist --set epochs=3 --set seed=1\n\n"
    "On your own pairs, from the shipped weights:  "
    "dlkit train denoiser --data pairs/ --init default\n\n"
    "Your own recipe:  dlkit train path/to/recipe.py  or  dlkit train package.module:RECIPE\n\n"
    "On two GPUs:  dlkit train resnet --devices 2, or "
    "torchrun --nproc-per-node 2 -m dlkit train resnet"
)


def command(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe: its name, package.module:NAME, or a Python file.", show_default=False
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="To classify: mnist-mini (bundled), mnist or fashion-mnist (downloaded), a folder "
            "with MNIST's four files, a folder of class folders, or a .npz file with images and "
            "labels. To detect: simulated. To restore: simulated, simulated:FILE with the "
            "parameters of dlkit simulate fit, or a folder with noisy/ and clean/.",
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
    range_: Annotated[
        str | None,
        typer.Option(
            "--range",
            callback=_options.check_range,
            metavar="LOW:HIGH",
            help="Values of black and white in the pairs' files, where they are not those of "
            "their type: 0:4095 for 12 bits in 16, 0:1 for floats.",
            show_default="the type's",
        ),
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
            "A recipe that has settings for fine-tuning then takes them.",
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

    from dlkit.cli._again import as_given
    from dlkit.cli._console import plain
    from dlkit.cli._extras import training_installed
    from dlkit.cli._rank import is_first
    from dlkit.cli._recipes import show_recipes, show_rehearsal
    from dlkit.errors import UsageError

    first = is_first()
    console = Console(stderr=True, quiet=not first)
    with training_installed("train"):
        from dlkit.training.engine.fabric import Hardware
        from dlkit.training.engine.start import default_folder, train
        from dlkit.training.recipe import RECIPES
    if list_:
        show_recipes()
        return
    if recipe is None:
        raise UsageError(
            "no recipe was named", "Name one, e.g. dlkit train lenet; dlkit train --list shows them"
        )
    with training_installed("train"):
        base = RECIPES.load(recipe)
    weights = None
    if init is not None:
        with training_installed("train"):
            from dlkit.export.weights import load_weights
        weights = load_weights(init, base.task.name)
        base = base.fine_tuning(data or base.data)
    ranged = [f"range={range_}"] if range_ is not None else []
    chosen = base.with_settings([*(settings or []), *ranged])
    hardware = Hardware(device, devices, nodes, precision, accumulate, compile_)
    if dry_run:
        with training_installed("train"):
            show_rehearsal(chosen, data, hardware)
        return
    target = out or default_folder(recipe)
    start = f" from {init}" if init else ""
    line = f"{recipe}{start} on {data or chosen.data}, into {target}"
    console.print(plain(line), highlight=False, soft_wrap=True)
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

        def watch(now: Moment) -> None:
            for note in now.notes:
                console.print(f"note: {plain(note)}", highlight=False, soft_wrap=True)
            losses = _numbers(now.losses)
            progress.update(
                bar, total=now.steps, completed=now.step, epoch=now.epoch, losses=losses
            )
            if now.metrics is not None:
                line = "  ".join(part for part in (losses, _numbers(now.metrics)) if part)
                console.print(f"epoch {now.epoch:3d}  {line}", highlight=False)

        with training_installed("train"):
            run = train(
                chosen, data, target, hardware=hardware, resume=resume, overwrite=overwrite,
                weights=weights, watch=watch,
            )  # fmt: skip
    if not run.finished:
        again = shlex.join(["dlkit", *as_given(context, but=("resume", "overwrite")), "--resume"])
        text = f"stopped and saved; go on with: {plain(again)}"
        console.print(text, highlight=False, soft_wrap=True)
        raise typer.Exit(130 if first else 0)  # a launcher kills all when a part of it fails
    if first and (line := _end(run)):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"next: dlkit export {plain(str(target))}", style="dim", soft_wrap=True)
    if first:
        typer.echo(target)


def _end(run: Run) -> str:
    """What the last entry of the log says of the test data, or of pairs that were left out."""
    end = run.load_log()[-1]
    if "strength" in end:
        if not end["strength"]:
            return "no gain: kept the weights that it began with"
        return (
            f"adapted: pairs that were left out gain {end['gain']:.2f} dB, {end['least_gain']:.2f} "
            f"at least; simulated scans {end['others']:+.2f} dB"
        )
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
