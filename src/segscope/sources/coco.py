"""COCO annotation files: reading and checking.

What can be meant is read, however an exporter spells it; a file's rows are checked one by one. What contradicts the
rest is left out and listed, with a reason, in `CocoSplit.skipped`; a file of which nothing can be trusted is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd

from segscope.artefacts.skipped import skip, skipped_table
from segscope.errors import SegscopeError
from segscope.limits import MAX_ANNOTATION_BYTES, read_within
from segscope.params import shown
from segscope.sources.categories import clean, some
from segscope.sources.ids import free_ids, id_number, id_numbers, id_text, whole
from segscope.sources.json_text import decode

_Id = int | float | str | None
_Raws = list[msgspec.Raw] | dict[str, msgspec.Raw]
_CROWD = {"0": False, "1": True, "false": False, "true": True, "": False}


class _Image(msgspec.Struct):
    id: _Id
    file_name: str
    width: Any = None
    height: Any = None


class _Category(msgspec.Struct):
    id: _Id
    name: str | int | float
    supercategory: str | int | float | None = None


class _Annotation(msgspec.Struct):
    image_id: _Id
    category_id: _Id
    id: _Id = None
    iscrowd: int | float | str | bool | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _Document(msgspec.Struct):
    images: _Raws
    annotations: _Raws
    categories: _Raws


Row = TypeVar("Row", _Image, _Category, _Annotation)


@dataclass(frozen=True)
class CocoSplit:
    """One annotation file.

    images: image_id, source_id (text, the file's own), file_name, width, height (pixels, 0 where the file does not
    say), group (text or None). annotations: annotation_id, image_id, category_id, iscrowd, segmentation (JSON,
    undecoded), ordered by image and annotation. categories: category_id, source_id (text, the file's own), name,
    supercategory. skipped: image_id, annotation_id, file_name, reason, detail of each row that is left out. notes: what
    is read otherwise than it is written.
    """

    images: pd.DataFrame
    annotations: pd.DataFrame
    categories: pd.DataFrame
    skipped: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_coco(path: Path | str, group: str | None = None) -> CocoSplit:
    """Read a COCO instances file. group: as of `parse_coco`. Raises SegscopeError if it is not one."""
    try:
        text = read_within(path, MAX_ANNOTATION_BYTES)
    except OSError as error:
        raise SegscopeError(f"annotation file {path} cannot be read: {error.strerror}") from error
    return parse_coco(text, path, group, one_folder=True)


def parse_coco(text: bytes, path: Path | str, group: str | None = None, one_folder: bool = False) -> CocoSplit:
    """Check and index the text of a COCO document; `path` names it in errors.

    group: a field of its images, that says which belong together; SegscopeError if none has it. one_folder: whether all
    names are of one folder, so that a name is one picture under whatever ids: corrections name both splits' alike.

    Segmentations stay undecoded views of `text`, so that the largest file costs little more than its own size.
    """
    document, notes = _document(text, path)
    skipped: list[dict[str, Any]] = []
    images, known = _images(document.images, skipped, one_folder)
    groups = _groups(document.images, group, path) if group else {}
    groups = {known[own]: groups[own] for own in sorted(groups, reverse=True) if own in known}  # the lowest's, if any
    images["group"] = images["image_id"].map(groups).astype(object).where(lambda each: each.notna(), None)
    annotations, said = _annotations(document.annotations, known, skipped, path)
    categories, category_of, changed = clean(
        parse_categories(document.categories, path), annotations["category"].unique(), path
    )
    annotations = _of_categories(annotations, category_of, skipped)
    annotations = annotations[annotations["image_id"].isin(images["image_id"])].reset_index(drop=True)
    again = sum(other != own for own, other in known.items())
    if again:
        notes.append(f"{path}: {again} pictures are listed once more under another id: their annotations are joined")
    notes += [*said, *changed]
    return CocoSplit(images, annotations, categories, skipped_table(skipped), tuple(notes))


def _document(text: bytes, path: Path | str) -> tuple[_Document, list[str]]:
    """The document, also where it is the one item of a list."""
    try:
        try:
            return decode(text, _Document, path)
        except msgspec.ValidationError as error:
            if not str(error).startswith("Expected `object`, got `array`"):
                raise
            documents, notes = decode(text, list[msgspec.Raw], path)
            if len(documents) != 1:
                raise SegscopeError(
                    f"{path} is not a COCO instances file: it is a list of {len(documents)}, as COCO's results are; "
                    "an instances file holds images, annotations and categories"
                ) from error
            return msgspec.json.decode(documents[0], type=_Document), notes
    except msgspec.ValidationError as error:
        raise SegscopeError(f"{path} is not a COCO instances file: {error}") from error


def _listed(raws: _Raws) -> list[msgspec.Raw]:
    return list(raws.values()) if isinstance(raws, dict) else raws


def _rows(raws: _Raws, kind: type[Row], name: str, skipped: list[dict[str, Any]]) -> tuple[list[Row], list[int]]:
    """Decode rows, with their numbers; those that are not of `kind` are listed as malformed."""
    decoder = msgspec.json.Decoder(kind)
    rows, numbers = [], []
    for number, raw in enumerate(_listed(raws)):
        try:
            rows.append(decoder.decode(raw))
            numbers.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            skipped.append(skip("malformed", _malformed(f"{name}[{number}]", raw, error)))
    return rows, numbers


def _malformed(row: str, raw: msgspec.Raw, error: Exception) -> str:
    """Which field is wrong, how, and its value."""
    if isinstance(error, UnicodeDecodeError):
        return f"{row}: it is not in UTF-8: convert the file, as `iconv -f LATIN1 -t UTF-8` does"
    if isinstance(error, RecursionError):
        return f"{row}: it is nested too deeply to be read"
    what, _, field = str(error).partition(" - at `$.")
    field = field.removesuffix("`")
    if not field:
        return f"{row}: {what}"
    try:
        return f"{row}.{field}: {what}: {shown(msgspec.json.decode(raw)[field])}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # another of its fields is wrong, too
        return f"{row}.{field}: {what}"


def _no_id(row: str, field: str, value: object) -> dict[str, Any]:
    return skip("malformed", f"{row}.{field}: it is no id: {shown(value)}")


def _images(raws: _Raws, skipped: list[dict[str, Any]], one_folder: bool) -> tuple[pd.DataFrame, dict[int, int]]:
    """The usable images, by id; and all ids, so that a skipped image's annotations are not unknown, each with itself.

    Of one folder a file under several ids is one image, of the lowest, unless sizes differ; the others' have that.
    """
    rows, numbers = _rows(raws, _Image, "images", skipped)
    ids = id_numbers([r.id for r in rows])
    skipped += [_no_id(f"images[{numbers[i]}]", "id", rows[i].id) for i in np.flatnonzero(ids.isna())]
    table = pd.DataFrame(
        {
            "image_id": ids,
            "source_id": [id_text(r.id) for r in rows],
            "file_name": [r.file_name for r in rows],
            "width": [_length(r.width) for r in rows],
            "height": [_length(r.height) for r in rows],
        }
    )[ids.notna().to_numpy()]
    unsized = (table["width"] == 0) | (table["height"] == 0)
    table.loc[unsized, ["width", "height"]] = 0
    if one_folder:
        _size_as_others(table)
    repeated = table.duplicated()
    ambiguous = table[~repeated]["image_id"].duplicated(keep=False).reindex(table.index, fill_value=False)
    for bad, detail in ((repeated, "the same image is listed before"), (ambiguous, "several images have this id")):
        skipped += [skip("duplicate_id", detail, r.image_id, None, r.file_name) for r in table[bad].itertuples()]
    usable = table[~(repeated | ambiguous)].sort_values("image_id", ignore_index=True)
    usable = usable.astype({"image_id": np.int64, "width": np.int64, "height": np.int64})
    of = {i: i for i in table["image_id"]}
    if not one_folder:
        return usable, of
    joined = usable.groupby(["file_name", "width", "height"], sort=False)["image_id"].transform("min")
    of |= zip(usable["image_id"].tolist(), joined.tolist(), strict=True)
    return usable[usable["image_id"] == joined].reset_index(drop=True), of


def _size_as_others(table: pd.DataFrame) -> None:
    """Give rows without width and height (0) those of other rows of their file, where these all say the same."""
    sized = table[table["width"] > 0].drop_duplicates(["file_name", "width", "height"])
    size_of = sized.drop_duplicates("file_name", keep=False).set_index("file_name")
    unsized = table["width"] == 0
    for side in ("width", "height"):
        table.loc[unsized, side] = table.loc[unsized, "file_name"].map(size_of[side]).fillna(0).astype(np.int64)


def _length(value: object) -> int:
    """A length in pixels; 0 where there is none."""
    pixels = whole(value)
    return pixels if pixels is not None and 1 <= pixels < 2**31 else 0


def _groups(raws: _Raws, field: str, path: Path | str) -> dict[int, str]:
    """The text of a field, by the id of each image that has it. Raises SegscopeError if none has."""
    decoder, groups, fields = msgspec.json.Decoder(dict[str, Any]), {}, set[str]()
    for raw in _listed(raws):
        try:
            row = decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # listed as malformed
        fields |= row.keys()
        text = id_text(row.get("id"))
        if row.get(field) is not None and text is not None:
            groups[id_number(text)] = str(row[field])
    if not groups:
        raise SegscopeError(f"data.group: no image of {path} has a field {field}; there are {some(sorted(fields), 20)}")
    return groups


def parse_categories(raws: _Raws, path: Path | str) -> pd.DataFrame:
    """number, source_id, name, supercategory (text or None), as the file has them, by number where these are its ids.

    Raises SegscopeError if one is malformed, or an id is there twice.
    """
    wrong: list[dict[str, Any]] = []
    rows, numbers = _rows(raws, _Category, "categories", wrong)
    for number, row in zip(numbers, rows, strict=True):
        if id_text(row.id) is None:
            wrong.append(_no_id(f"categories[{number}]", "id", row.id))
        if not str(row.name).strip():
            wrong.append(skip("malformed", f"categories[{number}].name: it is empty: {shown(row.name)}"))
    if wrong:
        raise SegscopeError(f"{path} is not a COCO instances file: {wrong[0]['detail']}")
    table = pd.DataFrame(
        {
            "number": id_numbers([r.id for r in rows]).astype(np.int64),
            "source_id": pd.Series([id_text(r.id) for r in rows], dtype=object),
            "name": pd.Series([str(r.name) for r in rows], dtype=object),
            "supercategory": pd.Series(
                [None if r.supercategory is None else str(r.supercategory) for r in rows], dtype=object
            ),
        }
    ).drop_duplicates()
    if table["number"].duplicated().any():
        repeated = table.loc[table["number"].duplicated(), "source_id"].unique().tolist()
        raise SegscopeError(f"{path}: category ids must be unique; repeated: {some(repeated)}")
    numeric = table["number"].astype(str).eq(table["source_id"]).all()
    return table.sort_values("number", ignore_index=True) if numeric else table


def _annotations(
    raws: _Raws, known_images: Mapping[int, int], skipped: list[dict[str, Any]], path: Path | str
) -> tuple[pd.DataFrame, list[str]]:
    """The annotations of known images, their categories as numbers of the file, and what was changed in them.

    known_images: the id that each image's annotations get, by its own.
    """
    rows, numbers = _rows(raws, _Annotation, "annotations", skipped)
    ids = {field: id_numbers([getattr(r, field) for r in rows]) for field in ("id", "image_id", "category_id")}
    crowd, bad_crowd = _crowds([r.iscrowd for r in rows])
    good = np.ones(len(rows), bool)
    for field in ("image_id", "category_id"):
        bad = np.flatnonzero(ids[field].isna() & good)
        good[bad] = False
        skipped += [_no_id(f"annotations[{numbers[i]}]", field, getattr(rows[i], field)) for i in bad]
    for i in bad_crowd:
        if good[i]:
            good[i] = False
            detail = f"annotations[{numbers[i]}].iscrowd: it is neither 0 nor 1: {shown(rows[i].iscrowd)}"
            skipped.append(skip("malformed", detail))
    table = pd.DataFrame(
        {
            "annotation_id": ids["id"],
            "image_id": ids["image_id"],
            "category": ids["category_id"],
            "iscrowd": crowd,
            "segmentation": pd.Series([r.segmentation for r in rows], dtype=object),
        }
    )[good].astype({"image_id": np.int64, "category": np.int64})
    unknown = ~table["image_id"].isin(known_images)
    for row in table[unknown].itertuples():
        skipped.append(
            skip("unknown_image", f"image {row.image_id} is not in the file", row.image_id, row.annotation_id)
        )
    table = table[~unknown].assign(image_id=lambda each: each["image_id"].map(known_images))
    shared = table.duplicated(["image_id", "annotation_id"], keep=False) & table["annotation_id"].notna()
    twice = table[shared].assign(segmentation=table.loc[shared, "segmentation"].map(bytes)).duplicated()
    for row in table[shared][twice].itertuples():
        skipped.append(skip("duplicate_id", "the same annotation is listed before", row.image_id, row.annotation_id))
    table = table.drop(index=twice.index[twice])
    anew = table["annotation_id"].isna() | table.duplicated(["image_id", "annotation_id"])
    if not anew.any():
        return table.astype({"annotation_id": np.int64}), []
    fresh = free_ids(table["annotation_id"].dropna().tolist(), int(anew.sum()))
    table.loc[anew, "annotation_id"] = fresh
    note = (
        f"{path}: {anew.sum()} annotations have no id, or one that another of their image has: numbered from {fresh[0]}"
    )
    return table.astype({"annotation_id": np.int64}), [note]


def _crowds(values: Sequence[object]) -> tuple[np.ndarray, list[int]]:
    """Whether annotations are crowds, and the positions of values that say neither."""
    crowds = [bool(v) if v in (0, 1) else _CROWD.get((id_text(v) or "").lower()) for v in values]
    return np.array([bool(crowd) for crowd in crowds], bool), [i for i, crowd in enumerate(crowds) if crowd is None]


def _of_categories(table: pd.DataFrame, category_of: pd.Series, skipped: list[dict[str, Any]]) -> pd.DataFrame:
    """The annotations under the ids of their categories, ordered; those of unknown ones are listed."""
    table = table.assign(category_id=table["category"].map(category_of))
    for row in table[table["category_id"].isna()].itertuples():
        detail = f"category {row.category} is not in the file"
        skipped.append(skip("unknown_category", detail, row.image_id, row.annotation_id))
    table = table[table["category_id"].notna()].astype({"category_id": np.int64})
    columns = ["annotation_id", "image_id", "category_id", "iscrowd", "segmentation"]
    return table.sort_values(["image_id", "annotation_id"], ignore_index=True)[columns]
