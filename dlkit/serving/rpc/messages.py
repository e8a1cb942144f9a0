"""The service's messages, in a pool of their own: a process may use a client of the same protocol
beside it, whose messages have the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
_POOL = descriptor_pool.DescriptorPool()
_FILES = descriptor_pb2.FileDescriptorSet.FromString(
    (Path(__file__).parent / "inference.binpb").read_bytes()
)
for _file in _FILES.file:
    _POOL.Add(_file) if hasattr(_POOL, "Add") else _POOL.AddSerializedFile(
        _file.SerializeToString()
    )


def message(name: str) -> Any:
    """The class of a message, by its name in the package."""
    found = _POOL.FindMessageTypeByName(f"inference.{name}")
    return message_factory.GetMessageClass(found)


def methods() -> dict[str, tuple[Any, Any]]:
    """Request and answer of each method, by its name."""
    service = _POOL.FindServiceByName(SERVICE)
    return {
        one.name: (
            message_factory.GetMessageClass(one.input_type),
            message_factory.GetMessageClass(one.output_type),
        )
        for one in service.methods
    }
