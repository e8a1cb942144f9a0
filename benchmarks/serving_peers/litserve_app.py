"""LitServe: requests joined by its own batching, images as base64, as its documentation has it."""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime

GRAPH, PORT, THREADS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Api(litserve.LitAPI):
    """The graph."""

    def setup(self, device: str) -> None:
        """Load it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        self.session = onnxruntime.InferenceSession(GRAPH, options)
        self.name = self.session.get_inputs()[0].name

    def decode_request(self, request):  # a type would make it another kind of request
        """Rows from base64."""
        data = np.frombuffer(base64.b64decode(request["data"]), np.uint8)
        return data.reshape(request["shape"])

    def batch(self, inputs: list[Any]) -> Any:
        """Of several requests, each of as many rows."""
        self.rows = [len(one) for one in inputs]
        return np.concatenate(inputs)

    def predict(self, x: Any) -> Any:
        """One call."""
        return self.session.run(None, {self.name: x})[0]

    def unbatch(self, output: Any) -> Any:
        """For each request its rows."""
        return np.split(output, np.cumsum(self.rows)[:-1])

    def encode_response(self, output: Any) -> Any:
        """JSON."""
        return {"output": output.tolist()}


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu").run(
        port=PORT, host="127.0.0.1", generate_client_file=False
    )
