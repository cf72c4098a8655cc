"""Writing and reading TFRecord files of tf.train.Example without TensorFlow. Letter: N records.

The record format is length, masked CRC-32C of the length, data, masked CRC-32C of the data
(https://www.tensorflow.org/tutorials/load_data/tfrecord). The Example message is declared here, in a descriptor
pool of its own, so that it never meets TensorFlow's registration of the same name.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from segscope.artefacts.files import atomic_path
from segscope.errors import SegscopeError, made_by, reading, reason

_HEAD, _CRC = 12, 4  # bytes before a record's data, and after it
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # how each begins; width and height follow

_REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE


def _example_class() -> Any:
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
    """Appends records to an open file. records: how many it has."""

    def __init__(self, file: BinaryIO):
        self._file, self.records = file, 0

    def write(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(length + _masked_crc(length) + data + _masked_crc(data))
        self.records += 1


def shard_name(split: str, number: int, of: int) -> str:
    """The name of one of a split's files: `SPLIT-NNNNN-of-NNNNN.tfrecord`."""
    return f"{split}-{number:05d}-of-{of:05d}.tfrecord"


@contextmanager
def open_shard(folder: Path, split: str, number: int, of: int) -> Iterator[RecordWriter]:
    """A writer for one of a split's files, which appears only when it is whole."""
    with atomic_path(folder / shard_name(split, number, of)) as temporary, temporary.open("wb") as file:
        yield RecordWriter(file)


@dataclass(frozen=True, eq=False)
class Records:
    """Where records lie: small, and good to send to another process.

    files: paths. file: int32[N], of each record the number of its file. offset, length: int64[N], of its data in the
    file, in bytes. image_id: int64[N].
    """

    files: tuple[str, ...]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    image_id: np.ndarray

    def __len__(self) -> int:
        return len(self.image_id)

    def __getitem__(self, which: slice | np.ndarray) -> Records:
        """Some of them. which: a slice, indices or bool[N]."""
        return Records(self.files, *(each[which] for each in (self.file, self.offset, self.length, self.image_id)))

    def of(self, image_ids: np.ndarray) -> Records:
        """Those of the images, in the order of the files."""
        return self[np.isin(self.image_id, image_ids)]

    def by_file(self) -> list[Records]:
        """In parts, of one file each."""
        return [self[self.file == number] for number in np.unique(self.file)]

    def read(self, index: int) -> bytes:
        """A record's data. Raises SegscopeError if they are not what was written."""
        path = self.files[self.file[index]]
        try:
            # Opened anew each time: there may be more files than a process may hold open.
            file = os.open(path, os.O_RDONLY)
            try:
                return _checked(os.pread(file, int(self.length[index]) + _CRC, int(self.offset[index])))
            finally:
                os.close(file)
        except (OSError, ValueError) as error:
            raise _unusable(path, error) from error


def index_records(files: Sequence[str], image_size: int) -> Records:
    """The records of TFRecord files, in order; all of them are read through once.

    Raises SegscopeError if a file cannot be read or is damaged, an image is there twice, or a record is not as the
    masks stage writes it: image_id, and image and mask as PNGs of the size.
    """
    rows = array("q")
    for number, path in enumerate(files):
        try:
            for start, data in _walk(path):
                rows.extend((number, start, len(data), _image_id(data, image_size)))
        except (OSError, ValueError) as error:
            raise _unusable(path, error) from error
    numbers, offset, length, image_id = np.array(rows, np.int64).reshape(-1, 4).T.copy()
    again = np.setdiff1d(np.arange(len(image_id)), np.unique(image_id, return_index=True)[1])
    if len(again):
        raise _unusable(files[numbers[again[0]]], ValueError(f"image {image_id[again[0]]} is there twice"))
    return Records(tuple(files), numbers.astype(np.int32), offset, length, image_id)


def count_records(path: str) -> int:
    """How many records a file has whose data are not looked at, up to where it is not as written."""
    with reading(path, made_by("masks")), open(path, "rb") as file:
        end, count = os.fstat(file.fileno()).st_size, 0
        while len(head := file.read(_HEAD)) == _HEAD and _masked_crc(head[:8]) == head[8:]:
            count += file.seek(int.from_bytes(head[:8], "little") + _CRC, os.SEEK_CUR) <= end
        return count


def _unusable(path: str, error: Exception) -> SegscopeError:
    return SegscopeError(f"{path} cannot be used ({reason(error, path)}); run `dvc repro masks`")


def _walk(path: str) -> Iterator[tuple[int, bytes]]:
    """Offset and data of each record of a file. Raises ValueError where it is not as written."""
    with open(path, "rb") as file:
        end, offset = os.fstat(file.fileno()).st_size, _HEAD
        while head := file.read(_HEAD):
            if len(head) < _HEAD or _masked_crc(head[:8]) != head[8:]:
                raise ValueError(f"there is no record at byte {offset - _HEAD}")
            length = int.from_bytes(head[:8], "little")
            if offset + length + _CRC > end:
                raise ValueError("it is cut off")
            yield offset, _checked(file.read(length + _CRC))
            offset += length + _CRC + _HEAD


def _checked(data: bytes) -> bytes:
    """A record's data, without the checksum that follows them."""
    data, crc = data[:-_CRC], data[-_CRC:]
    if _masked_crc(data) != crc:
        raise ValueError("the checksum of a record is not that of its data")
    return data


def _image_id(data: bytes, image_size: int) -> int:
    """The image's id of a record. Raises ValueError if it is no record of an image and its mask."""
    try:
        features = {entry.key: entry.value for entry in _Example.FromString(data).features.feature}
        (image_id,) = features["image_id"].int64_list.value
        pngs = {name: features[name].bytes_list.value[0] for name in ("image", "mask")}
    except (DecodeError, KeyError, IndexError, ValueError) as error:
        raise ValueError("a record is none of an image and its mask") from error
    for name, png in pngs.items():
        if png[:16] != _PNG:
            raise ValueError(f"the {name} of image {image_id} is no PNG")
        width, height = struct.unpack(">II", png[16:24].ljust(8, b"\0"))
        if (width, height) != (image_size, image_size):
            raise ValueError(
                f"the {name} of image {image_id} has {width} × {height} pixels, not {image_size} × {image_size}"
            )
    return image_id
