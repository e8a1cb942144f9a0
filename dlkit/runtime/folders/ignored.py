"""What would be an input, if it did not lie where the outputs go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dlkit.runtime.folders.outputs import Outputs
from dlkit.runtime.folders.sources import Inputs
from dlkit.runtime.folders.stored_outputs import StoredOutputs
from dlkit.runtime.folders.table_files import is_inside
from dlkit.storage import open_store

REASON = "files in the folder of the outputs, which dlkit did not write"


def among_outputs(inputs: Inputs, outputs: Outputs | StoredOutputs | None) -> Iterator[str]:
    """Names of files in the folder of the outputs, within the inputs, that are no outputs."""
    place = inputs.ignore
    if place is None or outputs is None or not any(is_inside(place, one) for one in inputs.paths):
        return
    if isinstance(place, Path):
        there = place.is_dir()
    else:
        there = next(open_store(place).list(place.key), None) is not None
    if not there:
        return
    for source in replace(inputs, paths=[place], ignore=None).listed():
        if not outputs.ours(source.name):
            yield f"{place.name}/{source.name}"
