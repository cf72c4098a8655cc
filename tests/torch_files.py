"""Files as torch.save wrote them before it used zip files, without PyTorch."""

import collections
import io
import pickle
import struct
from pathlib import Path

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


class Storage:
    def __init__(self, key: str, values: np.ndarray):
        self.key, self.values = key, values


class Global:
    """Pickles as a reference to a name, without importing it."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class Pickler(pickle._Pickler):
    """Writes what torch.save wrote before it used zip files."""

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", Global("torch", "FloatStorage"), obj.key, "cpu", len(obj.values), None)
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.save((obj.storage, obj.offset, obj.shape, obj.strides, False, collections.OrderedDict()))
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


def torch_file(path: Path, state: dict, storages: list[Storage]) -> Path:
    buffer = io.BytesIO()
    for obj in (MAGIC, 1001, {"little_endian": True}, state):
        Pickler(buffer, 2).dump(obj)
    pickle.dump([s.key for s in storages], buffer, 2)
    for s in storages:
        buffer.write(struct.pack("<q", len(s.values)) + s.values.astype("<f4").tobytes())
    path.write_bytes(buffer.getvalue())
    return path
