"""tritonclient, over HTTP and gRPC: every type, binary and JSON, both forms of outputs, errors."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

HTTP, GRPC, SCAN = sys.argv[1:]
TYPES = {
    "BOOL": bool, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def given(module: Any, name: str, datatype: str, array: Any, **how: Any) -> Any:
    """An input."""
    one = module.InferInput(name, list(array.shape), datatype)
    one.set_data_from_numpy(array, **how)
    return one


def both(module: Any, client: Any) -> None:
    """What both protocols have."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")
    for ask in (client.get_server_metadata, client.get_model_repository_index,
                client.get_inference_statistics):  # fmt: skip
        assert ask() is not None
    for ask in (client.get_model_metadata, client.get_model_config):
        assert ask("digits") is not None
    pixels = given(module, "pixels", "UINT8", PIXELS)
    whole = client.infer("digits", [pixels], request_id="mine").as_numpy("probabilities")
    assert whole.shape == (5, 10)
    named = [module.InferRequestedOutput("probabilities")]
    np.testing.assert_array_equal(
        client.infer("digits", [pixels], outputs=named).as_numpy("probabilities"), whole
    )
    best = [module.InferRequestedOutput("probabilities", class_count=1)]
    (first, *_) = client.infer("digits", [pixels], outputs=best).as_numpy("probabilities").ravel()
    assert int(first.split(b":")[1]) == whole[0].argmax()
    arrays = {name: np.array([[1, 0], [0, 1]]).astype(kind) for name, kind in TYPES.items()}
    inputs = [given(module, name.lower(), name, array) for name, array in arrays.items()]
    answer = client.infer("types", inputs)
    for name, array in arrays.items():
        np.testing.assert_array_equal(answer.as_numpy(f"{name.lower()}_out"), array)
    with open(SCAN, "rb") as file:  # noqa: PTH123
        scan = np.array([file.read()], object)
    (cleaned,) = client.infer("mmwave", [given(module, "pixels", "BYTES", scan)]).as_numpy(
        "cleaned"
    )
    assert cleaned.startswith(b"\x89PNG")
    waiting = [client.async_infer("digits", [pixels]) for _ in range(8)] if module is http else []
    for one in waiting:
        np.testing.assert_allclose(one.get_result().as_numpy("probabilities"), whole, atol=1e-5)
    for wrong in (
        lambda: client.infer("none", [pixels]),
        lambda: client.infer("digits", [given(module, "pixel", "UINT8", PIXELS)]),
        lambda: client.infer("digits", [given(module, "pixels", "FP32", PIXELS.astype("f4"))]),
        lambda: client.infer("digits", [pixels], model_version="9"),
        lambda: client.infer("digits", [pixels], outputs=[module.InferRequestedOutput("no")]),
    ):
        try:
            wrong()
        except InferenceServerException as error:
            assert error.message()  # noqa: PT017
        else:
            raise AssertionError("not refused")
    client.unload_model("types")
    assert not client.is_model_ready("types")
    client.load_model("types")
    assert client.is_model_ready("types")


def main() -> None:
    """All of it."""
    client = http.InferenceServerClient(f"127.0.0.1:{HTTP}", concurrency=8)
    both(http, client)
    expected = client.infer("digits", [given(http, "pixels", "UINT8", PIXELS)])
    for binary_in in (True, False):
        for binary_out in (True, False):
            for packed in (None, "gzip", "deflate"):
                one = given(http, "pixels", "UINT8", PIXELS, binary_data=binary_in)
                output = http.InferRequestedOutput("probabilities", binary_data=binary_out)
                answer = client.infer(
                    "digits", [one], outputs=[output], request_compression_algorithm=packed,
                    response_compression_algorithm=packed,
                )  # fmt: skip
                np.testing.assert_allclose(
                    answer.as_numpy("probabilities"), expected.as_numpy("probabilities"), atol=1e-6
                )
    both(grpc, grpc.InferenceServerClient(f"127.0.0.1:{GRPC}"))
    print("all passed")


if __name__ == "__main__":
    main()
