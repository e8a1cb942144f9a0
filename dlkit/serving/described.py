"""What the protocol tells of the server and its models."""

from __future__ import annotations

from typing import Any

from dlkit.serving.datatypes import BYTES, datatype_of
from dlkit.serving.served import VERSION, Served
from dlkit.spec import TensorSpec
from dlkit.versions import installed

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
)


def server() -> dict[str, Any]:
    """The server's own metadata."""
    return {
        "name": "dlkit",
        "version": installed(("dlkit-vision",))["dlkit-vision"],
        "extensions": list(EXTENSIONS),
    }


def properties(served: Served) -> dict[str, str]:
    """What else there is to know of a model: which file runs, where, and who measured it."""
    loaded = served.loaded
    found = loaded.bundle.certificate
    told = {
        "sha256": loaded.session.sha256,
        "task": served.spec.task,
        "precision": loaded.session.arithmetic or served.spec.precision,
        "backend": loaded.session.backend,
        "device": loaded.session.device,
        "certificate": loaded.verdict,
        "rows_joined": "true" if loaded.joins else "false",
        "loaded": served.loaded_at.isoformat(timespec="seconds"),
    }
    if served.takes_images:
        told["also_takes"] = f"{BYTES}: encoded images"
    if found is not None:
        told["certificate_date"] = found.date
        told["certificate_reference"] = found.reference.name
        told["certificate_inputs"] = f"{found.inputs.count} of {found.inputs.name}"
    return told


def model(served: Served) -> dict[str, Any]:
    """A model's metadata; shapes have their batch axis."""
    return {
        "name": served.name,
        "versions": [VERSION],
        "platform": f"{served.loaded.session.backend}_onnx",
        "inputs": [_tensor(one) for one in served.spec.inputs],
        "outputs": [_tensor(one) for one in served.spec.outputs],
        "properties": properties(served),
    }


def config(served: Served) -> dict[str, Any]:
    """A model's configuration, as Triton has it; dims are without the batch axis."""
    limits, joins = served.loaded.limits, served.loaded.joins
    return {
        "name": served.name,
        "platform": f"{served.loaded.session.backend}_onnx",
        "backend": served.loaded.session.backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": limits.batch if joins else 0,
        "input": [_dims(one, joins) for one in served.spec.inputs],
        "output": [_dims(one, joins) for one in served.spec.outputs],
        "dynamic_batching": {
            "preferred_batch_size": [limits.batch],
            "max_queue_delay_microseconds": round(limits.delay * 1e6),
            "default_queue_policy": {"max_queue_size": limits.queue},
        },
        "instance_group": [
            {
                "count": limits.workers,
                "kind": "KIND_CPU" if served.loaded.session.device == "cpu" else "KIND_GPU",
            }
        ],
    }


def _sizes(one: TensorSpec) -> list[int]:
    return [axis if isinstance(axis, int) else -1 for axis in one.shape]


def _tensor(one: TensorSpec) -> dict[str, Any]:
    return {"name": one.name, "datatype": datatype_of(one.dtype), "shape": _sizes(one)}


def _dims(one: TensorSpec, joins: bool) -> dict[str, Any]:
    datatype = datatype_of(one.dtype)
    return {
        "name": one.name,
        "data_type": f"TYPE_{datatype}",
        "dims": _sizes(one)[1:] if joins else _sizes(one),
    }
