"""Hostile input, tried in processes of their own: each ends in a message, in bounded time and memory."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch_files import MAGIC, Storage, Tensor, torch_file

from segscope.artefacts.schemas import INDEX

SECONDS, BYTES = 20, 2**31  # each computes at most
PATIENCE = 240  # seconds for all of a process, on a machine that does much else

IMAGE = "from segscope.artefacts.images import open_image as read"
OUTLINE = """
import json
from segscope.artefacts.segmentation import read_segmentation
def read(path): return read_segmentation(json.load(open(path)), 480, 640)
"""
WEIGHTS = (
    "from pathlib import Path; from segscope.model.weights import read_torch_state as of; read = lambda p: of(Path(p))"
)
KERAS = "from segscope.model.saving import read_model; read = lambda path: read_model(path, foreign=True)"
HDF5 = "from segscope.model.unet import keras_encoder; read = lambda path: keras_encoder(64, path)"
PARAMS = "from segscope.params_file import load_params as read"
CARD = "from segscope.model.card import read_facts as read"
EXCLUDE = "from segscope.labels.exclusion import read_exclusion; read = lambda path: read_exclusion(path, 'a')"
TABLE = """
from segscope.artefacts import schemas, tables
def read(path): return tables.parse_table(path.read_bytes(), path, schemas.INDEX)
"""
NUMBERS = """
import pandas as pd
from segscope.sources.user_table import read_user_table
INDEX = pd.DataFrame({"source_id": ["1"], "split": ["val"], "path": ["a.jpg"]})
def read(path): return read_user_table(path, INDEX)
"""
TEXTS = """
import pyarrow as pa
from segscope.artefacts.tables import parse_table
def read(path): return parse_table(path.read_bytes(), path, pa.schema({"a": pa.string()}))
"""
COCO = "from segscope.sources.coco import read_coco as read"
MASK = """
from segscope.errors import SegscopeError
from segscope.sources.class_masks import Meaning, read_mask
def read(path): raise SegscopeError(read_mask(path, Meaning(frozenset([0]), frozenset())).error)
"""
PANOPTIC = """
from segscope.errors import SegscopeError
from segscope.sources.panoptic import read_png
def read(path): raise SegscopeError(read_png(path).error)
"""
LEGEND = """
from segscope.sources.legend import find_legend
def read(path): return find_legend(path.parent, path.parent)
"""
CORRECTIONS = """
import pandas as pd
from segscope.sources.corrections import read_corrections
SIZE = {"image_id": [1], "split": ["val"], "path": ["a.jpg"], "width": [8192], "height": [8192]}
OWN = pd.DataFrame({"category_id": [1], "name": ["car"], "supercategory": ["vehicle"]})
def read(path): return read_corrections(path, "here", pd.DataFrame(SIZE), OWN)
"""
ARCHIVE = """
from segscope.sources.web import unpack
def read(path): unpack(path, ["a.json"], path.parent / "annotations", path)
"""
LABEL = "from segscope.sources.label_files import read_text as read"


def postscript(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(harmed) (w) file\nshowpage\n")


def packed_zeros(number: int) -> bytes:
    """So many zeros as zlib packs them: a part of a MiB again and again, and what is left."""
    packer = zlib.compressobj(9, wbits=-15)
    part = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(number % 2**20)) + packer.flush()
    return b"\x78\xda" + part * (number // 2**20) + rest + struct.pack(">HH", number % 65_521, 1)  # their Adler-32


def wide_png(path: Path) -> None:
    side = 13_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", packed_zeros(side * (1 + 3 * side))), (b"IEND", b"")]
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


def normalising_model(path: Path) -> None:
    """No weights, and 8 GB of means."""
    huge_model(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    first, second = config["config"]["layers"]
    first["config"]["batch_shape"] = [None, 10**9]
    second.update({"class_name": "Normalization", "config": {"axis": -1, "mean": 0.5, "variance": 1.0}})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"config.json": json.dumps(config), "metadata.json": "{}", "model.weights.h5": ""}.items():
            archive.writestr(name, content)


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


def text(content: str | bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content) and None


def segmentation(document: object) -> Callable[[Path], None]:
    return text(json.dumps(document))


def strewn(path: Path) -> None:
    """A pixel of class 1 in each square of four."""
    side = 4000
    picture = np.zeros((side, side), np.uint8)
    picture[::2, ::2] = 1
    Image.fromarray(picture).save(path)


def ramp(path: Path) -> None:
    """A number of its own in each pixel."""
    numbers = np.arange(2**22)
    Image.fromarray(
        np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8).reshape(2**11, 2**11, 3)
    ).save(path)


def large_tile(path: Path) -> None:
    """A TIFF of 16 × 16 pixels, in a tile of 46,340 × 46,340."""
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 46_340, 323: 46_340, 324: 0, 325: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))


def many_scans(path: Path) -> None:
    """A progressive JPEG whose last scan is there again and again."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    path.write_bytes(data[:-2] + 101 * last + data[-2:])


