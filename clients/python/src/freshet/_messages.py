"""Makes the message classes of freshet.v1 from their descriptors, with whatever protobuf is installed; setup.py says why."""

from __future__ import annotations

import pkgutil
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper


def _add_files() -> None:
    encoded = pkgutil.get_data("freshet.v1", "descriptors.binpb")
    assert encoded is not None
    for file in descriptor_pb2.FileDescriptorSet.FromString(encoded).file:
        descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


def load(proto: str, module: dict[str, Any]) -> None:
    """Puts the messages and enums of the file `proto` into `module`, named as protoc names them."""
    file = descriptor_pool.Default().FindFileByName(proto)
    module["DESCRIPTOR"] = file
    for name, message in file.message_types_by_name.items():
        module[name] = message_factory.GetMessageClass(message)
        module[name].__module__ = module["__name__"]
    for name, enum in file.enum_types_by_name.items():
        module[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        module.update((value.name, value.number) for value in enum.values)


_add_files()
