"""kserve's InferenceRESTClient with the V2 protocol."""

from __future__ import annotations

import asyncio
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

HTTP, _, SCAN = sys.argv[1:]
BASE = f"http://127.0.0.1:{HTTP}"
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


async def main() -> None:
    """All of it."""
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(BASE)
    assert await client.is_server_ready(BASE)
    assert await client.is_model_ready(BASE, "digits")
    found = []
    for binary in (True, False):
        one = InferInput("pixels", list(PIXELS.shape), "UINT8")
        one.set_data_from_numpy(PIXELS, binary_data=binary)
        request = InferRequest("digits", [one], request_id="mine")
        answer = await client.infer(BASE, request, model_name="digits")
        assert answer.id == "mine"
        found.append(answer.outputs[0].as_numpy())
        assert found[-1].shape == (5, 10)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    one = InferInput("pixel", list(PIXELS.shape), "UINT8")
    one.set_data_from_numpy(PIXELS)
    try:
        await client.infer(BASE, InferRequest("digits", [one]), model_name="digits")
    except Exception as error:
        assert "400" in str(error), error  # noqa: PT017
    else:
        raise AssertionError("not refused")
    print("all passed")


if __name__ == "__main__":
    asyncio.run(main())
