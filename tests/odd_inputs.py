"""Small COCO folders, each odd in one way that public tools' exports are; and what the first two stages make of them.

A case changes a data set: documents by split, and files (bytes, or None for a folder) by their path below the root.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from pycocotools import mask as rle_api

WIDTH, HEIGHT = 40, 30
SIZES = {"train": 6, "val": 3}
SAME = "as the control"


@dataclass
class Dataset:
    """documents: COCO's, by split. files: by path below the root. params: of the run, by dotted key.

    annotations: the annotation files' paths below the root. encoding, wrap: of the annotation files.
    """

    documents: dict[str, Any]
    files: dict[str, bytes | None]
    params: dict[str, Any] = field(default_factory=dict)
    annotations: str = "annotations/instances_{split}.json"
    encoding: str = "utf-8"
    wrap: bool = False

    def every(self, kind: str) -> Iterator[dict]:
        for document in self.documents.values():
            yield from document[kind]

    def write(self, root: Path) -> None:
        for split, document in self.documents.items():
            path = root / self.annotations.replace("{split}", split)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps([document] if self.wrap else document, ensure_ascii=False)
            path.write_bytes(text.replace("{root}", str(root)).encode(self.encoding))
        for name, data in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).mkdir() if data is None else (root / name).write_bytes(data)


@dataclass(frozen=True)
class Case:
    """change: of the control. error: what the error says, a regular expression. images, instances: of train and val, or
    SAME (each image has the control's outlines, of the same categories). skipped: rows by reason; on an error, too.
    warned: what is said besides, a regular expression.
    """

    change: Callable[[Dataset], None]
    error: str = ""
    images: tuple[int, int] = (6, 3)
    instances: tuple[int, int] | str = SAME
    skipped: dict[str, int] = field(default_factory=dict)
    warned: str = ""
    params: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {}


def case(*args: Any, **wanted: Any) -> Callable:
    """Registers a change under its name, with what is wanted of it; `name` tells two cases of one change apart."""
    name = wanted.pop("name", "")

    def register(change: Callable[[Dataset], None]) -> Callable[[Dataset], None]:
        CASES[f"{change.__name__}_{name}" if name else change.__name__] = Case(change, *args, **wanted)
        return change

    return register


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def _control() -> Dataset:
    rng = np.random.default_rng(0)
    documents, files, number = {}, {}, 0
    for split, n in SIZES.items():
        images, annotations = [], []
        for i in range(1, n + 1):
            image_id = i + 100 * (split == "val")
            blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            files[f"{split}/{image_id:06d}.png"] = encoded(Image.fromarray(blocks.repeat(5, 0).repeat(5, 1)))
            images.append({"id": image_id, "file_name": f"{image_id:06d}.png", "width": WIDTH, "height": HEIGHT})
            for category_id, left in ((1, 2), (3, 21)):
                number += 1
                x, y, w, h = left, 3, 8 + i, 12 + i + 3 * (split == "val")
                polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
                row = {"id": number, "image_id": image_id, "category_id": category_id, "iscrowd": 0, "area": w * h}
                annotations.append(row | {"bbox": [x, y, w, h], "segmentation": [polygon]})
        categories = [
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 3, "name": "car", "supercategory": "vehicle"},
        ]
        document = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
        documents[split] = document
    return Dataset(documents, files)


def control() -> Dataset:
    """Nothing is wrong."""
    return copy.deepcopy(_control())


def rename(data: Dataset, in_json: Callable[[str], str], on_disk: Callable[[str], str]) -> None:
    for split, document in data.documents.items():
        for image in document["images"]:
            name = image["file_name"]
            data.files[f"{split}/{on_disk(name)}"] = data.files.pop(f"{split}/{name}")
            image["file_name"] = in_json(name)


def outline(change: Callable[[dict], Any]) -> Callable[[Dataset], None]:
    """Replaces each annotation's segmentation."""

    def apply(data: Dataset) -> None:
        for row in data.every("annotations"):
            row["segmentation"] = change(row)

    return apply


def rle(row: dict) -> dict:
    merged = rle_api.merge(rle_api.frPyObjects(row["segmentation"], HEIGHT, WIDTH))
    return {"size": [HEIGHT, WIDTH], "counts": merged["counts"].decode()}


def runs(row: dict) -> list[int]:
    flat = rle_api.decode(rle(row) | {"counts": rle(row)["counts"].encode()}).ravel(order="F")
    return np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()


def reencode(data: Dataset, change: Callable[[Image.Image], bytes], n: int | None = None) -> None:
    for split, document in data.documents.items():
        for image in document["images"][:n]:
            path = f"{split}/{image['file_name']}"
            data.files[path] = change(Image.open(io.BytesIO(data.files[path])).convert("RGB"))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# Outlines

EMPTY = {"bad_segmentation": 12}
TOO_MANY = r"of 12 annotations of split train 12 cannot be used, more than data\.max_unusable \(10\.00%\) allows"

CASES["control"] = Case(lambda data: None)
for _name, _change, _message in (
    ("seg_empty_list", lambda row: [], r"it is empty \(rectangles and key points are exported so \(CVAT, Label"),
    ("seg_null", lambda row: None, "it is empty"),
    ("seg_bbox4", lambda row: [row["bbox"]], "its polygons have fewer than three points .a box"),
    ("seg_odd", lambda row: [row["segmentation"][0][:-1]], "a polygon has an odd count of numbers"),
    (
        "rle_swapped",
        lambda row: rle(row) | {"size": [WIDTH, HEIGHT]},
        r"its RLE is of another size .*\[height, width\]",
    ),
):
    CASES[_name] = Case(outline(_change), f"{TOO_MANY}.*12 bad_segmentation; 12 like this.*{_message}", skipped=EMPTY)
for _name, _change, _form in (
    ("seg_flat", lambda row: row["segmentation"][0], "one list of numbers"),
    ("seg_pairs", lambda row: np.reshape(row["segmentation"][0], (-1, 2)).tolist(), "pairs of numbers"),
    ("seg_rle_as_polygon", lambda row: [runs(row)], "run lengths in place of a polygon"),
    (
        "seg_normalised",
        lambda row: [[v / (HEIGHT if i % 2 else WIDTH) for i, v in enumerate(row["segmentation"][0])]],
        "fractions of width and height",
    ),
    ("rle_bytes_repr", lambda row: rle(row) | {"counts": str(rle(row)["counts"].encode())}, "bytes as text"),
    (
        "rle_base64",
        lambda row: rle(row) | {"counts": base64.b64encode(rle(row)["counts"].encode()).decode()},
        "base64",
    ),
    ("rle_in_list", lambda row: [rle(row)], "RLE in a list"),
):
    CASES[_name] = Case(outline(_change), warned=f"train: 12 segmentations are read as {_form}\n")
CASES["rle_polygon_iscrowd0"] = Case(outline(rle))


@case(f"{TOO_MANY}.*it is empty", skipped=EMPTY)
def seg_missing(data):
    """A detection data set."""
    for row in data.every("annotations"):
        del row["segmentation"]


@case(r"of 12 annotations of split train 6 cannot be used", skipped={"bad_segmentation": 6})
@case(name="allowed", instances=(6, 3), skipped={"bad_segmentation": 9}, params={"data.max_unusable": 0.5})
def seg_half_empty(data):
    """Rectangles and polygons mixed."""
    for row in data.every("annotations"):
        if row["category_id"] == 3:
            row["segmentation"] = []


@case(instances=(11, 6), skipped={"no_pixels": 1})
def seg_negative(data):
    """Outlines begin outside the frame; one lies there."""
    for row in data.every("annotations"):
        row["segmentation"] = [[v - 2 for v in row["segmentation"][0]]]
    data.documents["train"]["annotations"][0]["segmentation"] = [[-30, -30, -20, -30, -20, -20]]


# Ids, sizes and other numbers


@case()
def category_id_string(data):
    for row in data.every("annotations"):
        row["category_id"] = str(row["category_id"])


@case()
def category_ids_all_string(data):
    category_id_string(data)
    for row in data.every("categories"):
        row["id"] = str(row["id"])


@case()
def image_id_string(data):
    for row in data.every("images"):
        row["id"] = str(row["id"])
    for row in data.every("annotations"):
        row["image_id"] = str(row["image_id"])


@case()
def ids_uuid(data):
    """Text of any kind, the same in both files."""
    for row in data.every("images"):
        row["id"] = f"7c9e6679-7425-40de-944b-{row['id'] % 100:012x}"
    for row in data.every("annotations"):
        row["image_id"] = f"7c9e6679-7425-40de-944b-{row['image_id'] % 100:012x}"
        row["id"], row["category_id"] = f"a{row['id']}", f"category {row['category_id']}"
    for row in data.every("categories"):
        row["id"] = f"category {row['id']}"


@case()
def ids_float(data):
    """As a data frame with a gap writes them."""
    for row in data.every("images"):
        row |= {key: float(row[key]) for key in ("id", "width", "height")}
    for row in data.every("annotations"):
        row |= {key: float(row[key]) for key in ("id", "image_id", "category_id", "iscrowd")}
    for row in data.every("categories"):
        row["id"] = float(row["id"])


@case()
def annotation_ids_restart(data):
    for row in data.every("annotations"):
        row["id"] = 1 + (row["category_id"] == 3)


@case(warned="12 annotations have no id")
def annotation_ids_missing(data):
    for row in data.every("annotations"):
        del row["id"]


@case(warned="6 annotations have no id, or one that another of their image has")
def annotation_ids_all_zero(data):
    for row in data.every("annotations"):
        row["id"] = 0


@case(
    r"split train 12 cannot be used.*12 malformed; 12 like this: annotations\[0\]\.category_id: it is no id: null",
    skipped={"malformed": 18},
)
def category_id_null(data):
    for row in data.every("annotations"):
        row["category_id"] = None


@case(
    r"of 6 images of split train 6 cannot be used, .* allows: 6 malformed; 6 like this: images\[0\]\.id: it is no id",
    skipped={"malformed": 9},
)
def image_id_null(data):
    data.params["data.match"] = "none"
    for row in data.every("images"):
        row["id"] = None
    for document in data.documents.values():
        document["annotations"] = []


@case()
def size_zero(data):
    for row in data.every("images"):
        row |= {"width": 0, "height": 0}


@case()
def size_missing(data):
    for row in data.every("images"):
        del row["width"], row["height"]


@case()
def size_string(data):
    for row in data.every("images"):
        row |= {"width": str(row["width"]), "height": str(row["height"])}


@case(
    r"no image of split train can be used: 6 size_mismatch.* is 40×30, .* 30×40 \(width and height are swapped",
    skipped={"size_mismatch": 6},
)
def size_swapped(data):
    for row in data.every("images"):
        row |= {"width": HEIGHT, "height": WIDTH}


@case(instances=(8, 4))
def iscrowd_missing(data):
    """Missing, null and true by turns."""
    for n, row in enumerate(data.every("annotations")):
        row["iscrowd"] = (0, None, True)[n % 3]
        if n % 3 == 0:
            del row["iscrowd"]


@case()
def iscrowd_string(data):
    for row in data.every("annotations"):
        row["iscrowd"] = "0"


@case(instances=(0, 0), params={"masks.crowd": "ignore"})
def iscrowd_all_one_ignore(data):
    for row in data.every("annotations"):
        row["iscrowd"] = 1


@case(params={"masks.crowd": "ignore"}, instances=(10, 4))
def fully_ignored(data):
    """Images that a crowd covers wholly."""
    for split, n in (("train", 1), ("val", 1)):
        document = data.documents[split]
        for image in document["images"][:n]:
            rows = [row for row in document["annotations"] if row["image_id"] != image["id"]]
            whole = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
            row = {"id": 10**9, "image_id": image["id"], "category_id": 1, "iscrowd": 1, "segmentation": whole}
            document["annotations"] = [*rows, row]


# File names


@case()
def name_backslash(data):
    rename(data, lambda name: f"images\\{name}", lambda name: f"images/{name}")


@case()
def name_absolute(data):
    for split, document in data.documents.items():
        for image in document["images"]:
            image["file_name"] = f"{{root}}/{split}/{image['file_name']}"


@case(
    "no image of split train is left: 6 unsafe_file_name; 6 like this, image_id 1, file_name /home/somebody/000001.png",
    skipped={"unsafe_file_name": 9},
)
def name_absolute_elsewhere(data):
    for image in data.every("images"):
        image["file_name"] = f"/home/somebody/{image['file_name']}"


@case()
def name_dot_slash(data):
    rename(data, lambda name: f"./{name}", lambda name: name)


@case()
def name_odd_but_right(data):
    rename(data, lambda name: f"שלט é #1 '🚗\" {name}", lambda name: f"שלט é #1 '🚗\" {name}")


@case()
def name_full_width_space(data):
    rename(data, lambda name: f"写真\u3000\u00a0{name}", lambda name: f"写真\u3000\u00a0{name}")


MISSING = r"of 9 images 9 are missing, .*; there is '.*', "


@case(MISSING + "percent-encoded", skipped={"missing_file": 9})
def name_url_encoded(data):
    rename(data, lambda name: quote(f"Foto é {name}"), lambda name: f"Foto é {name}")


@case(MISSING + "in another form of Unicode", skipped={"missing_file": 9})
def name_nfd(data):
    rename(data, lambda name: f"café {name}", lambda name: unicodedata.normalize("NFD", f"café {name}"))


@case(MISSING + "in other case", skipped={"missing_file": 9})
def name_case(data):
    rename(data, lambda name: name, str.upper)


@case(MISSING + "with another ending", skipped={"missing_file": 9})
def name_no_extension(data):
    rename(data, lambda name: Path(name).stem, lambda name: name)


# The file as text


@case()
def json_utf8_bom(data):
    data.encoding = "utf-8-sig"


@case()
def json_utf16(data):
    data.encoding = "utf-16"


@case(r"categories\[0\]: it is not in UTF-8: convert the file")
def json_latin1(data):
    data.encoding = "latin-1"
    for row in data.every("categories"):
        row["name"] = {1: "Fußgänger"}.get(row["id"], row["name"])


@case(warned="2 NaN or Infinity, which JSON does not know, are read as null")
def json_nan(data):
    for row in data.documents["train"]["annotations"][:2]:
        row["area"] = float("nan")


@case(warned="24 NaN or Infinity")
def json_nan_sizes(data):
    for row in data.documents["train"]["annotations"]:
        row["area"] = float("nan")
    for row in data.documents["train"]["images"]:
        row |= {"width": float("nan"), "height": float("inf")}


@case()
def json_nested(data):
    data.wrap = True


@case()
def annotations_dict(data):
    for document in data.documents.values():
        document["annotations"] = {str(row["id"]): row for row in document["annotations"]}


@case()
def no_info(data):
    for document in data.documents.values():
        del document["licenses"]
    del data.documents["train"]["info"]
    data.documents["val"]["info"] = None
    for row in data.every("annotations"):
        del row["area"]


# Categories


def recategorise(data: Dataset, categories: list[dict], number: dict[int, int]) -> None:
    for document in data.documents.values():
        document["categories"] = copy.deepcopy(categories)
    for row in data.every("annotations"):
        row["category_id"] = number[row["category_id"]]


@case(warned="left out are categories without annotations that name others: 0 car")
def cat_root_same_name(data):
    root = {"id": 0, "name": "car", "supercategory": "none"}
    car, person = ({"id": i, "name": name, "supercategory": "car"} for i, name in ((1, "car"), (2, "person")))
    recategorise(data, [root, car, person], {1: 2, 3: 1})


@case(warned="name others: 0 street", params={"data.contains": ["street"], "data.match": "all"})
def cat_root_of_the_super_category(data):
    names = (("street", "none"), ("person", "street"), ("car", "street"))
    rows = [{"id": i, "name": name, "supercategory": parent} for i, (name, parent) in enumerate(names)]
    recategorise(data, rows, {1: 1, 3: 2})


@case(warned="only val lists: bicycle")
def cat_differ(data):
    data.documents["val"]["categories"].append({"id": 4, "name": "bicycle", "supercategory": "vehicle"})


@case(warned="val numbers otherwise, matched by name: person, car")
def cat_order_differs(data):
    swapped = {1: 3, 3: 1}
    for row in data.documents["val"]["categories"]:
        row["id"] = swapped[row["id"]]
    for row in data.documents["val"]["annotations"]:
        row["category_id"] = swapped[row["category_id"]]


@case(warned="taken from train is the super-category of: car")
def cat_super_differs(data):
    data.documents["val"]["categories"][1]["supercategory"] = "Vehicle"


@case(instances=(18, 9), warned="category 'background' is called 'background .category.'")
def cat_background(data):
    """Annotated in the corner of every image."""
    number = 10**6
    for document in data.documents.values():
        document["categories"].append({"id": 4, "name": "background", "supercategory": "background"})
        for image in document["images"]:
            number += 1
            row = {"id": number, "image_id": image["id"], "category_id": 4, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
            document["annotations"].append(row)


@case(instances=(12, 6), warned="category 'super.vehicle' is called")
def cat_collides_with_super(data):
    others = {4: "super.vehicle", 5: "none"}
    for document in data.documents.values():
        document["categories"] += [{"id": i, "name": name, "supercategory": "thing"} for i, name in others.items()]
        document["annotations"][0]["category_id"] = 4


@case(warned="of 300 categories 298 without annotations are left out")
def cat_300(data):
    for document in data.documents.values():
        document["categories"] += [{"id": 1000 + k, "name": f"kind {k}", "supercategory": "other"} for k in range(298)]


@case()
def cat_no_super(data):
    recategorise(data, [{"id": 0, "name": "person"}, {"id": 1, "name": "car", "supercategory": None}], {1: 0, 3: 1})


@case(warned="categories of one name are taken as one: 3 car, 4 car")
def cat_two_same_name(data):
    """Two label projects joined."""
    for document in data.documents.values():
        document["categories"].append({"id": 4, "name": "car", "supercategory": "vehicle"})
    for row in data.every("annotations"):
        if row["category_id"] == 3 and row["image_id"] % 2:
            row["category_id"] = 4


@case()
def cat_name_space(data):
    recategorise(data, [{"id": 1, "name": "person "}, {"id": 3, "name": " car"}], {1: 1, 3: 3})


@case(instances=(12, 6))
def cat_name_case(data):
    recategorise(data, [{"id": 1, "name": "Person"}, {"id": 3, "name": "CAR"}], {1: 1, 3: 3})


@case()
def cat_name_number(data):
    for document in data.documents.values():
        document["categories"].append({"id": 9, "name": 7, "supercategory": "digit"})


@case("is not a COCO instances file: Object missing required field `categories`")
def cat_missing(data):
    for document in data.documents.values():
        del document["categories"]


@case(instances=(12, 6))
def cat_odd_names(data):
    odd = ['a "b"', "</script><b>x", "a/b\\c", "no. 1 (v2.0)", "line\nbreak", "מכונית", "{{x}} ${y} %s", "a,b;c"]
    for document in data.documents.values():
        rows = [{"id": 10 + k, "name": name, "supercategory": "קבוצה"} for k, name in enumerate(odd)]
        document["categories"] += rows
        for k, row in enumerate(document["annotations"][::2]):
            row["category_id"] = 10 + k


FOREIGN = [{"id": i, "name": name, "supercategory": "biology"} for i, name in ((1, "cell"), (3, "nucleus"))]


@case(instances=(12, 6), params={"data.contains": [], "variants": {"mine": {"cell": ["cell"]}}})
def cat_foreign(data):
    recategorise(data, FOREIGN, {1: 1, 3: 3})


@case(instances=(12, 6))
def cat_foreign_kept(data):
    """The default variants beside the own one."""
    recategorise(data, FOREIGN, {1: 1, 3: 3})
    own = {"mine": {"cell": ["cell"], "nucleus": ["nucleus"]}, "category": {"person": ["person"], "car": ["car"]}}
    data.params |= {"data.contains": [], "variants": own}


# What is there


@case("none of the 3 images of split val has an annotation; `data.match: none` takes images without")
@case(name="match_none", instances=(12, 0), params={"data.match": "none"})
def empty_val(data):
    data.documents["val"]["annotations"] = []


@case("split val has no image")
def empty_images_val(data):
    data.documents["val"] |= {"images": [], "annotations": []}


@case(r"no image of split val fits data\.contains \['person', 'car'\], .* are of dog")
def none_fits(data):
    for document in data.documents.values():
        document["categories"].append({"id": 18, "name": "dog"})
    for row in data.documents["val"]["annotations"]:
        row["category_id"] = 18


@case(r"there is no .*instances_val\.json: .* of JSON there is annotations/instances_train\.json")
def one_split_only(data):
    del data.documents["val"]


@case(images=(3, 3), instances=(6, 6), skipped={"unknown_image": 6})
def unknown_images(data):
    data.documents["train"]["images"] = data.documents["train"]["images"][::2]


@case(instances=(8, 4), params={"data.match": "none"})
def images_without_annotation(data):
    for document in data.documents.values():
        bare = {image["id"] for image in document["images"][::3]}
        document["annotations"] = [row for row in document["annotations"] if row["image_id"] not in bare]


@case(
    r"no image of split val is left: 6 copy_in_earlier_split; .*the same pictures are in both splits",
    skipped={"copy_in_earlier_split": 6},
)
def same_pictures_both_splits(data):
    data.documents["val"] = copy.deepcopy(data.documents["train"])
    for image in data.documents["val"]["images"]:
        picture = data.files[f"train/{image['file_name']}"]
        image["file_name"] = f"copy {image['file_name']}"
        data.files[f"val/{image['file_name']}"] = picture


@case("no image of split val is left: 3 copy_in_earlier_split", skipped={"copy_in_earlier_split": 3})
def identical_images(data):
    data.files = dict.fromkeys(data.files, data.files["train/000001.png"])


@case("no image of split val is left: 3 copy_in_earlier_split", skipped={"copy_in_earlier_split": 3})
def cvat_merged_folder(data):
    """Both splits' images lie in one folder, and have the same names."""
    data.params["data.images"] = "train"
    for image in data.documents["val"]["images"]:
        image["file_name"] = f"{image['id'] - 100:06d}.png"


@case(images=(4, 3), instances=(8, 6), skipped={"duplicate_id": 2})
def images_same_id(data):
    """Their annotations can't be told apart."""
    first, second = data.documents["train"]["images"][:2]
    for row in data.documents["train"]["annotations"]:
        if row["image_id"] == second["id"]:
            row["image_id"] = first["id"]
    second["id"] = first["id"]


@case("there are 3 images in all that can be used, and a run needs 4 or more")
def two_images(data):
    for split, n in (("train", 2), ("val", 1)):
        document = data.documents[split]
        document["images"] = document["images"][:n]
        kept = {image["id"] for image in document["images"]}
        document["annotations"] = [row for row in document["annotations"] if row["image_id"] in kept]


@case(instances=(12, 3))
def class_absent_val(data):
    document = data.documents["val"]
    document["annotations"] = [row for row in document["annotations"] if row["category_id"] == 1]


@case(instances=(6, 3))
def class_absent_everywhere(data):
    for document in data.documents.values():
        document["annotations"] = [row for row in document["annotations"] if row["category_id"] == 1]


# Image files


@case(warned="6 of 6 images have an EXIF orientation, which is ignored")
def exif_turned_pixels_stored(data):
    reencode(data, lambda picture: encoded(picture, exif=turned(6)))


@case(r"6 size_mismatch.*turned by its EXIF orientation: data\.exif: apply reads it so", skipped={"size_mismatch": 6})
@case(name="applied", params={"data.exif": "apply"})
def exif_turned_shown(data):
    """Annotations are of the picture as it is shown."""
    reencode(data, lambda picture: encoded(picture.transpose(Image.Transpose.ROTATE_90), exif=turned(6)))


@case(name="sizes_from_files", params={"data.exif": "apply"})
def exif_turned_shown_sizeless(data):
    exif_turned_shown(data)
    size_missing(data)


@case(warned="6 of 6 images have an EXIF orientation, which is ignored: .* `data.exif: apply` turns them")
@case(name="applied", params={"data.exif": "apply"})
def exif_180_shown(data):
    reencode(data, lambda picture: encoded(picture.transpose(Image.Transpose.ROTATE_180), exif=turned(3)))


@case()
def format_cmyk(data):
    reencode(data, lambda picture: encoded(picture.convert("CMYK"), "JPEG"))


@case()
def format_rgba(data):
    def change(picture: Image.Image) -> bytes:
        picture.putalpha(100)
        return encoded(picture)

    reencode(data, change)


def sixteen(times: int) -> Callable[[Image.Image], bytes]:
    return lambda picture: encoded(Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * times))


@case()
def format_gray16(data):
    reencode(data, sixteen(257))


@case(
    warned="train: 6 of 6 images have values below 16384 of the 65536 of 16 bits, such as the 10 or 12 bits of a camera"
)
def format_gray12(data):
    reencode(data, sixteen(16))


@case(r"6 unreadable_image; .*its pixels are floating-point numbers", skipped={"unreadable_image": 6})
def format_float_tiff(data):
    reencode(data, lambda picture: encoded(Image.fromarray(np.asarray(picture.convert("L"), np.float32) / 255), "TIFF"))


@case()
def format_mixed(data):
    """WebP, animated GIF, TIFF of two pages, transparent palette, LA, 1 bit, BMP; named otherwise."""
    kinds = iter("WEBP GIF TIFF P LA 1 BMP JPEG PNG".split())

    def change(picture: Image.Image) -> bytes:
        kind = next(kinds)
        if kind in ("GIF", "TIFF"):
            return encoded(picture, kind, save_all=True, append_images=[picture.point(lambda v: v // 2)])
        if kind == "P":
            return encoded(picture.quantize(64), transparency=3)
        return encoded(picture.convert(kind)) if kind in ("LA", "1") else encoded(picture, kind)

    reencode(data, change)


def break_files(data: Dataset) -> None:
    first = data.files["train/000001.png"]
    data.files |= {"train/000001.png": first[: len(first) // 2], "train/000002.png": b"", "train/000003.png": b"<html>"}


@case(r"of 6 images of split train 3 cannot be used, .* allows: 3 unreadable_image", skipped={"unreadable_image": 3})
def broken_no_folder(data):
    break_files(data)


@case(r"of 9 images 1 are missing, .*000004\.png: it is a folder", skipped={"missing_file": 1})
def broken_files(data):
    break_files(data)
    data.files["train/000004.png"] = None


@case(images=(5, 3), instances=(10, 6), skipped={"unreadable_image": 1}, params={"data.max_unusable": 0.2})
def huge(data):
    """More than twice the pixels that Pillow takes for safe (the test lowers these)."""
    data.files["train/000001.png"] = encoded(Image.new("1", (210, 200), 1))
    data.documents["train"]["images"][0] |= {"width": 210, "height": 200}


@case(instances=(8, 6), skipped={"no_pixels": 4}, params={"data.max_unusable": 0.4})
def tiny_images(data):
    for image, size in zip(data.documents["train"]["images"][:2], ((1, 1), (2000, 1)), strict=True):
        data.files[f"train/{image['file_name']}"] = encoded(Image.new("RGB", size, "red"))
        image |= {"width": size[0], "height": size[1]}


# Layouts


@case(warned="name others: 0 street")
def layout_roboflow(data):
    """An annotation file beside each split's images; a root category; ids from 0 in both files."""
    data.annotations = "{split}/_annotations.coco.json"
    data.params["data.annotations"] = data.annotations
    cat_root_of_the_super_category(data)
    for document in data.documents.values():
        new = {image["id"]: n for n, image in enumerate(document["images"])}
        for image in document["images"]:
            image["id"] = new[image["id"]]
        for n, row in enumerate(document["annotations"]):
            row |= {"id": n, "image_id": new[row["image_id"]]}


@case(params={"data.annotations": "{split}.json", "data.images": "."})
def layout_flat(data):
    """train.json and val.json at the top, file names with their folder."""
    data.annotations = "{split}.json"
    for split, document in data.documents.items():
        for image in document["images"]:
            image["file_name"] = f"{split}/{image['file_name']}"
