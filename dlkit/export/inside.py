"""What tensors inside a graph hold when ONNX Runtime runs it on the CPU."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from dlkit.export.run_graph import open_graph
from dlkit.tasks import Feeds


def values(
    model: onnx.ModelProto, names: Collection[str], feeds: Feeds
) -> list[tuple[str, NDArray[Any]]]:
    """Arrays by the tensors' names, of one call.

    Raises:
        Exception: ONNX Runtime's own; they have no common public base.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    there = {one.name for one in (*copy.graph.output, *copy.graph.input)}
    wanted = sorted(names)
    for name in wanted:
        if name not in there:
            copy.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    inside = [name for name in wanted if name not in feeds]
    session = open_graph(copy)
    found = dict(zip(inside, session.run(inside, dict(feeds)), strict=True)) if inside else {}
    return [(name, np.asarray(feeds[name] if name in feeds else found[name])) for name in wanted]
