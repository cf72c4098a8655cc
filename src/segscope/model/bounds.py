"""Model files are untrusted: what they declare is checked against their own size before memory is made for it."""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from pathlib import Path

import keras

from segscope.confined import confined
from segscope.limits import MAX_MODEL_SECONDS
from segscope.model.hdf5 import check_hdf5, read_through

WEIGHTS = "model.weights.h5"
ROOM = 2**30  # bytes that TensorFlow and a model of any size may take, beside four times its file


def check_keras_file(path: Path) -> None:
    """Raise ValueError if a .keras file is none, or its weights are damaged."""
    _require_members(path)
    check_hdf5(path, WEIGHTS)


def try_keras_file(path: Path) -> None:
    """Raise ValueError if a .keras file, which may be anybody's, cannot be loaded within bounds of memory and time.

    Layers may take any, whatever weights they have, and so a process of its own makes them first. Nothing but what
    Keras's safe mode allows is run.
    """
    _require_members(path)
    confined(load_through, path, memory=4 * path.stat().st_size + ROOM, seconds=MAX_MODEL_SECONDS)


def load_through(path: Path) -> None:
    """Load a model as `try_keras_file` does, which alone is to call it."""
    # Keras goes on where layers could not be made, for want of memory maybe.
    warnings.filterwarnings("error", message=".*(cannot be built automatically|has unbuilt state)")
    with zipfile.ZipFile(path) as archive:
        config, size = json.loads(archive.read("config.json")), archive.getinfo(WEIGHTS).file_size
    config.pop("compile_config", None)
    with keras.StatelessScope(initialize_variables=False):  # without memory for the weights
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    declared = sum(math.prod(each.shape) for each in model.weights)
    if 2 * declared > size:  # of two bytes a weight, or more
        raise ValueError(f"its layers have {declared} weights, more than the file holds")
    read_through(path, WEIGHTS)
    keras.models.load_model(path, compile=False)


def _require_members(path: Path) -> None:
    if not path.is_file():  # of a pipe there is no end
        raise ValueError("there is no such file")
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
    if missing := {"config.json", WEIGHTS} - members.keys():
        raise ValueError(f"it holds no {' and no '.join(sorted(missing))}")
    # Keras packs nothing. A packed member could be a thousand times as large as the file.
    if any(member.file_size > path.stat().st_size for member in members.values()):
        raise ValueError("what it holds is larger than the file")