def jpeg_with(part: bytes, times: int) -> Callable[[Path], None]:
    """A JPEG with more before its picture: the part, so many times."""

    def make(path: Path) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64)).save(buffer, "JPEG")
        data = buffer.getvalue()
        path.write_bytes(data[:2] + part * times + data[2:])

    return make


def segment(mark: int, content: bytes) -> bytes:
    return b"\xff" + bytes([mark]) + struct.pack(">H", len(content) + 2) + content


TURNED = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x112, 3, 1, 6, 0)


def small_precincts(path: Path) -> None:
    """A JPEG 2000 of 8,000 × 8,000 pixels that says it is in blocks of 4 × 4, and has none."""
    side = 8_000
    parts = [
        (0xFF51, struct.pack(">H8IH", 0, side, side, 0, 0, side, side, 0, 0, 1) + b"\x07\x01\x01"),
        (0xFF52, b"\x01\0\0\x01\0\x05\x04\x04\0\x01" + 6 * b"\x22"),
        (0xFF5C, b"\x40" + 16 * b"\x40"),
    ]
    head = b"".join(struct.pack(">HH", mark, len(content) + 2) + content for mark, content in parts)
    tile = struct.pack(">HHHIBB", 0xFF90, 10, 0, 24, 0, 1) + b"\xff\x93" + bytes(10)
    path.write_bytes(b"\xff\x4f" + head + tile + b"\xff\xd9")


def many_chunks(path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    data, chunk = buffer.getvalue(), b"prVt" + bytes(10)
    path.write_bytes(data[:33] + (struct.pack(">I", 10) + chunk + struct.pack(">I", zlib.crc32(chunk))) * 10**5 + b"?")


def thin_png(path: Path) -> None:
    Image.new("1", (1, 2**17 + 1)).save(path, "PNG")


def shared_storage(path: Path) -> None:
    storage = Storage("1", np.zeros(2**18, np.float32))
    torch_file(path, {f"t{i}": Tensor(storage, 0, (2**9, 2**9), (1, 2**9)) for i in range(1_000)}, [storage])


def endless_tree(path: Path) -> None:
    """A group whose tree of members is its own branch: the library that reads it ends in a stack overflow."""
    import h5py

    with h5py.File(path, "w") as file:
        for name in "abc":
            file[name] = [1.0]
    data = bytearray(path.read_bytes())
    at = data.index(b"TREE")
    data[at + 5] = 1
    data[at + 32 : at + 40] = struct.pack("<Q", at)
    path.write_bytes(data)


def repeated_text(path: Path) -> None:
    schema = pa.schema([pa.field("a", pa.string())])
    rows = pa.table({"a": ["x" * 2**20] * 200}, schema)
    with pq.ParquetWriter(path, schema, dictionary_pagesize_limit=2**30) as writer:
        for _ in range(12):
            writer.write_table(rows)


def changed_footer(path: Path, old: bytes, new: bytes) -> None:
    """Let a Parquet file say `new` of itself wherever it says `old`."""
    data = path.read_bytes()
    size = struct.unpack("<I", data[-8:-4])[0]
    footer = data[-8 - size : -8]
    assert old in footer
    footer = footer.replace(old, new)
    path.write_bytes(data[: -8 - size] + footer + struct.pack("<I", len(footer)) + data[-4:])


def contradictory_sizes(path: Path) -> None:
    """Counts of one level where there are two: the binding that tells the footer's columns ends its process."""
    pq.write_table(pa.table({"file_name": list("abcdefghi"), "b": range(9)}), path)
    changed_footer(path, b"\x19\x06\x19\x26\x00\x12", b"\x19\x06\x19\x16\x12")


def many_values_said_to_be_three(path: Path) -> None:
    many = 10_000_000
    part = pa.table({"file_name": ["a"], "b": pa.ListArray.from_arrays([0, many], np.zeros(many, np.int64))})
    with pq.ParquetWriter(path, part.schema, data_page_size=2**31 - 1, write_batch_size=2**30) as writer:
        for _ in range(30):
            writer.write_table(part)
    changed_footer(path, _varint(many, 4), _varint(3, 4))


def _varint(number: int, length: int) -> bytes:
    """A number of Thrift's compact protocol, in so many bytes."""
    return bytes(2 * number >> 7 * k & 127 | (k + 1 < length) << 7 for k in range(length))


def nested(path: Path) -> None:
    path.write_bytes(b'{"images": ' + b"[" * 10**6)


def archived(content: bytes, times: int = 1) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("annotations/a.json", "w", force_zip64=True) as file,
        ):
            for _ in range(times):
                file.write(content)

    return make


