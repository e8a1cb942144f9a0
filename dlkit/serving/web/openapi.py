"""The OpenAPI description of the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlkit.serving.described import server
from dlkit.serving.served import Served


def description(doors: Mapping[str, Served]) -> dict[str, Any]:
    """OpenAPI 3.1 of the protocol's routes and of the doors of the models that are served.

    Args:
        doors: models with a door, by name.
    """
    paths: dict[str, Any] = {}
    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        paths[prefix] = {"get": _call("Metadata of a model", "inference", prefix, "Metadata")}
        paths[f"{prefix}/ready"] = {"get": _call("Whether a model answers", "inference", prefix)}
        paths[f"{prefix}/config"] = {"get": _call("Configuration of a model", "inference", prefix)}
        paths[f"{prefix}/stats"] = {"get": _call("Statistics of a model", "inference", prefix)}
        infer = _call("Run a model", "inference", prefix, "Answer")
        infer["requestBody"] = {"required": True, "content": _json({"$ref": _ref("Request")})}
        paths[f"{prefix}/infer"] = {"post": infer}
    for path, about in (
        ("/v2", "Metadata of the server"),
        ("/v2/health/live", "Whether the server lives"),
        ("/v2/health/ready", "Whether all models answer"),
        ("/v2/models/stats", "Statistics of all models"),
    ):
        paths[path] = {"get": _call(about, "inference")}
    paths["/v2/repository/index"] = {"post": _call("All models and their states", "repository")}
    for verb in ("load", "unload"):
        path = "/v2/repository/models/{name}"
        about = {"load": "Load a bundle anew from its folder", "unload": "Let a bundle go"}[verb]
        paths[f"{path}/{verb}"] = {"post": _call(about, "repository", path, content=False)}
    paths["/models"] = {"get": _call("What the page shows of each model", "people")}
    paths["/metrics"] = {"get": {**_call("Figures for Prometheus", "operations"),
                                 "responses": _responses({"text/plain": {}})}}  # fmt: skip
    paths.update(_doors(doors))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dlkit serve",
            "version": server()["version"],
            "description": "The Open Inference Protocol (V2), and simple doors beside it.",
        },
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _doors(doors: Mapping[str, Served]) -> dict[str, Any]:
    by_command: dict[str, list[Served]] = {}
    for served in doors.values():
        by_command.setdefault(served.command, []).append(served)
    paths: dict[str, Any] = {}
    for command, several in by_command.items():
        door = several[0].model.door
        assert door is not None
        names = {"type": "string", "enum": [one.name for one in several]}
        options = [("model", "one of those served", names)]
        options += [(name, about, {"type": "string"}) for name, about in door.options.items()]
        call = {
            "summary": door.about,
            "tags": ["doors"],
            "parameters": [
                {"name": name, "in": "query", "description": about, "schema": schema}
                for name, about, schema in options
            ],
            "responses": _responses({door.gives: {}}),
        }
        if door.takes:
            binary = {"schema": {"type": "string", "format": "binary"}}
            call["requestBody"] = {
                "required": True,
                "description": "The file as it is: PNG, JPEG, TIFF, WebP and others.",
                "content": {"application/octet-stream": binary},
            }
        paths[f"/{command}"] = {"post": call}
    return paths


def _call(
    about: str, tag: str, path: str = "", schema: str = "", content: bool = True
) -> dict[str, Any]:
    names = [name for name in ("name", "version") if f"{{{name}}}" in path]
    body = _json({"$ref": _ref(schema)} if schema else {}) if content else None
    return {
        "summary": about,
        "tags": [tag],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ],
        "responses": _responses(body),
    }


def _responses(content: dict[str, Any] | None) -> dict[str, Any]:
    error = {"content": _json({"$ref": _ref("Error")})}
    done: dict[str, Any] = {"description": "done"}
    if content is not None:
        done["content"] = content
    words = {
        "400": "the request is wrong",
        "401": "a key is needed",
        "403": "not from there",
        "404": "there is no such model",
        "408": "the body came too slowly",
        "413": "the body is too large",
        "415": "an unknown coding",
        "500": "the model failed",
        "503": "not now; see Retry-After",
    }
    return {
        "200": done,
        **{status: {"description": word, **error} for status, word in words.items()},
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"


_SHAPE = {"type": "array", "items": {"type": "integer"}}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": _SHAPE,
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Request": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "parameters": {"type": "object"},
                    },
                },
            },
        },
    },
    "Answer": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": _TENSOR},
        },
    },
    "Metadata": {
        "type": "object",
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": _TENSOR},
            "outputs": {"type": "array", "items": _TENSOR},
            "properties": {"type": "object"},
        },
    },
}
