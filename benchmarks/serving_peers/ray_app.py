"""Ray Serve: requests joined by serve.batch, rows as raw bytes."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request

GRAPH, PORT, THREADS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


@serve.deployment(max_ongoing_requests=256)
class Graph:
    """The graph."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        self.session = onnxruntime.InferenceSession(GRAPH, options)
        self.name = self.session.get_inputs()[0].name

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def infer(self, rows: list[Any]) -> list[Any]:
        """One call for several requests."""
        found = self.session.run(None, {self.name: np.concatenate(rows)})[0]
        return np.split(found, np.cumsum([len(one) for one in rows])[:-1])

    async def __call__(self, request: Request) -> Any:
        """One request."""
        body = await request.body()
        found = await self.infer(np.frombuffer(body, np.uint8).reshape(-1, 28, 28))
        return {"output": found.tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Graph.bind(), route_prefix="/infer")
    while True:
        time.sleep(1)
