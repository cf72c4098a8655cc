"""COCO annotation files: reading, checking, choosing images, run-length encoded masks.

A file's rows are checked one by one. What contradicts the rest is left out and listed, with a reason, in
`CocoSplit.skipped`; a file of which nothing can be trusted is an error.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
import numpy as np
import pandas as pd

from segscope.artefacts.skipped import skip, skipped_table
from segscope.errors import SegscopeError

MAX_CATEGORY_ID = 254  # masks are 8 bits: 0 is background, 255 ignore

_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Length = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Image(msgspec.Struct):
    id: _Id
    file_name: str
    width: _Length
    height: _Length


class _Category(msgspec.Struct):
    id: _Id
    name: Annotated[str, msgspec.Meta(min_length=1)]
    supercategory: str | None = None


class _Annotation(msgspec.Struct):
    id: _Id
    image_id: _Id
    category_id: _Id
    iscrowd: int | bool | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _Document(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[_Category]


@dataclass(frozen=True)
class CocoSplit:
    """One annotation file.

    images: image_id, source_id (the file's own, here the same), file_name, width, height (pixels), group (text or
    None). annotations: annotation_id, image_id, category_id, iscrowd, segmentation (JSON, undecoded), ordered by image
    and annotation.
    categories: category_id, source_id (the file's own, the same unless that does not fit a mask), name,
    supercategory. skipped: image_id, annotation_id, file_name, reason, detail of each row that is left out.
    """

    images: pd.DataFrame
    annotations: pd.DataFrame
    categories: pd.DataFrame
    skipped: pd.DataFrame


def read_coco(path: Path | str, group: str | None = None) -> CocoSplit:
    """Read a COCO instances file. group: as of `parse_coco`. Raises SegscopeError if it is not one."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise SegscopeError(f"annotation file {path} cannot be read: {error.strerror}") from error
    return parse_coco(text, path, group)


def parse_coco(text: bytes, path: Path | str, group: str | None = None) -> CocoSplit:
    """Check and index the text of a COCO document; `path` names it in errors.

    group: a field of its images, that says which belong together; SegscopeError if none has it.

    Segmentations stay undecoded views of `text`, so that the largest file costs little more than its own size.
    """
    try:
        document = msgspec.json.decode(text.removeprefix(codecs.BOM_UTF8), type=_Document)
    except msgspec.ValidationError as error:
        raise SegscopeError(f"{path} is not a COCO instances file: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SegscopeError(f"annotation file {path} is not JSON (is it truncated?): {error}") from error
    skipped: list[dict[str, Any]] = []
    categories = _categories(document.categories, path)
    images, known = _images(document.images, skipped)
    groups = _groups(document.images, group, path) if group else {}
    images["group"] = images["image_id"].map(groups).astype(object).where(lambda each: each.notna(), None)
    annotations = _annotations(document.annotations, categories, known, skipped)
    annotations = annotations[annotations["image_id"].isin(images["image_id"])].reset_index(drop=True)
    return CocoSplit(images, annotations, categories, skipped_table(skipped))


def _rows(raws: list[msgspec.Raw], kind: type, name: str, skipped: list[dict[str, Any]]) -> list[Any]:
    """Decode rows; those that are not of `kind` are listed as malformed."""
    decode: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder(kind).decode
    rows = []
    for number, raw in enumerate(raws):
        try:
            rows.append(decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            skipped.append(skip("malformed", f"{name}[{number}]: {error}"))
    return rows


def _images(raws: list[msgspec.Raw], skipped: list[dict[str, Any]]) -> tuple[pd.DataFrame, set[int]]:
    """The usable images, by id; and the ids of all, so that a skipped image's annotations are not unknown."""
    rows = _rows(raws, _Image, "images", skipped)
    table = pd.DataFrame(
        [(r.id, r.file_name, r.width, r.height) for r in rows], columns=["image_id", "file_name", "width", "height"]
    )
    unsafe = ~table["file_name"].map(_is_safe).astype(bool)
    repeated = table.duplicated() & ~unsafe
    ambiguous = table[~repeated]["image_id"].duplicated(keep=False).reindex(table.index, fill_value=False) & ~unsafe
    for bad, reason, detail in (
        (unsafe, "unsafe_file_name", "file_name must be a relative path inside the image folder"),
        (repeated, "duplicate_id", "the same image is listed before"),
        (ambiguous, "duplicate_id", "several images have this id"),
    ):
        skipped += [skip(reason, detail, r.image_id, None, r.file_name) for r in table[bad].itertuples()]
    usable = table[~(unsafe | repeated | ambiguous)].sort_values("image_id", ignore_index=True)
    usable.insert(1, "source_id", usable["image_id"])
    return usable.astype({"image_id": np.int64, "source_id": np.int64, "width": np.int64, "height": np.int64}), set(
        table["image_id"]
    )


def _groups(raws: list[msgspec.Raw], field: str, path: Path | str) -> dict[int, str]:
    """The text of a field, by the id of each image that has it. Raises SegscopeError if none has."""
    decode, groups, fields = msgspec.json.Decoder(dict[str, Any]).decode, {}, set[str]()
    for raw in raws:
        try:
            row = decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # listed as malformed
        fields |= row.keys()
        if row.get(field) is not None and isinstance(row.get("id"), int):
            groups[row["id"]] = str(row[field])
    if not groups:
        raise SegscopeError(
            f"data.group: no image of {path} has a field {field}; there are {_some(sorted(fields), 20)}"
        )
    return groups


def _is_safe(file_name: str) -> bool:
    path = PurePosixPath(file_name)
    odd = any(not c.isprintable() for c in file_name) or "\\" in file_name
    return not (odd or path.is_absolute() or ".." in path.parts or not path.parts or file_name.endswith("/"))


def _categories(rows: list[_Category], path: Path | str) -> pd.DataFrame:
    table = pd.DataFrame(
        [(r.id, r.name, r.supercategory if r.supercategory not in (None, "", "none") else r.name) for r in rows],
        columns=["source_id", "name", "supercategory"],
    ).sort_values("source_id", ignore_index=True)
    for column in ("source_id", "name"):
        if table[column].duplicated().any():
            repeated = table.loc[table[column].duplicated(), column].unique().tolist()
            what = "ids" if column == "source_id" else "names"
            raise SegscopeError(f"{path}: category {what} must be unique; repeated: {_some(repeated)}")
    if len(table) > MAX_CATEGORY_ID:
        raise SegscopeError(f"{path} has {len(table)} categories; masks of 8 bits hold at most {MAX_CATEGORY_ID}")
    fits = table["source_id"].between(1, MAX_CATEGORY_ID).all()
    table.insert(0, "category_id", table["source_id"] if fits else np.arange(1, len(table) + 1))
    return table.astype({"source_id": np.int64, "category_id": np.int64})


def _annotations(
    raws: list[msgspec.Raw], categories: pd.DataFrame, known_images: set[int], skipped: list[dict[str, Any]]
) -> pd.DataFrame:
    rows = _rows(raws, _Annotation, "annotations", skipped)
    table = pd.DataFrame(
        {
            "annotation_id": np.array([r.id for r in rows], np.int64),
            "image_id": np.array([r.image_id for r in rows], np.int64),
            "source_id": np.array([r.category_id for r in rows], np.int64),
            "iscrowd": np.array([bool(r.iscrowd) for r in rows], bool),
            "segmentation": pd.Series([r.segmentation for r in rows], dtype=object),
        }
    )
    unknown_image = ~table["image_id"].isin(known_images)
    unknown_category = ~table["source_id"].isin(categories["source_id"]) & ~unknown_image
    repeated = table["annotation_id"].duplicated() & ~unknown_image & ~unknown_category
    for bad, reason, column, detail in (
        (unknown_image, "unknown_image", "image_id", "image {} is not in the file"),
        (unknown_category, "unknown_category", "source_id", "category {} is not in the file"),
        (repeated, "duplicate_id", "annotation_id", "an annotation before has id {}"),
    ):
        for row in table[bad].itertuples():
            skipped.append(skip(reason, detail.format(getattr(row, column)), row.image_id, row.annotation_id))
    table = table[~(unknown_image | unknown_category | repeated)]
    category_id = categories.set_index("source_id")["category_id"]
    table = table.assign(category_id=table["source_id"].map(category_id).astype(np.int64))
    columns = ["annotation_id", "image_id", "category_id", "iscrowd", "segmentation"]
    return table.sort_values(["image_id", "annotation_id"], ignore_index=True)[columns]


def _some(values: Sequence[Any], most: int = 5) -> str:
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")
