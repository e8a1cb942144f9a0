"""``--ray``: the shards of a plan as tasks of a Ray cluster, each the ordinary command.

Ray places, retries and counts; a task takes a machine's processors (or one GPU), so one runs on a
machine at a time. Ray Data is not used: it has no output for every input under its own name, and an
image that fails would be an exception of a whole block there.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.cli._again import said
from dlkit.errors import MachineError, UsageError

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from dlkit.cli._folder import Flags
    from dlkit.runtime.folders.job import Job
    from dlkit.runtime.folders.tally import Tally

_OURS = ("ray", "shard", "overwrite")  # options that the driver sees to
_PLACES = ("inputs", "out", "annotate", "objects")
_BUNDLES = ("model", "bundle", "detector")


def for_shards(context: typer.Context, flags: Flags, target: object) -> Flags:
    """With the command line that runs a shard, whole for any machine, and with what runs it.

    Args:
        target: where the outputs go.
    """
    words: list[str] = [context.command.name or ""]
    for one in context.command.params:
        name, value = one.name or "", context.params.get(one.name or "")
        if name == "out":
            value = str(target)
        if name in _OURS or value in (None, False):
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if name in _PLACES:
            values = [str(flags.place(str(each))) for each in values]
        elif name in _BUNDLES:
            values = [str(Path(each).resolve()) if Path(each).exists() else each for each in values]
        words += said(one, True if value is True else values)
    return replace(flags, command=words, run_command=context.obj)


def ray_tally(job: Job, flags: Flags, console: Console, on_gpu: bool) -> Tally:
    """Run all shards on a cluster, and join them.

    Raises:
        UsageError: Ray is not installed.
        MachineError: there is no cluster, or a shard cannot run.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        mend = "Install it: pip install 'dlkit-vision[ray]'"
        raise UsageError("--ray needs Ray", mend) from error
    from rich.progress import Progress

    from dlkit.runtime.folders.shards import Shards

    shards = Shards(job)
    plan = shards.plan(flags.overwrite)
    try:
        ray.init(address=flags.ray, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        line = str(error).strip().partition("\n")[0]
        raise MachineError(
            f"there is no Ray cluster at {flags.ray} ({line})", "Start one: ray start --head"
        ) from error
    try:
        found: Any = ray.nodes()
        nodes = [node["Resources"] for node in found if node["Alive"]]
        processors = min((node["CPU"] for node in nodes if node.get("CPU")), default=1)
        run = ray.remote(
            num_cpus=1 if on_gpu else processors,
            num_gpus=1 if on_gpu else 0,
            max_retries=-1,  # of a machine that died; what a shard raises is not tried again
            scheduling_strategy="SPREAD",
        )(flags.run_command)
        waiting: list[Any] = [
            run.remote([*flags.command, "--shard", f"{number}/{plan.count}"])
            for number in range(plan.count)
        ]
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(f"{plan.inputs} inputs in shards", total=plan.count)
            while waiting:
                done, waiting = ray.wait(waiting, timeout=1.0)
                for one in done:
                    if (why := ray.get(one)) is not None:
                        raise MachineError(f"a shard cannot run: {why}")
                    progress.advance(bar)
    finally:
        ray.shutdown()
    return shards.join()
