"""Hostile input, each tried in a process of its own: it ends in a message, in bounded time and memory."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch_files import MAGIC, Storage, Tensor, torch_file

from segscope.artefacts.schemas import INDEX

SECONDS, BYTES = 60, 2**31  # seconds: 20 on an idle machine

IMAGE = "from segscope.artefacts.images import open_image as read"
OUTLINE = """
import json
from segscope.artefacts.segmentation import segmentation_rle
def read(path): return segmentation_rle(json.load(open(path)), 480, 640)
"""
WEIGHTS = (
    "from pathlib import Path; from segscope.model.weights import read_torch_state as of; read = lambda p: of(Path(p))"
)
KERAS = "from segscope.model.saving import read_model as read"
HDF5 = "from segscope.model.unet import keras_encoder; read = lambda path: keras_encoder(64, path)"
PARAMS = "from segscope.params_file import load_params as read"
CARD = "from segscope.model.card import read_facts as read"
EXCLUDE = "from segscope.labels.exclusion import read_exclusion; read = lambda path: read_exclusion(path, 'a')"
TABLE = "from segscope.artefacts import schemas, tables; read = lambda path: tables.read_table(path, schemas.INDEX)"
COCO = "from segscope.sources.coco import read_coco as read"


def postscript(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(harmed) (w) file\nshowpage\n")


def wide_png(path: Path) -> None:
    side = 13_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    parts = [struct.pack(">I4s", len(d), n) + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def outline(points: int) -> Callable[[Path], None]:
    return lambda path: (
        path.write_text(json.dumps([np.ravel([[-100_000, 0], [100_000, 1]] * points).tolist()])) and None
    )


def zero_strides(path: Path) -> None:
    storage = Storage("1", np.zeros(1, np.float32))
    torch_file(path, {"t": Tensor(storage, 0, (2**20, 2**9), (0, 0))}, [storage])


def pickled(content: bytes) -> Callable[[Path], None]:
    before = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    return lambda path: path.write_bytes(before + content) and None


def huge_model(path: Path) -> None:
    layers = [
        {
            "module": "keras.layers",
            "class_name": "InputLayer",
            "config": {"batch_shape": [None, 4], "dtype": "float32"},
        },
        {"module": "keras.layers", "class_name": "Dense", "config": {"units": 10**9}},
    ]
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")


def huge_array(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("a", (2**40,), "f4", chunks=(2**20,))


def aliases(before: str = "", after: str = "") -> Callable[[Path], None]:
    lists = [f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 9)}]" for c in "bcdefghijk"]
    text = "\n".join([f"{before}a: &a [x,x,x,x,x,x,x,x,x]", *lists, after])
    return lambda path: path.write_text(text) and None


def very_many_rows(path: Path) -> None:
    part = pa.table({name: pa.nulls(2**20, kind) for name, kind in zip(INDEX.names, INDEX.types, strict=True)}, INDEX)
    with pq.ParquetWriter(path, INDEX) as writer:
        for _ in range(100):
            writer.write_table(part)


def nested(path: Path) -> None:
    path.write_bytes(b'{"images": ' + b"[" * 10**6)


ATTACKS = {
    "a program in PostScript": (postscript, "a.jpg", IMAGE, "cannot be decoded"),
    "a picture of 500 MB": (wide_png, "a.png", IMAGE, "more than 67 million"),
    "a pipe": (os.mkfifo, "a.jpg", IMAGE, "it is no file"),
    "an outline of 2 GB": (outline(300), "a.json", OUTLINE, "its outline is too long"),
    "an outline that crashes": (outline(3_000), "a.json", OUTLINE, "its outline is too long"),
    "strides of 0": (zero_strides, "a.pt", WEIGHTS, "larger than its storage"),
    "a memo of 2 GB": (pickled(b"]r\xff\xff\xff\x0f."), "a.pt", WEIGHTS, "memo is too large"),
    "tuples in tuples": (pickled(b"}(" + b")" + b"\x85" * 10**6 + b"K\x01u."), "a.pt", WEIGHTS, "too many containers"),
    "tuples that fit": (pickled(b"}(" + b")" + b"\x85" * 19_000 + b"K\x01u."), "a.pt", WEIGHTS, "state dict"),
    "a model of 16 GB": (huge_model, "a.keras", KERAS, "more than the file holds"),
    "an array of 4 TB": (huge_array, "a.h5", HDF5, "the file is"),
    "aliases in params.yaml": (aliases(), "params.yaml", PARAMS, "with aliases written out"),
    "aliases in a card": (aliases("---\n", "---\n"), "model.md", CARD, "with aliases written out"),
    "aliases in exclude.yaml": (aliases(), "exclude.yaml", EXCLUDE, "with aliases written out"),
    "a table of 100 million rows": (very_many_rows, "a.parquet", TABLE, "GB of memory or more"),
    "lists in lists": (nested, "a.json", COCO, "nested too deeply"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_in_a_message(name, tmp_path):
    make, file, reader, message = ATTACKS[name]
    make(tmp_path / file)
    code = f"""
import resource, sys
from pathlib import Path
from segscope.errors import SegscopeError
{reader}
try:
    read(Path({file!r}))
except SegscopeError as error:
    print(error)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
else:
    sys.exit("it was read")
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert said.returncode == 0, said.stderr[-2000:]
    *lines, peak = said.stdout.splitlines()
    assert message in " ".join(lines)
    assert len(said.stdout) < 2_000
    assert int(peak) < BYTES
    assert [path.name for path in tmp_path.iterdir()] == [file]