def tasks(address: str = "a.jpg", **value: object) -> Callable[[Path], None]:
    """Label Studio's export of a region."""
    kind = next(name for name in value if name.endswith("labels"))
    region = {"type": kind, "value": value, "original_width": 8192, "original_height": 8192}
    return text(json.dumps([{"data": {"image": address}, "annotations": [{"result": [region]}]}]))


def brushed(runs: int) -> list[int]:
    """Label Studio's code of a mask of 8,192 × 8,192 pixels that ends after so many runs of 2¹⁶ values."""
    bits = f"{2**28:032b}{7:05b}{2:04b}{7:04b}{11:04b}{15:04b}" + f"111{2**16 - 1:016b}{0:08b}" * runs
    return list(int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8)))


# What each process tries, one after another: name → how it is made, as which file, what reads it, what is said.
ATTACKS: dict[str, dict[str, tuple[Callable[[Path], None], str, str, str]]] = {
    "pictures": {
        "a program in PostScript": (postscript, "a.jpg", IMAGE, "cannot be decoded"),
        "a picture of 500 MB": (wide_png, "a.png", IMAGE, "more than 67 million"),
        "a picture of one column": (thin_png, "a.png", IMAGE, "a side more than 131072"),
        "a tile of 2 GB": (large_tile, "a.tif", IMAGE, "a tile of it has more than 67 million"),
        "a picture of many scans": (many_scans, "a.jpg", IMAGE, "more than 100 scans"),
        "a JPEG of EXIF data": (jpeg_with(segment(0xE1, TURNED), 10**5), "a.jpg", IMAGE, "more than 10000 segments"),
        "a JPEG of tables": (jpeg_with(segment(0xDB, b"\0" + b"\1" * 64), 10**5), "a.jpg", IMAGE, "10000 segments"),
        "a JPEG of filling": (jpeg_with(b"\xff", 2 * 10**7), "a.jpg", IMAGE, "filling between"),
        "a JPEG 2000 of blocks": (small_precincts, "a.jpg", IMAGE, "none of the formats that are read"),
        "a PNG of chunks": (many_chunks, "a.png", IMAGE, "cannot be decoded"),
        "a pipe": (os.mkfifo, "a.jpg", IMAGE, "it is no file"),
        "a mask of dots": (strewn, "a.png", MASK, "more than 100000 regions"),
        "a segment a pixel": (ramp, "a.png", PANOPTIC, "longer than 2000000 pixels"),
    },
    "outlines": {
        "an outline of 2 GB": (outline(300), "a.json", OUTLINE, "its outline is too long"),
        "an outline that crashes": (outline(3_000), "a.json", OUTLINE, "its outline is too long"),
        "an outline of NaN": (
            segmentation([[0, 0, 5, 0, 5, 5], [0, 0, None, None, 5, 5]]),
            "a.json",
            OUTLINE,
            "are not numbers",
        ),
        "an RLE of a packed GB": (
            segmentation({"counts": b64encode(packed_zeros(2**30)).decode()}),
            "a.json",
            OUTLINE,
            "malformed",
        ),
        "an RLE of code": (segmentation({"counts": "b''" + "+b''" * 10**5}), "a.json", OUTLINE, "its RLE is malformed"),
        "an image of 10¹⁸ pixels": (
            segmentation([[0, 0, 5, 0, 5, 5]] * 2),
            "a.json",
            OUTLINE.replace("480, 640", "2**30, 2**30"),
            "too large",
        ),
        "lists in lists": (nested, "a.json", COCO, "nested too deeply"),
    },
    "models": {
        "strides of 0": (zero_strides, "a.pt", WEIGHTS, "larger than its storage"),
        "tensors of one storage": (shared_storage, "a.pt", WEIGHTS, "larger than its storages"),
        "a memo of 2 GB": (pickled(b"]r\xff\xff\xff\x0f."), "a.pt", WEIGHTS, "memo is too large"),
        "tuples in tuples": (
            pickled(b"}(" + b")" + b"\x85" * 10**6 + b"K\x01u."),
            "a.pt",
            WEIGHTS,
            "too many containers",
        ),
        "tuples that fit": (pickled(b"}(" + b")" + b"\x85" * 19_000 + b"K\x01u."), "a.pt", WEIGHTS, "state dict"),
        "a model of 16 GB": (huge_model, "a.keras", KERAS, "more than the file holds"),
        "a model of 8 GB without weights": (normalising_model, "a.keras", KERAS, "GB of memory"),
        "a model that is a pipe": (os.mkfifo, "a.keras", KERAS, "there is no such file"),
        "an array of 4 TB": (huge_array, "a.h5", HDF5, "the file is"),
        "a tree without end": (endless_tree, "a.h5", HDF5, "a.h5 cannot be read"),
    },
    "corrections": {
        "corrections in corrections": (nested, "a.json", CORRECTIONS, "nested too deeply"),
        "lists in tasks": (text(b'[{"data": ' + b"[" * 10**6), "a.json", CORRECTIONS, "nested too deeply"),
        "a pipe for corrections": (os.mkfifo, "a.json", CORRECTIONS, "it is no file"),
        "a brushed mask that is cut": (
            tasks(brushlabels=["car"], rle=brushed(4_095)),
            "a.json",
            CORRECTIONS,
            "mask is cut",
        ),
        "a brushed mask of 268 million values": (
            tasks(brushlabels=["cat"], rle=brushed(4_096)),
            "a.json",
            CORRECTIONS,
            "category 'cat'",
        ),
        "an address that is none": (tasks("http://[", polygonlabels=["car"]), "a.json", CORRECTIONS, "as Label Studio"),
        "points that are none": (
            tasks(polygonlabels=["car"], points=[["a", {}]]),
            "a.json",
            CORRECTIONS,
            "as Label Studio exports it",
        ),
    },
    "archives": {
        "an archive of 3 GB": (archived(bytes(2**24), 192), "a.zip", ARCHIVE, "larger than 2147483648 bytes"),
        "an archive of a path above": (
            archived(b"{}"),
            "a.zip",
            ARCHIVE.replace("a.json", "../b.json"),
            "no item named",
        ),
        "an archive that is a picture": (thin_png, "a.zip", ARCHIVE, "not a zip file"),
    },
    "texts and tables": {
        "aliases in params.yaml": (aliases(), "params.yaml", PARAMS, "with aliases written out"),
        "aliases in a card": (aliases("---\n", "---\n"), "model.md", CARD, "with aliases written out"),
        "aliases in exclude.yaml": (aliases(), "exclude.yaml", EXCLUDE, "with aliases written out"),
        "aliases in a table of names": (aliases("names:\n"), "data.yaml", LEGEND, "with aliases written out"),
        "a pipe for params.yaml": (os.mkfifo, "params.yaml", PARAMS, "it is no file"),
        "a pipe for a card": (os.mkfifo, "model.md", CARD, "it is no file"),
        "a pipe for labels": (os.mkfifo, "a.txt", LABEL, "it is no file"),
        "a pipe for COCO's": (os.mkfifo, "a.json", COCO, "it is no file"),
        "a table of 100 million rows": (very_many_rows, "a.parquet", TABLE, "GB of memory"),
        "a table that contradicts itself": (contradictory_sizes, "a.parquet", NUMBERS, "Definition level histogram"),
        "a table that says it is small": (many_values_said_to_be_three, "a.parquet", NUMBERS, "GB of memory"),
        "a text again and again": (repeated_text, "a.parquet", TEXTS, "GB of memory"),
    },
}
CASES = [(group, name) for group, attacks in ATTACKS.items() for name in attacks]
CHILD = """
import json, os, resource, sys, time
from pathlib import Path
from segscope.errors import SegscopeError
for name, folder, file, reader in json.loads(sys.argv[1]):
    os.chdir(folder)
    scope = {}
    exec(reader, scope)
    start = time.process_time()
    try:
        scope["read"](Path(file))
        said = "it was read"
    except SegscopeError as error:
        said = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([name, said, time.process_time() - start, peak]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, tuple[str, float, int, list[str]]]:
    """What was said of each attack, its seconds, the greatest memory until then, and the files that there are then."""
    started = []
    for attacks in ATTACKS.values():
        tried = []
        for name, (make, file, reader, _) in attacks.items():
            folder = tmp_path_factory.mktemp("attack")
            make(folder / file)
            tried.append((name, str(folder), file, reader))
        command = [sys.executable, "-c", CHILD, json.dumps(tried)]
        started.append((tried, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)))
    found = {}
    for tried, process in started:
        try:
            out, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
        folders = {name: folder for name, folder, *_ in tried}
        for name, *outcome in map(json.loads, out.splitlines()):
            found[name] = *outcome, [path.name for path in Path(folders[name]).iterdir()]
    return found


@pytest.mark.parametrize(("group", "name"), CASES)
def test_an_attack_ends_in_a_message(outcomes, group, name):
    _, file, _, message = ATTACKS[group][name]
    assert name in outcomes, f"the process that tried {group} ended, or did not in time"
    said, seconds, peak, left = outcomes[name]
    assert message in said
    assert len(said) < 2_000
    assert seconds < SECONDS
    assert peak < BYTES
    assert left == [file]
