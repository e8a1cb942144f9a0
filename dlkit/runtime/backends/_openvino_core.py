"""OpenVINO's Core: one for the whole process.

Each Core that loads the CPU plug-in gives the thread that made it an alternate signal stack, and
when it is destroyed it puts the stack back that was there before, even where that is unmapped by
then. Python's signal handlers run on it: with two Cores the next Ctrl-C may kill the process.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


@functools.cache
def core() -> Any:
    """The Core of this process; it is never destroyed before the process ends."""
    import openvino

    # The first tensor that is seen as an array makes openvino's binding load NumPy's interface.
    # Two threads that come to that at once wait for each other for ever (pybind11 holds a lock
    # of C++ while it waits for the GIL), so it is done here.
    _ = openvino.Tensor(np.zeros(1, np.uint8)).data
    return openvino.Core()
