"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

COUNT = 2**31 - 1  # the most of anything that is counted
THREADS = 1024
PIXELS = 2**40  # OpenCV takes no image with a side above 2**20


def check_range(text: str | None) -> str | None:
    """Refuse a range that is none before anything is loaded.

    Raises:
        UsageError: it is none.
    """
    from dlkit.ranges import parse_range

    if text is not None:
        parse_range(text)
    return text


Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Folders (searched with subfolders), files, tar and Parquet files (taken as "
        "folders), or s3://BUCKET/FOLDER.",
        show_default=False,
    ),
]
Backend = Annotated[
    str,
    typer.Option(help="A backend; auto is the fastest that runs here. dlkit doctor lists them."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, max=THREADS, help="Threads that read, run and save.", show_default="one a processor"
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1, max=COUNT, help="Images that run together.", show_default="by task and device"
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Do everything anew, whatever the manifest says.")
]
Replace = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Watch = Annotated[
    bool, typer.Option("--watch", help="Go on: do new files as they appear, until Ctrl-C.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]
Frames = Annotated[
    str,
    typer.Option(
        help="Of files with several frames or pages: all, first, or the number of one, from 1."
    ),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        callback=check_range,
        help="Values that stand for black and white, LOW:HIGH, e.g. 0:4095.",
        show_default="the type's; 0:4095 where 16 bits hold 12",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1, max=PIXELS, help="Largest image that is taken.", show_default="134 million"
    ),
]
FollowSymlinks = Annotated[
    bool, typer.Option("--follow-symlinks", help="Go into folders that are links, each once.")
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="I/N does part I of N, from 0; join makes one result of them; plan lists the inputs.",
        show_default=False,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(help="Run shards on a Ray cluster: auto, or its address.", show_default=False),
]
RequireCertificate = Annotated[
    bool,
    typer.Option("--require-certificate", help="Run only what dlkit verify has certified."),
]
AcceptRandom = Annotated[
    bool,
    typer.Option(
        "--accept-random",
        help="With --require-certificate: one that was measured on random inputs will do.",
    ),
]
