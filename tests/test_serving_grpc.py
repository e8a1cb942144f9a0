"""The Open Inference Protocol over gRPC, on a running server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import dlkit
from dlkit.serving.bounds import Bounds
from dlkit.serving.rpc.messages import SERVICE, message, methods
from dlkit.serving.server import Server
from tests.served import TYPES, every_type, look_up, serving

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
_CONTENTS = {"BOOL": "bool", "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int64",
             "UINT8": "uint", "UINT16": "uint", "UINT32": "uint", "UINT64": "uint64",
             "FP32": "fp32", "FP64": "fp64"}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    models = {
        "digits": "digits",
        "types": str(every_type(folder / "types").path),
        "lookup": str(look_up(folder / "lookup").path),
    }
    with serving(models, bounds=Bounds(body=8 << 20)) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


def call(channel: grpc.Channel, method: str, **fields: Any) -> Any:
    request, answer = methods()[method]
    ask = channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=answer.FromString,
    )
    return ask(request(**fields), timeout=30)


def refused(channel: grpc.Channel, code: grpc.StatusCode, method: str, **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as error:
        call(channel, method, **fields)
    assert error.value.code() is code, error.value.details()
    return str(error.value.details())


def infer(model: str = "digits", **fields: Any) -> dict[str, Any]:
    one = {"name": "pixels", "datatype": "UINT8", "shape": PIXELS.shape}
    return {"model_name": model, "inputs": [one], **fields}


def test_raw_tensors(channel: grpc.Channel) -> None:
    answer = call(channel, "ModelInfer", **infer(raw_input_contents=[PIXELS.tobytes()], id="mine"))
    assert (answer.model_name, answer.model_version, answer.id) == ("digits", "1", "mine")
    found = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(answer.outputs[0].shape)
    with dlkit.load("digits", task="tensors") as model:
        np.testing.assert_allclose(found, model.run(PIXELS)["probabilities"], atol=1e-6)


def test_contents_of_every_type(channel: grpc.Channel) -> None:
    inputs, arrays = [], {}
    for name, dtype in TYPES.items():
        array = arrays[name] = np.array([[1, 0]]).astype(dtype)
        row = {"name": name.lower(), "datatype": name, "shape": [1, 2]}
        if name in _CONTENTS:
            row["contents"] = {f"{_CONTENTS[name]}_contents": array.ravel().tolist()}
        inputs.append(row)
    code = grpc.StatusCode.INVALID_ARGUMENT
    why = refused(channel, code, "ModelInfer", model_name="types", inputs=inputs)
    assert "FP16" in why  # raw alone
    raw = [array.tobytes() for array in arrays.values()]
    bare = [{k: v for k, v in row.items() if k != "contents"} for row in inputs]
    answer = call(channel, "ModelInfer", model_name="types", inputs=bare, raw_input_contents=raw)
    assert list(answer.raw_output_contents) == raw
    why = refused(
        channel, code, "ModelInfer", model_name="types", inputs=inputs, raw_input_contents=raw
    )
    assert "both" in why


def test_contents(channel: grpc.Channel) -> None:
    one = {"name": "index", "datatype": "INT64", "shape": [2]}
    row = {**one, "contents": {"int64_contents": [1, 3]}}
    answer = call(channel, "ModelInfer", model_name="lookup", inputs=[row])
    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [3, 4, 5, 9, 10, 11]
    code = grpc.StatusCode.INVALID_ARGUMENT
    for contents in ({"int64_contents": [1]}, {"int_contents": [1, 3]}, {}):
        refused(channel, code, "ModelInfer", model_name="lookup",
                inputs=[{**one, "contents": contents}])  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"raw_input_contents": [b"12"]},
        {"raw_input_contents": [PIXELS.tobytes()] * 2},
        {"inputs": []},
        {"outputs": [{"name": "none"}]},
        {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [3, 28, -28]}]},
        {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [3, 28, 28]}]},
        {"parameters": {"timeout": {"int64_param": -1}}},
        {"parameters": {"sequence_id": {"int64_param": 4}}},
    ],
    ids=str,
)
def test_requests_that_cannot_be(channel: grpc.Channel, change: dict[str, Any]) -> None:
    request = {**infer(raw_input_contents=[PIXELS.tobytes()]), **change}
    refused(channel, grpc.StatusCode.INVALID_ARGUMENT, "ModelInfer", **request)


def test_what_is_unknown(channel: grpc.Channel) -> None:
    code = grpc.StatusCode.NOT_FOUND
    refused(channel, code, "ModelInfer", **infer("none"))
    refused(channel, code, "ModelInfer", **infer(model_version="2"))
    refused(channel, code, "ModelMetadata", name="none")
    refused(channel, code, "ModelReady", name="none")


def test_the_models_failure(channel: grpc.Channel) -> None:
    row = {"name": "index", "datatype": "INT64", "shape": [1],
           "contents": {"int64_contents": [99]}}  # fmt: skip
    why = refused(channel, grpc.StatusCode.INTERNAL, "ModelInfer", model_name="lookup",
                  inputs=[row])  # fmt: skip
    assert "Gather" not in why


def test_messages_above_grpcs_own_limit_are_taken_up_to_ours(channel: grpc.Channel) -> None:
    count = 5700  # 4.5 MB; gRPC's own limit is 4
    many = np.repeat(PIXELS[:1], count, axis=0)
    row = {"name": "pixels", "datatype": "UINT8", "shape": many.shape}
    request = {"model_name": "digits", "inputs": [row]}
    answer = call(channel, "ModelInfer", **request, raw_input_contents=[many.tobytes()])
    assert len(answer.raw_output_contents[0]) == count * 10 * 4
    refused(channel, grpc.StatusCode.RESOURCE_EXHAUSTED, "ModelInfer", **request,
            raw_input_contents=[bytes(9 << 20)])  # fmt: skip


def test_health_and_descriptions(channel: grpc.Channel) -> None:
    assert call(channel, "ServerLive").live
    assert call(channel, "ServerReady").ready
    assert call(channel, "ModelReady", name="digits").ready
    assert call(channel, "ServerMetadata").name == "dlkit"
    metadata = call(channel, "ModelMetadata", name="digits")
    assert list(metadata.inputs[0].shape) == [-1, 28, 28]
    assert metadata.properties["certificate"] == "certified"
    config = call(channel, "ModelConfig", name="digits").config
    assert (list(config.input[0].dims), config.max_batch_size) == ([28, 28], 64)
    (row,) = call(channel, "ModelStatistics", name="digits").model_stats
    assert row.inference_count > 0
    index = call(channel, "RepositoryIndex", ready=True).models
    assert [one.name for one in index] == ["digits", "types", "lookup"]
    asked = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert asked.status == health_pb2.HealthCheckResponse.SERVING


def test_unload_and_load(channel: grpc.Channel) -> None:
    call(channel, "RepositoryModelUnload", model_name="lookup")
    assert not call(channel, "ModelReady", name="lookup").ready
    refused(channel, grpc.StatusCode.UNAVAILABLE, "ModelInfer", **infer("lookup"))
    call(channel, "RepositoryModelLoad", model_name="lookup")
    assert call(channel, "ModelReady", name="lookup").ready
    given = {"model_name": "lookup", "parameters": {"config": {"string_param": "{}"}}}
    refused(channel, grpc.StatusCode.INVALID_ARGUMENT, "RepositoryModelLoad", **given)


def test_a_key_is_demanded() -> None:
    with serving({"digits": "digits"}, key="k" * 32) as server:  # noqa: SIM117
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert call(channel, "ServerLive").live
            refused(channel, grpc.StatusCode.UNAUTHENTICATED, "ModelInfer", **infer())
            request, answer = methods()["ModelMetadata"]
            ask = channel.unary_unary(
                f"/{SERVICE}/ModelMetadata", request_serializer=request.SerializeToString,
                response_deserializer=answer.FromString,
            )  # fmt: skip
            metadata = (("authorization", f"Bearer {'k' * 32}"),)
            assert ask(request(name="digits"), metadata=metadata, timeout=30).name == "digits"


def test_the_compiled_service_is_that_of_the_text() -> None:
    text = (Path(dlkit.__file__).parent / "serving" / "rpc" / "inference.proto").read_text()
    assert {f"rpc {name}(" in text for name in methods()} == {True}
    assert text.count("  rpc ") == len(methods())
    for name in ("ModelInferRequest", "ModelInferResponse", "ModelConfig"):
        for field in message(name).DESCRIPTOR.fields:
            assert f" {field.name} = {field.number};" in text
