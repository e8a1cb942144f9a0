"""Malformed requests by the hundred (``make fuzz``: thousands): no 500, no hang, memory flat."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlkit.serving.bounds import Bounds
from dlkit.serving.server import Server
from tests.served import client, framed, serving

COUNT = int(os.environ.get("DLKIT_MUTANTS", 100))
_GROWTH = 40 << 20  # bytes: arenas of the allocators, whatever came before
SETTINGS = settings(
    max_examples=COUNT,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with serving({"digits": "digits"}, bounds=Bounds(body=4 << 20)) as server:
        yield from _client(server)


def _client(server: Server) -> Iterator[httpx.Client]:
    with client(server) as http:
        yield http


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
SIZES = st.integers(-2, 2000) | st.integers(-(2**70), 2**70) | VALUES
PIXELS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["pixels", "", "other"]) | VALUES,
        "datatype": st.sampled_from(["UINT8", "BYTES", "BF16", "FP16", "BOOL", "INT64"]) | VALUES,
        "shape": st.lists(st.sampled_from([0, 1, 2, 28]) | SIZES, max_size=5) | VALUES,
        "data": VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": SIZES}) | VALUES,
    },
)
HEADS = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(PIXELS, max_size=3) | VALUES,
        "outputs": st.lists(st.fixed_dictionaries({"name": VALUES}), max_size=2) | VALUES,
        "id": VALUES,
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_output": VALUES, "timeout": VALUES}
        ),
    },
)


def check(answer: httpx.Response) -> None:
    """It was taken, or refused in the one form that errors have."""
    assert answer.status_code in (200, 400, 413, 503), answer.text
    if answer.status_code != 200:
        (key,) = answer.json()
        assert key == "error"


@pytest.mark.long
@SETTINGS
@given(head=HEADS, tail=st.binary(max_size=2000), length=st.none() | SIZES)
def test_heads_and_tails(http: httpx.Client, head: Any, tail: bytes, length: Any) -> None:
    body, headers = framed(json.dumps(head).encode(), tail)
    if length is not None:
        text = str(length).encode("ascii", "replace").decode()
        if not text.strip().isprintable() or text != text.strip():
            text = "x"
        headers["Inference-Header-Content-Length"] = text
    check(http.post("/v2/models/digits/infer", content=body, headers=headers))


def test_a_request_that_is_damaged_byte_by_byte(http: httpx.Client) -> None:
    """A right request with some bytes of its own changed, cut or doubled; memory stays."""
    import random

    chance = random.Random(0)
    pixels = bytes(2 * 784)
    one = {"name": "pixels", "datatype": "UINT8", "shape": [2, 28, 28]}
    head = {"inputs": [{**one, "parameters": {"binary_data_size": len(pixels)}}], "id": "7"}
    right, headers = framed(head, pixels)
    length = int(headers["Inference-Header-Content-Length"])

    def ask(count: int) -> None:
        for _ in range(count):
            body = bytearray(right)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(length)
                how = chance.random()
                if how < 0.6:
                    body[at] = chance.randrange(256)
                elif how < 0.8:
                    del body[at : at + chance.randint(1, 40)]
                else:
                    body[at:at] = body[at : at + chance.randint(1, 40)]
            changed = max(0, length + chance.choice([0, 0, 0, -1, 1, -100]))
            given = {"Inference-Header-Content-Length": str(changed)}
            check(http.post("/v2/models/digits/infer", content=bytes(body), headers=given))

    ask(COUNT // 3)
    before = psutil.Process().memory_info().rss
    ask(COUNT)
    assert psutil.Process().memory_info().rss - before < _GROWTH
    assert http.post("/v2/models/digits/infer", content=right, headers=headers).status_code == 200
