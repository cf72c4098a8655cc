"""Writing TFRecord files of tf.train.Example without TensorFlow.

The record format is length, masked CRC-32C of the length, data, masked CRC-32C of the data
(https://www.tensorflow.org/tutorials/load_data/tfrecord). The Example message is declared here, in a descriptor
pool of its own, so that it never meets TensorFlow's registration of the same name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from segscope.artefacts.files import atomic_path

_REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE


def _example_class() -> type:
    """tf.train.Example with the two kinds of feature used here.

    Its `map<string, Feature>` is declared as what a map is on the wire: repeated key-value messages.
    """
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")

    def message(name: str, *fields: tuple) -> None:
        declared = file.message_type.add(name=name)
        for number, field, label, kind, type_name in fields:
            type_name = f".tf.{type_name}" if type_name else None
            declared.field.add(name=field, number=number, label=label, type=kind, type_name=type_name)

    message("BytesList", (1, "value", _REPEATED, _BYTES, None))
    message("Int64List", (1, "value", _REPEATED, _INT64, None))
    message(
        "Feature",
        (1, "bytes_list", _OPTIONAL, _MESSAGE, "BytesList"),
        (3, "int64_list", _OPTIONAL, _MESSAGE, "Int64List"),
    )
    message("Entry", (1, "key", _OPTIONAL, _STRING, None), (2, "value", _OPTIONAL, _MESSAGE, "Feature"))
    message("Features", (1, "feature", _REPEATED, _MESSAGE, "Entry"))
    message("Example", (1, "features", _OPTIONAL, _MESSAGE, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


_Example = _example_class()


def example(features: dict[str, int | bytes]) -> bytes:
    """A serialised tf.train.Example of scalar features."""
    message = _Example()
    for key, value in features.items():
        entry = message.features.feature.add(key=key)
        if isinstance(value, bytes):
            entry.value.bytes_list.value.append(value)
        else:
            entry.value.int64_list.value.append(value)
    return message.SerializeToString(deterministic=True)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class RecordWriter:
    """Appends records to an open file."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def write(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(length + _masked_crc(length) + data + _masked_crc(data))


@contextmanager
def open_shard(folder: Path, split: str, number: int, of: int) -> Iterator[RecordWriter]:
    """A writer for `SPLIT-NNNNN-of-NNNNN.tfrecord`, which appears only when it is whole."""
    with (
        atomic_path(folder / f"{split}-{number:05d}-of-{of:05d}.tfrecord") as temporary,
        temporary.open("wb") as file,
    ):
        yield RecordWriter(file)
