"""Label Studio's export, and its code of brushed masks. Letters: H × W pixels.

The code is that of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack: the number of values (32 bits),
the bits of a value less 1 (5), four sizes less 1 (4 each); then blocks of one bit, whether it is a run; two, which of
the sizes its length less 1 has; and the value, or as many values. Values are the red, green, blue and alpha of each
pixel, row by row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from segscope.artefacts.rle import encode_rle
from segscope.errors import SegscopeError
from segscope.limits import MAX_IMAGE_PIXELS
from segscope.sources.labelled import Labelled

_SIZES = (3, 8, 12, 16)  # bits of a run's length, as written
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
_CROWD = "-crowd"
_OUTLINES = ("polygonlabels", "brushlabels")
_NO_OUTLINES = (
    "rectanglelabels",
    "ellipselabels",
    "keypointlabels",
    "rectangle",
    "ellipse",
    "keypoint",
    "vectorlabels",
)


def encode_brush(mask: np.ndarray) -> list[int]:
    """A boolean H × W mask in that code, a number a byte."""
    values = np.asarray(mask, bool).ravel()
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    lengths = np.diff(np.append(starts, values.size))
    bits = [f"{4 * values.size:032b}{8 - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        rest = 4 * length
        while rest:
            part = min(rest, 1 << _SIZES[-1])
            which = next(k for k, size in enumerate(_SIZES) if part <= 1 << size)
            bits.append(f"1{which:02b}{part - 1:0{_SIZES[which]}b}{255 * int(values[start]):08b}")
            rest -= part
    text = "".join(bits)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def decode_brush(code: Sequence[int], height: int, width: int) -> np.ndarray:
    """The boolean H × W mask of a code: where alpha is not 0. Raises SegscopeError if it is not one of that size."""
    try:
        raw = (
            np.asarray(code, np.uint8) if all(type(n) is int and 0 <= n < 256 for n in code) else np.empty(0, np.uint8)
        )
        bits = (np.unpackbits(raw) + ord("0")).tobytes().decode()
        n, word = int(bits[:32], 2), int(bits[32:37], 2) + 1
        if n != 4 * height * width or word > 16:
            raise SegscopeError(f"its brushed mask is not of {width}×{height} pixels")
        sizes = [int(bits[p : p + 4], 2) + 1 for p in range(37, 53, 4)]
        out, i, p = np.zeros(n, bool), 0, 53
        while i < n:
            size = sizes[int(bits[p + 1 : p + 3], 2)]
            run, p = bits[p] == "1", p + 3
            length = int(bits[p : p + size], 2) + 1
            p += size
            words = 1 if run else length
            values = [int(bits[q : q + word], 2) > 0 for q in range(p, p + words * word, word)]
            p += words * word
            if p > len(bits) or i + length > n:
                raise SegscopeError("its brushed mask is cut")
            out[i : i + length] = values
            i += length
        return out.reshape(height, width, 4)[..., 3]
    except (ValueError, IndexError, TypeError) as error:
        raise SegscopeError("its brushed mask is cut, or none") from error


def is_label_studio(document: Any) -> bool:
    """Whether a JSON document is a list of Label Studio's tasks."""
    return isinstance(document, list) and bool(document) and isinstance(document[0], dict) and "data" in document[0]


def read_label_studio(tasks: Sequence[Mapping[str, Any]], path: Path) -> tuple[Labelled, set[str]]:
    """Label Studio's export (JSON) as COCO's rows, and the sources that its tasks name.

    An image is one that somebody has annotated; of several annotations the last counts, or that marked as true. Its id
    is the task's `image_id`, as exported, or the task's own. Raises SegscopeError naming task and region of what is no
    outline.
    """
    found, sources, names = Labelled(path), set[str](), dict[str, int]()
    for number, task in enumerate(tasks):
        if not isinstance(task, dict):
            raise SegscopeError(f"{path}: task {number} is no object, as Label Studio exports it")
        where = f"{path}: task {task.get('id', number)}"
        try:
            done = [each for each in task.get("annotations", []) if not each.get("was_cancelled")]
            if not done:
                continue
            data, chosen = task["data"], next((each for each in done if each.get("ground_truth")), done[-1])
            if data.get("source"):
                sources.add(str(data["source"]))
            name = file_name_of(str(data["image"]))
            image = {"id": data.get("image_id", f"task {task.get('id', number)}"), "file_name": name}
            for region in chosen.get("result", []):
                row = _region(region, where)
                if row is None:
                    continue
                label, outline, size = row
                image |= dict(zip(("height", "width"), size, strict=True))
                category = names.setdefault(label, len(names) + 1)
                found.annotations.append(
                    {"image_id": image["id"], "category_id": category, "segmentation": outline} | _own(region)
                )
            found.images.append(image)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise SegscopeError(f"{where} is not as Label Studio exports it as JSON: {error!r}") from error
    found.categories = [{"id": number, "name": name} for name, number in names.items()]
    return found, sources


def region_id(annotation_id: int, iscrowd: bool) -> str:
    """What a region is called, so that it is known again."""
    return f"{annotation_id}{_CROWD if iscrowd else ''}"


def _own(region: Mapping[str, Any]) -> dict[str, Any]:
    """The annotation's id, and whether it is a crowd, where the region was exported with them."""
    text = str(region.get("id", ""))
    number = text.removesuffix(_CROWD)
    return {"id": int(number), "iscrowd": text != number} if number.isdecimal() and len(number) < 19 else {}


def _region(region: Mapping[str, Any], where: str) -> tuple[str, Any, tuple[int, int]] | None:
    """Label, outline as COCO has it, and height and width of the image; None of what is no region."""
    kind, value = region.get("type"), region.get("value", {})
    if kind in _NO_OUTLINES:
        raise SegscopeError(
            f"{where}, region {region.get('id')}: a {str(kind).removesuffix('labels')} is no outline: draw it with the "
            "brush or as a polygon"
        )
    if kind not in _OUTLINES:
        return None
    labels = value[kind]
    if len(labels) != 1:
        raise SegscopeError(f"{where}, region {region.get('id')} has {len(labels)} labels, and needs one")
    height, width = (region[f"original_{side}"] for side in ("height", "width"))
    if not all(type(side) is int and side > 0 for side in (height, width)) or height * width > MAX_IMAGE_PIXELS:
        raise SegscopeError(f"{where}, region {region.get('id')}: its image has no size that can be")
    if kind == "polygonlabels":
        points = np.asarray(value["points"], float) * (width / 100, height / 100)
        return labels[0], [points.ravel().tolist()], (height, width)
    try:
        mask = decode_brush(value["rle"], height, width)
    except SegscopeError as error:
        raise SegscopeError(f"{where}, region {region.get('id')}: {error}") from error
    return labels[0], {"size": [height, width], "counts": encode_rle(mask)}, (height, width)


def file_name_of(address: str) -> str:
    """The file that a task's image means: a local one's path, else the last part, without an upload's prefix."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0]
    path = PurePosixPath(unquote(parts.path))
    return _UPLOADED.sub("", path.name) if parts.scheme or "upload" in path.parts else str(path)


def labelling_config(labels: Sequence[str]) -> str:
    """Label Studio's labelling interface for such tasks: a brush and polygons of these labels."""
    each = "".join(f"\n    <Label value={quoteattr(label)}/>" for label in labels)
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true" zoomControl="true"/>\n'
        f'  <BrushLabels name="brush" toName="image">{each}\n  </BrushLabels>\n'
        f'  <PolygonLabels name="polygon" toName="image">{each}\n  </PolygonLabels>\n</View>\n'
    )
