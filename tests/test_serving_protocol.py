"""The Open Inference Protocol over HTTP: what servers get wrong, on a running server."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

import dlkit
from dlkit.serving.server import Server
from tests.served import (
    TYPES,
    client,
    every_type,
    framed,
    logarithm,
    look_up,
    serving,
    tensor,
    unframed,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
DIGITS = "/v2/models/digits/infer"
PNG = cv2.imencode(".png", PIXELS[0])[1].tobytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    models = {
        "digits": "digits",
        "mmwave": "mmwave",
        "types": str(every_type(folder / "types").path),
        "lookup": str(look_up(folder / "lookup").path),
        "log": str(logarithm(folder / "log").path),
    }
    with serving(models) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with client(server) as http:
        yield http


@pytest.fixture(scope="module")
def expected() -> Any:
    with dlkit.load("digits", task="tensors") as model:
        return model.run(PIXELS)["probabilities"]


def pixels(**more: Any) -> dict[str, Any]:
    return {"name": "pixels", "datatype": "UINT8", "shape": [3, 28, 28], **more}


def binary_pixels() -> dict[str, Any]:
    return pixels(parameters={"binary_data_size": PIXELS.nbytes})


def refused(response: httpx.Response, status: int = 400) -> str:
    """Every error is an object with one string."""
    assert response.status_code == status, response.text
    (error,) = response.json().items()
    assert error[0] == "error"
    assert isinstance(error[1], str)
    return error[1]


# 1: Inference-Header-Content-Length


def test_without_the_header_all_is_json(http: httpx.Client, expected: Any) -> None:
    answer = http.post(DIGITS, json={"inputs": [tensor("pixels", PIXELS, "UINT8")]})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    (output,) = answer.json()["outputs"]
    assert output["name"], output["shape"] == ("probabilities", [3, 10])
    found = np.array(output["data"], np.float32).reshape(3, 10)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_header_0_is_a_raw_tensor(http: httpx.Client, expected: Any) -> None:
    answer = http.post(
        DIGITS, content=PIXELS[0].tobytes(), headers={"Inference-Header-Content-Length": "0"}
    )
    head, parts = unframed(answer)
    assert head["outputs"][0]["shape"] == [1, 10]
    found = np.frombuffer(parts["probabilities"], "<f4")
    np.testing.assert_allclose(found, expected[0], atol=1e-6)


def test_a_raw_tensor_must_be_told_whole(http: httpx.Client) -> None:
    raw = {"Inference-Header-Content-Length": "0"}
    assert "784" in refused(http.post(DIGITS, content=b"12", headers=raw))
    # two sizes are free: nobody knows where a row ends
    assert "free" in refused(http.post("/v2/models/mmwave/infer", content=b"12", headers=raw))
    assert "12" in refused(http.post("/v2/models/types/infer", content=b"12", headers=raw))


@pytest.mark.parametrize("length", ["-1", "+3", "", "1.5", "0x10", "1_0", "99999", "9" * 40])
def test_a_header_that_cannot_be(http: httpx.Client, length: str) -> None:
    body, _ = framed({"inputs": [binary_pixels()]}, PIXELS.tobytes())
    refused(http.post(DIGITS, content=body, headers={"Inference-Header-Content-Length": length}))


# 2: binary tensors


def test_binary_tensors_follow_in_the_order_of_inputs(http: httpx.Client) -> None:
    arrays = {name: np.array([[1, 0]]).astype(dtype) for name, dtype in TYPES.items()}
    order = list(reversed(TYPES))
    head = {
        "inputs": [
            {
                "name": name.lower(),
                "datatype": name,
                "shape": [1, 2],
                "parameters": {"binary_data_size": arrays[name].nbytes},
            }
            for name in order
        ],
        "parameters": {"binary_data_output": True},
    }
    body, headers = framed(head, *(arrays[name].tobytes() for name in order))
    _, parts = unframed(http.post("/v2/models/types/infer", content=body, headers=headers))
    assert parts == {f"{name.lower()}_out": array.tobytes() for name, array in arrays.items()}


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"binary_data_size": PIXELS.nbytes - 1}},
        {"parameters": {"binary_data_size": PIXELS.nbytes + 1}},
        {"parameters": {"binary_data_size": -1}},
        {"parameters": {"binary_data_size": True}},
        {"parameters": {"binary_data_size": "2352"}},
        {"shape": [3, 28, -28]},
        {"shape": [2**62, 4, 2352]},  # the product is beyond 64 bits
        {"shape": [3, 28.0, 28]},
        {"shape": "3"},
        {"shape": None},
        {"datatype": "UINT16"},
        {"datatype": "PIXELS"},
        {"data": [1]},
    ],
    ids=str,
)
def test_sizes_that_do_not_fit(http: httpx.Client, change: dict[str, Any]) -> None:
    body, headers = framed({"inputs": [{**binary_pixels(), **change}]}, PIXELS.tobytes())
    refused(http.post(DIGITS, content=body, headers=headers))


def test_bytes_that_nobody_said_anything_of(http: httpx.Client) -> None:
    body, headers = framed({"inputs": [binary_pixels()]}, PIXELS.tobytes(), b"x")
    assert "1 bytes" in refused(http.post(DIGITS, content=body, headers=headers))


# 3: in which form outputs come


@pytest.mark.parametrize("whole", [True, False, None])
@pytest.mark.parametrize("own", [True, False, None])
def test_an_outputs_own_form_goes_first(
    http: httpx.Client, whole: bool | None, own: bool | None
) -> None:
    head: dict[str, Any] = {"inputs": [binary_pixels()], "outputs": [{"name": "probabilities"}]}
    if whole is not None:
        head["parameters"] = {"binary_data_output": whole}
    if own is not None:
        head["outputs"][0]["parameters"] = {"binary_data": own}
    body, headers = framed(head, PIXELS.tobytes())
    answer = http.post(DIGITS, content=body, headers=headers)
    if own if own is not None else whole:
        assert answer.headers["content-type"] == "application/octet-stream"
        assert unframed(answer)[0]["outputs"][0]["parameters"]["binary_data_size"] == 120
    else:
        assert answer.headers["content-type"] == "application/json"
        assert "inference-header-content-length" not in answer.headers
        assert len(answer.json()["outputs"][0]["data"]) == 30
    assert int(answer.headers["content-length"]) == len(answer.content)


# 4: BYTES


def images_head(count: int, size: int) -> dict[str, Any]:
    one = {"name": "pixels", "datatype": "BYTES", "shape": [count]}
    return {"inputs": [{**one, "parameters": {"binary_data_size": size}}]}


def sized(*elements: bytes) -> bytes:
    return b"".join(len(one).to_bytes(4, "little") + one for one in elements)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_bytes_are_encoded_images(http: httpx.Client, ending: str) -> None:
    digit = cv2.imread(str(sorted(Path("samples/digits").glob("7-*.png"))[0]), 0)
    data = cv2.imencode(ending, digit)[1].tobytes()
    part = sized(data, data)
    body, headers = framed(images_head(2, len(part)), part)
    (output,) = http.post(DIGITS, content=body, headers=headers).json()["outputs"]
    assert output["shape"] == [2, 10]
    assert np.array(output["data"]).reshape(2, 10).argmax(axis=1).tolist() == [7, 7]


def test_images_come_out_as_images(http: httpx.Client) -> None:
    scan = next(iter(sorted(Path("samples/scans").glob("*.png"))))
    part = sized(scan.read_bytes())
    head = {**images_head(1, len(part)), "parameters": {"binary_data_output": True}}
    body, headers = framed(head, part)
    head, parts = unframed(http.post("/v2/models/mmwave/infer", content=body, headers=headers))
    assert head["outputs"][0]["datatype"] == "BYTES"
    cleaned = cv2.imdecode(np.frombuffer(parts["cleaned"][4:], np.uint8), cv2.IMREAD_UNCHANGED)
    given = cv2.imread(str(scan), cv2.IMREAD_UNCHANGED)
    with dlkit.load("mmwave") as model:
        np.testing.assert_array_equal(cleaned, model.denoise([given])[0])


def test_images_in_json_are_base64(http: httpx.Client) -> None:
    one = {"name": "pixels", "datatype": "BYTES", "shape": [1]}
    data = [base64.b64encode(PNG).decode()]
    head = {"inputs": [{**one, "data": data, "parameters": {"content_type": "base64"}}]}
    assert http.post(DIGITS, json=head).json()["outputs"][0]["shape"] == [1, 10]
    head = {"inputs": [{**one, "data": ["no base64!"], "parameters": {"content_type": "base64"}}]}
    assert "base64" in refused(http.post(DIGITS, json=head))


@pytest.mark.parametrize(
    ("part", "count"),
    [
        (b"\x01", 1),  # a length that is cut
        (b"\x05\0\0\0abcd", 1),  # an element that is cut
        (b"\xff\xff\xff\xffabcd", 1),
        (sized(PNG), 2),
        (sized(PNG, PNG), 1),
        (sized(b""), 1),
        (sized(b"no image"), 1),
        (sized(PNG[:100]), 1),
        (b"", 0),
    ],
)
def test_bytes_that_are_cut_or_no_image(http: httpx.Client, part: bytes, count: int) -> None:
    body, headers = framed(images_head(count, len(part)), part)
    refused(http.post(DIGITS, content=body, headers=headers))


def test_bytes_are_no_numbers(http: httpx.Client) -> None:
    part = sized(b"ab", b"cd")
    head = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 2],
                        "parameters": {"binary_data_size": len(part)}}]}  # fmt: skip
    body, headers = framed(head, part)
    assert "FP32" in refused(http.post("/v2/models/log/infer", content=body, headers=headers))


# 5: types that JSON has not


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_are_raw_alone(http: httpx.Client, datatype: str) -> None:
    one = {"name": "fp16", "datatype": datatype, "shape": [1, 2], "data": [1.0, 2.0]}
    assert datatype in refused(http.post("/v2/models/types/infer", json={"inputs": [one]}))


def test_halves_do_not_come_out_as_json(http: httpx.Client) -> None:
    inputs = []
    parts = []
    for name, dtype in TYPES.items():
        array = np.ones((1, 2), dtype)
        inputs.append({"name": name.lower(), "datatype": name, "shape": [1, 2],
                       "parameters": {"binary_data_size": array.nbytes}})  # fmt: skip
        parts.append(array.tobytes())
    body, headers = framed({"inputs": inputs}, *parts)
    assert "FP16" in refused(http.post("/v2/models/types/infer", content=body, headers=headers))


# 6: JSON


def test_data_may_be_nested(http: httpx.Client, expected: Any) -> None:
    answer = http.post(DIGITS, json={"inputs": [pixels(data=PIXELS.tolist())]})
    found = np.array(answer.json()["outputs"][0]["data"]).reshape(3, 10)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", "[[NaN, 1]]"),
        ("FP32", "[[Infinity, 1]]"),
        ("FP32", "[[-Infinity, 1]]"),
        ("FP32", "[[1e999, 1]]"),
        ("FP32", "[[1e300, 1]]"),
        ("FP32", "[[null, 1]]"),
        ("FP32", '[["1", 1]]'),
        ("FP32", "[[true, false]]"),
        ("FP32", "[[1], [2, 3]]"),
        ("FP32", "[[1, 2, 3]]"),
        ("FP32", "[[[1, 2]]]"),
        ("FP32", '{"a": 1}'),
        ("FP32", "7"),
        ("FP32", "[" * 100_000),
        ("FP32", "[" * 900 + "1" + "]" * 900),
        ("FP32", "[[" + "9" * 5000 + ", 1]]"),
    ],
    ids=lambda text: text[:20],
)
def test_numbers_that_are_none(http: httpx.Client, datatype: str, data: str) -> None:
    text = f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":[1,2],"data":{data}}}]}}'
    refused(http.post("/v2/models/log/infer", content=text))


@pytest.mark.parametrize("value", [-1, 256, 1.5, 2**70, True])
def test_numbers_beyond_their_type(http: httpx.Client, value: Any) -> None:
    refused(http.post(DIGITS, json={"inputs": [pixels(data=[value] * PIXELS.size)]}))


def test_the_largest_numbers_come_through(http: httpx.Client) -> None:
    inputs, parts = [], []
    for name, dtype in TYPES.items():
        array = np.ones((1, 2), dtype)
        row = {"name": name.lower(), "datatype": name, "shape": [1, 2]}
        if name == "FP16":
            row["parameters"] = {"binary_data_size": 4}
            parts.append(array.tobytes())
        elif name in ("UINT64", "INT64"):
            limits = np.iinfo(dtype)
            row["data"] = [int(limits.min), int(limits.max)]
        else:
            row["data"] = array.ravel().tolist()
        inputs.append(row)
    outputs = [{"name": "uint64_out"}, {"name": "int64_out"}]
    body, headers = framed({"inputs": inputs, "outputs": outputs}, *parts)
    answer = http.post("/v2/models/types/infer", content=body, headers=headers).json()
    found = [one["data"] for one in answer["outputs"]]
    assert found == [[0, 2**64 - 1], [-(2**63), 2**63 - 1]]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"inputs": 3}', b"{}"])
def test_bodies_that_are_no_request(http: httpx.Client, body: bytes) -> None:
    refused(http.post(DIGITS, content=body))


def test_nan_of_a_model_is_no_json(http: httpx.Client) -> None:
    request = {"inputs": [tensor("x", np.float32([[-1, 1]]), "FP32")]}
    assert "NaN" in refused(http.post("/v2/models/log/infer", json=request), 500)
    request["parameters"] = {"binary_data_output": True}
    _, parts = unframed(http.post("/v2/models/log/infer", json=request))
    assert np.isnan(np.frombuffer(parts["y"], "<f4")).tolist() == [True, False]


# 7: names


def test_names_must_fit(http: httpx.Client) -> None:
    one = tensor("pixels", PIXELS, "UINT8")
    for request in (
        {"inputs": [{**one, "name": "pixel"}]},
        {"inputs": [one, one]},
        {"inputs": [one, {**one, "name": "more"}]},
        {"inputs": []},
        {"inputs": [{**one, "name": ""}]},
        {"inputs": [one], "outputs": [{"name": "no"}]},
        {"inputs": [one], "outputs": [{"name": "probabilities"}] * 2},
        {"inputs": [one], "outputs": [{}]},
        {"inputs": [one], "id": 3},
        {"inputs": [one], "parameters": []},
        {"inputs": [{**one, "parameters": {"shared_memory_region": "a"}}]},
        {"inputs": [one], "parameters": {"sequence_id": 4}},
        {"inputs": [one] * 1000},
    ):
        refused(http.post(DIGITS, json=request))
    assert "missing" in refused(
        http.post("/v2/models/types/infer", json={"inputs": [
            {"name": "fp32", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]})
    )  # fmt: skip


def test_only_the_outputs_that_are_named_come_in_their_order(http: httpx.Client) -> None:
    inputs = [
        {"name": name.lower(), "datatype": name, "shape": [1, 2],
         "parameters": {"binary_data_size": np.dtype(dtype).itemsize * 2}}
        for name, dtype in TYPES.items()
    ]  # fmt: skip
    parts = [np.ones((1, 2), dtype).tobytes() for dtype in TYPES.values()]
    outputs = [{"name": "int8_out"}, {"name": "bool_out"}]
    body, headers = framed({"inputs": inputs, "outputs": outputs}, *parts)
    answer = http.post("/v2/models/types/infer", content=body, headers=headers).json()
    assert [one["name"] for one in answer["outputs"]] == ["int8_out", "bool_out"]


# 8: errors; 9: health; 10: versions and ids


def test_errors_have_one_form(http: httpx.Client) -> None:
    refused(http.get("/v2/models/none"), 404)
    refused(http.post("/v2/models/none/infer", content=b"{}"), 404)
    refused(http.get("/nothing/here"), 404)
    refused(http.get("/nothing"), 404)
    refused(http.post("/nothing"), 404)
    refused(http.get("/recognize"), 405)
    refused(http.get(DIGITS), 405)
    refused(http.post("/v2"), 405)
    refused(http.put("/v2/health/live"), 405)
    refused(http.post(DIGITS, content=b"{}", headers={"content-encoding": "br"}), 415)


def test_errors_tell_nothing_of_the_server(http: httpx.Client) -> None:
    text = refused(http.post("/v2/models/lookup/infer", json={"inputs": [
        tensor("index", np.array([99]), "INT64")]}), 500)  # fmt: skip
    for word in ("/", "Traceback", "onnx", "Gather", dlkit.__version__):
        assert word not in text


def test_health(http: httpx.Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready",
                 "/v2/models/digits/versions/1/ready"):  # fmt: skip
        assert http.get(path).status_code == 200
    refused(http.get("/v2/models/none/ready"), 404)


def test_versions_and_ids(http: httpx.Client) -> None:
    request = {"id": "mine-ü", "inputs": [tensor("pixels", PIXELS, "UINT8")]}
    answer = http.post("/v2/models/digits/versions/1/infer", json=request).json()
    assert (answer["model_name"], answer["model_version"]) == ("digits", "1")
    assert answer["id"] == "mine-ü"
    del request["id"]
    assert "id" not in http.post(DIGITS, json=request).json()
    for path in ("/v2/models/digits/versions/2", "/v2/models/digits/versions/2/config"):
        refused(http.get(path), 404)
    refused(http.post("/v2/models/digits/versions/2/infer", json=request), 404)


# 11: shapes; 12: the index


def test_metadata_has_the_batch_axis_and_config_has_not(http: httpx.Client) -> None:
    metadata = http.get("/v2/models/mmwave").json()
    assert metadata["inputs"] == [{"name": "pixels", "datatype": "UINT8", "shape": [-1, -1, -1]}]
    assert metadata["versions"] == ["1"]
    config = http.get("/v2/models/mmwave/config").json()
    assert config["input"] == [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": [-1, -1]}]
    assert config["max_batch_size"] == 1
    assert http.get("/v2/models/digits/config").json()["input"][0]["dims"] == [28, 28]


def test_properties_say_what_runs_and_who_measured_it(http: httpx.Client) -> None:
    told = http.get("/v2/models/digits").json()["properties"]
    bundle = dlkit.Bundle.open("digits")
    assert told["sha256"] == bundle.sha256
    assert told["certificate"] == "certified"
    assert (told["precision"], told["device"]) == ("fp32", "cpu")
    assert bundle.certificate is not None
    assert told["certificate_reference"] == bundle.certificate.reference.name
    assert http.get("/v2/models/log").json()["properties"]["certificate"] == "no certificate"


def test_the_index_is_a_bare_list(http: httpx.Client) -> None:
    rows = http.post("/v2/repository/index").json()
    assert rows[0] == {"name": "digits", "version": "1", "state": "READY", "reason": ""}
    assert [row["name"] for row in rows] == ["digits", "mmwave", "types", "lookup", "log"]
    refused(http.post("/v2/repository/index", json={"ready": "yes"}))


def test_the_servers_own_metadata(http: httpx.Client) -> None:
    told = http.get("/v2").json()
    assert told["name"] == "dlkit"
    assert {"binary_tensor_data", "statistics", "classification"} <= set(told["extensions"])


# 13: compressed bodies


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_the_headers_length_counts_decompressed_bytes(
    http: httpx.Client, expected: Any, coding: str, compress: Any
) -> None:
    body, headers = framed({"inputs": [binary_pixels()]}, PIXELS.tobytes())
    headers["content-encoding"] = coding
    answer = http.post(DIGITS, content=compress(body), headers=headers).json()
    found = np.array(answer["outputs"][0]["data"]).reshape(3, 10)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    refused(http.post(DIGITS, content=compress(body)[:-3], headers=headers))
    refused(http.post(DIGITS, content=compress(body) + b"x", headers=headers))
    refused(http.post(DIGITS, content=b"nothing of that kind", headers=headers))


def test_answers_are_compressed_where_that_is_asked_for(http: httpx.Client) -> None:
    many = np.concatenate([PIXELS] * 100)
    request = {"inputs": [tensor("pixels", many, "UINT8")]}
    plain = http.post(DIGITS, json=request, headers={"accept-encoding": "identity"})
    packed = http.post(DIGITS, json=request, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert packed.json()["outputs"] == plain.json()["outputs"]


# 15 is in test_serving_batcher.py; 16: figures


def test_figures_by_model(http: httpx.Client) -> None:
    http.post(DIGITS, json={"inputs": [tensor("pixels", PIXELS, "UINT8")]})
    text = http.get("/metrics").text
    for name in ("dlkit_queue_seconds_count", "dlkit_batch_rows_sum", "dlkit_compute_seconds_sum"):
        line = next(one for one in text.splitlines() if one.startswith(f'{name}{{model="digits"'))
        assert float(line.rpartition(" ")[2]) > 0
    assert 'dlkit_rejected_total{model="digits",reason="queue"} 0.0' in text
    assert "process_resident_memory_bytes" in text
    assert "process_cpu_seconds_total" in text


def test_statistics(http: httpx.Client) -> None:
    before = http.get("/v2/models/digits/stats").json()["model_stats"][0]
    http.post(DIGITS, json={"inputs": [tensor("pixels", PIXELS, "UINT8")]})
    after = http.get("/v2/models/digits/stats").json()["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["success"]["count"] > 0
    assert {one["name"] for one in http.get("/v2/models/stats").json()["model_stats"]} >= {"digits"}


# and the rest


def test_classification(http: httpx.Client, expected: Any) -> None:
    request = {
        "inputs": [tensor("pixels", PIXELS, "UINT8")],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}],
    }
    (output,) = http.post(DIGITS, json=request).json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [3, 2])
    first = base64.b64decode(output["data"][0]).decode().split(":")
    best = int(expected[0].argmax())
    assert first == [f"{expected[0, best]:f}", str(best), str(best)]


def test_sizes_that_a_graph_of_images_cannot_take(http: httpx.Client) -> None:
    scan = np.zeros((1, 50, 64), np.uint8)
    request = {"inputs": [tensor("pixels", scan, "UINT8")]}
    assert "multiple of 16" in refused(http.post("/v2/models/mmwave/infer", json=request))
    request = {"inputs": [tensor("pixels", scan[:, :0], "UINT8")]}
    refused(http.post("/v2/models/mmwave/infer", json=request))


def test_a_body_needs_no_content_type(http: httpx.Client) -> None:
    content = json.dumps({"inputs": [tensor("pixels", PIXELS, "UINT8")]})
    request = httpx.Request("POST", http.base_url.join(DIGITS), content=content)
    request.headers.pop("content-type", None)
    assert http.send(request).status_code == 200
