"""BentoML: an API that is batchable, arrays as JSON, as its documentation has it."""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 60})
class Graph:
    """The graph."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_GRAPH"], options)
        self.name = self.session.get_inputs()[0].name

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def infer(self, x: np.ndarray) -> np.ndarray:
        """One call."""
        return self.session.run(None, {self.name: x.astype(np.uint8)})[0]
