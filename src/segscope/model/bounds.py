"""Model files are untrusted: what they declare is checked against their own size before memory is made for it."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import keras

from segscope.model.hdf5 import check_hdf5

WEIGHTS = "model.weights.h5"


def check_keras_file(path: Path) -> None:
    """Raise ValueError if a .keras file declares larger weights than it holds, or is packed beyond measure.

    Its layers are made without memory for their weights. Nothing but what Keras's safe mode allows is run.
    """
    if not path.is_file():  # of a pipe there is no end
        raise ValueError("there is no such file")
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if missing := {"config.json", WEIGHTS} - members.keys():
            raise ValueError(f"it holds no {' and no '.join(sorted(missing))}")
        # Keras packs nothing. A packed member could be a thousand times as large as the file.
        if any(member.file_size > path.stat().st_size for member in members.values()):
            raise ValueError("what it holds is larger than the file")
        config = json.loads(archive.read("config.json"))
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        declared = sum(math.prod(each.shape) for each in model.weights)
        if 2 * declared > members[WEIGHTS].file_size:  # of two bytes a weight, or more
            raise ValueError(f"its layers have {declared} weights, more than the file holds")
    check_hdf5(path, WEIGHTS)
