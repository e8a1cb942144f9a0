"""dlkit export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = (
    "Examples:  dlkit export runs/lenet_relu --precision fp16 --trt  |  "
    "dlkit export mmwave --precision fp16 --trt --batch 1:4:8  |  "
    "dlkit export digits --precision int8\n\n"
    "Any ONNX file:  dlkit export net.onnx --precision fp16 --trt  |  "
    "dlkit export net.onnx --task recognize --labels names.txt --colour rgb "
    "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225\n\n"
    "Your own module:  dlkit export mypkg.nets:build --weights w.safetensors --example 3x224x224 "
    "--task recognize --labels names.txt"
)
_ENGINE = "TensorRT engine"
_TRITON = "Model repository of Triton Inference Server"
_MODULE = "An ONNX file or a module in torch"


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A run, a bundle (folder or shipped name), an ONNX file, or a module in torch: "
            "package.module:factory or path/to/file.py:factory."
        ),
    ],
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16, bf16 or int8; it is written into the graph.",
            show_default="fp32 for a run, else as it is",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle.", show_default="RUN/bundle-PRECISION"),
    ] = None,
    keep_fp32: Annotated[
        Path | None,
        typer.Option(help="List of nodes that stay fp32, from dlkit verify --bisect."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="For int8: training data to calibrate on: mnist-mini, mnist, fashion-mnist, or "
            "your own folder or .npz file; simulated, or a folder with noisy/ and clean/; arrays "
            "as .npy or .npz. For fp16 and bf16: on which it is seen what they cannot hold.",
            show_default="int8: what it was trained on; others: random values",
        ),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            help="For an ONNX file: JSON with all that it takes and gives; checked against it.",
            show_default="as the graph says",
        ),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(
            help="Shape of one sample, e.g. 3x224x224; or, of a module, a .npz file with what "
            "forward takes, in its order, each with its batch axis.",
            rich_help_panel=_MODULE,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="What it is for: recognize, denoise or tensors.",
            show_default="tensors: arrays in, arrays out",
            rich_help_panel=_MODULE,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Its weights: .safetensors, or a state dict of torch.", rich_help_panel=_MODULE
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Names of its classes, a line each.", rich_help_panel=_MODULE),
    ] = None,
    colour: Annotated[
        str | None,
        typer.Option(
            help="Order of the colours that it takes: rgb, bgr or grey. With it, --mean, --std or "
            "--scale the graph takes uint8 pixels.",
            show_default="rgb of three channels, grey of one",
            rich_help_panel=_MODULE,
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="Of each channel: it gets (pixel x scale - mean) / std.",
            show_default="0",
            rich_help_panel=_MODULE,
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(help="As mean.", show_default="1", rich_help_panel=_MODULE),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help="Factor of a pixel; 1 where it takes 0 to 255.",
            show_default="1/255",
            rich_help_panel=_MODULE,
        ),
    ] = None,
    resize: Annotated[
        str,
        typer.Option(
            help="How images of other sizes become the example's: stretch, letterbox or crop.",
            rich_help_panel=_MODULE,
        ),
    ] = "stretch",
    multiple_of: Annotated[
        int,
        typer.Option(
            min=1,
            help="What heights and widths must be multiples of, where they are free.",
            rich_help_panel=_MODULE,
        ),
    ] = 1,
    name: Annotated[
        str | None,
        typer.Option(
            help="Of the bundle, for people.",
            show_default="the module's or file's",
            rich_help_panel=_MODULE,
        ),
    ] = None,
    trt: Annotated[
        bool,
        typer.Option(
            "--trt", help="Also build an engine into the bundle.", rich_help_panel=_ENGINE
        ),
    ] = False,
    flavor: Annotated[
        str | None,
        typer.Option(
            help="tensorrt or tensorrt_rtx.",
            show_default="the first that is installed",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes MIN:OPT:MAX, or one.",
            show_default="1:64:512 digits, 1:4:16 scans",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Image sizes MIN:OPT:MAX as HEIGHTxWIDTH, where the graph leaves them free.",
            show_default="64x64:688x384:1376x768 for images",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            help="Sizes of another free axis, NAME=MIN:OPT:MAX; may be repeated.",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    compute: Annotated[
        str,
        typer.Option(
            help="Compute capabilities to build for, e.g. 8.6,8.9; tensorrt_rtx only.",
            show_default="what the flavour takes",
            rich_help_panel=_ENGINE,
        ),
    ] = "",
    hardware_compatible: Annotated[
        bool,
        typer.Option(
            "--hardware-compatible",
            help="Run on every GPU from Ampere on; tensorrt only.",
            rich_help_panel=_ENGINE,
        ),
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="Run with later minor versions; tensorrt only.",
            rich_help_panel=_ENGINE,
        ),
    ] = False,
    triton: Annotated[
        Path | None,
        typer.Option(
            help="Also write it into this repository; with --trt the engine, else the graph.",
            rich_help_panel=_TRITON,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="From dlkit bench --json: batch and delay.", rich_help_panel=_TRITON),
    ] = None,
    response_cache: Annotated[
        bool, typer.Option("--response-cache", help="Keep answers.", rich_help_panel=_TRITON)
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Build even if the same engine is there.", rich_help_panel=_ENGINE
        ),
    ] = False,
) -> None:
    """Export into a bundle: model.onnx, model.json and, with --trt, an engine."""
    from rich.console import Console

    from dlkit.cli import _export
    from dlkit.cli._extras import training_installed

    console = Console(stderr=True)
    with training_installed("export"):
        from dlkit.export.api import export
        from dlkit.export.build_options import BuildOptions, read_axes, read_profile, read_sizes
        from dlkit.export.modules import read_example
        from dlkit.export.proof.bisect import read_list
        from dlkit.export.source import own_copy
    options = BuildOptions(
        batch=None if batch is None else read_profile(batch),
        size=None if size is None else read_sizes(size),
        axes=read_axes(axis or []),
        flavor=flavor,
        compute=tuple(part for part in compute.split(",") if part),
        hardware_compatible=hardware_compatible,
        version_compatible=version_compatible,
        rebuild=rebuild,
    )
    with (
        console.status("exporting") as status,
        training_installed("export"),
        _export.keep_list(source, console),
    ):
        bundle = export(
            source,
            precision,
            out,
            example=None if example is None else read_example(example),
            task=task,
            labels=() if labels is None else _export.read_labels(labels),
            pixels=_export.read_pixels(colour, mean, std, scale),
            resize=resize,
            multiple_of=multiple_of,
            spec=spec,
            weights=weights,
            name=name,
            keep=read_list(keep_fp32) if keep_fp32 else (),
            data=data,
            say=status.update,
        )
    if trt and bundle.shipped:
        bundle = own_copy(bundle)
        console.print(
            f"{source} ships with dlkit and is read-only; the engine goes into the copy "
            f"{bundle.path}",
            highlight=False,
            soft_wrap=True,
        )
    _export.show_bundle(bundle, console)
    if "int8" in bundle.origin:
        _export.show_int8(bundle.origin["int8"], console)
    engine = None
    if trt:
        engine, built = _export.build(bundle, options, console)
        _export.show_engine(engine, built, console)
    _export.write_triton(bundle, triton, engine, options.batch, report, response_cache, console)
    _export.say_next(bundle, source, weights, data, console)
    typer.echo(bundle.path)


command.__name__ = "export"
