"""Whether rows of a graph's inputs are independent, so that several requests can be one call.

It is measured: a free first axis that all tensors share may be a batch, or anything else, such as
time, or a list that the graph takes the mean of. Requests of others must never change an answer.
"""

from __future__ import annotations

import numpy as np

from dlkit.spec import ModelSpec
from dlkit.tasks import Session
from dlkit.tasks.tensors import random_feeds, sized

_FREE = 32  # size of other free axes of what is tried
_ROWS = 3
_CLOSE = 1e-4  # of an output's largest value: sums in another order


def rows_are_independent(spec: ModelSpec, session: Session) -> bool:
    """Whether each row's outputs are the same alone and among others, on random inputs."""
    firsts = {one.shape[0] if one.shape else 0 for one in spec.inputs}
    if len(firsts) != 1 or (not isinstance(next(iter(firsts)), str) and spec.fixed_batch is None):
        return False
    sizes = {name: (_ROWS, *shape[1:]) for name, shape in sized(spec, _ROWS, _FREE).items()}
    feeds = random_feeds(spec, sizes, seed=0)
    try:
        together = session.run(feeds)
        alone = [
            session.run({name: array[row : row + 1] for name, array in feeds.items()})
            for row in range(_ROWS)
        ]
    except Exception:  # such inputs are not what it takes: then nothing is known
        return False
    for name, whole in together.items():
        if any(one[name].ndim == 0 or len(one[name]) != 1 for one in alone):
            return False
        rows = np.concatenate([one[name] for one in alone])
        if rows.shape != whole.shape:
            return False
        one, other = rows.astype(np.float64), whole.astype(np.float64)
        scale = float(np.abs(one[np.isfinite(one)]).max(initial=0.0)) or 1.0
        if not np.allclose(one, other, rtol=0, atol=_CLOSE * scale, equal_nan=True):
            return False
    return True
