"""Bounds of untrusted input: none, however damaged, ends in another error than the one that a user is meant to read."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import coco_document, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from segmentations import segmentation_rle
from torch_files import MAGIC, Storage, Tensor, torch_file

from segscope.artefacts.images import open_image
from segscope.artefacts.rle import encode_rle
from segscope.artefacts.tables import parse_table, write_parquet
from segscope.errors import SegscopeError
from segscope.labels.exclusion import read_exclusion
from segscope.model.card import read_facts
from segscope.model.saving import read_model
from segscope.model.weights import read_torch_state
from segscope.params_file import parse_params
from segscope.sources.class_masks import Meaning, read_mask
from segscope.sources.coco import parse_coco
from segscope.sources.legend import find_legend
from segscope.sources.web import unpack

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("value", "status"), [("5", 0), ("0", 1), ("many", 1), ("-1", 1)])
def test_a_bound_is_raised_by_the_environment(value, status):
    code = "from segscope.limits import MAX_IMAGE_PIXELS as m; print(m)"
    environment = os.environ | {"SEGSCOPE_MAX_IMAGE_PIXELS": value}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == status
    if status:
        assert (
            result.stderr
            == f"error: SEGSCOPE_MAX_IMAGE_PIXELS={value} of the environment is not a whole number from 1 on\n"
        )
    else:
        assert result.stdout == "5\n"


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def mask() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 4, (16, 16), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def legend(path: Path) -> object:
    return find_legend(path.parent, path.parent)


def coco() -> bytes:
    image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
    annotation = {"id": 5, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": square(2, 2, 9)}
    return json.dumps(coco_document([image], [annotation])).encode()


def torch(folder: Path) -> bytes:
    storage = Storage("1", np.arange(12, dtype=np.float32))
    return torch_file(folder / "w.pt", {"t": Tensor(storage, 0, (3, 4), (4, 1))}, [storage]).read_bytes()


def table(folder: Path) -> bytes:
    write_parquet(folder / "t.parquet", pd.DataFrame({"a": range(9), "b": list("abcdefghi")}), SCHEMA)
    return (folder / "t.parquet").read_bytes()


SCHEMA = pa.schema({"a": pa.int64(), "b": pa.string()})


def keras_model(folder: Path) -> bytes:
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(folder / "m.keras")
    return (folder / "m.keras").read_bytes()


def of_file(read: Callable, name: str = "file") -> Callable[[bytes, Path], object]:
    def of(content: bytes, folder: Path) -> object:
        (folder / name).write_bytes(content)
        return read(folder / name)

    return of


def outline(content: bytes, _: Path) -> object:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return segmentation_rle(document, 30, 40)


def archive(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("annotations/a.json", b'{"images": [], "annotations": []}')
    return (folder / "a.zip").read_bytes()


# A valid content, and its reader.
READERS: dict[str, tuple[Callable[[Path], bytes], Callable[[bytes, Path], object]]] = {
    "png": (lambda _: picture("PNG"), of_file(open_image)),
    "jpeg": (lambda _: picture("JPEG"), of_file(open_image)),
    "tiff": (lambda _: picture("TIFF"), of_file(open_image)),
    "webp": (lambda _: picture("WEBP"), of_file(open_image)),
    "gif": (lambda _: picture("GIF"), of_file(open_image)),
    "coco": (lambda _: coco(), lambda content, _: parse_coco(content, "a.json")),
    "polygons": (lambda _: json.dumps(square(2, 2, 9)).encode(), outline),
    "rle": (
        lambda _: json.dumps({"size": [30, 40], "counts": encode_rle(np.eye(30, 40, dtype=bool))}).encode(),
        outline,
    ),
    "names": (lambda _: b'{"names": {"0": "a", "1": "b"}}', of_file(legend, "classes.json")),
    "mask": (lambda _: mask(), of_file(lambda path: read_mask(path, Meaning(frozenset([0]), frozenset([255]))))),
    "weights": (torch, of_file(read_torch_state)),
    "params": (lambda _: (ROOT / "params.yaml").read_bytes(), lambda content, _: parse_params(content, "params.yaml")),
    "exclusion": (
        lambda _: b"source: a\nimages: [1, 2]\nannotations: {3: [4]}\n",
        of_file(lambda path: read_exclusion(path, "a")),
    ),
    "card": (lambda _: b"---\nclasses: [background, person]\nimage_size: 64\n---\ntext\n", of_file(read_facts)),
    "model": (keras_model, of_file(read_model, "a.keras")),
    "archive": (archive, of_file(lambda path: unpack(path, ["a.json"], path.parent / "annotations", "a"), "a.zip")),
    "table": (table, lambda content, _: parse_table(content, "t", SCHEMA)),
}


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes replaced, put in or cut out, at a few places."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what it finds odd
@pytest.mark.parametrize("kind", READERS)
def test_damaged_input_is_read_or_is_an_error_for_the_user(kind, tmp_path):
    make, read = READERS[kind]
    content = make(tmp_path)
    read(content, tmp_path)

    @settings(max_examples=12 if kind == "model" else 60, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(changed(content))
    def damaged(data: bytes) -> None:
        with suppress(SegscopeError):
            read(data, tmp_path)

    damaged()


@given(st.binary(max_size=200))
@settings(max_examples=100, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_pickle_is_tensors_or_an_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.pt"
    file.write_bytes(pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + content)
    with pytest.raises(SegscopeError):
        read_torch_state(file)
