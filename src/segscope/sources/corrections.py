"""Corrected labels: data.corrections, a COCO file or Label Studio's export, as tables of this run's images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from segscope.artefacts.skipped import explain
from segscope.errors import SegscopeError
from segscope.limits import MAX_ANNOTATION_BYTES, read_within
from segscope.sources.categories import one_line, some
from segscope.sources.coco import CocoSplit, parse_categories, parse_coco
from segscope.sources.ids import id_number, id_text
from segscope.sources.json_text import decode
from segscope.sources.label_studio import is_label_studio, read_label_studio
from segscope.sources.labelled import as_coco
from segscope.sources.names import by_file_name
from segscope.taxonomy import find_categories

PROPOSED = "proposed: "  # before the category of what an export suggests, until somebody takes it away
ANNOTATION_COLUMNS = ["image_id", "annotation_id", "category_id", "iscrowd", "segmentation"]
_EDIT = {"image_id": "int64", "annotation_id": "int64", "category_id": "Int64"}


class _Info(msgspec.Struct):
    segscope_source: str | None = None


class _Said(msgspec.Struct):
    annotation_id: int | None = None


class _Edit(msgspec.Struct):
    image_id: int | float | str | None = None
    id: int | float | str | None = None
    category_id: int | float | str | None = None
    removed: bool = False
    segmentation: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    segscope: _Said | None = None

    @property
    def is_edit(self) -> bool:
        return self.removed or self.segmentation is msgspec.UNSET


class _Document(msgspec.Struct):
    images: list[msgspec.Raw] = []
    annotations: list[msgspec.Raw] = []
    categories: list[msgspec.Raw] = []
    info: _Info | None = None


def read_corrections(
    path: Path | str, source: str, index: pd.DataFrame, categories: pd.DataFrame
) -> tuple[list[int], pd.DataFrame, pd.DataFrame, list[str]]:
    """What a file of corrected labels says of this run's images.

    An image of the file gets the labels that the file has of it, in place of all that it had. But where none of them
    has an outline they are single edits: of the annotation of that id another `category_id`, or `removed: true`. An
    image that is listed without any loses all that it had, but for a file of edits: there a wrong id would do that.
    Images are found by `file_name`; by `id` in a file whose `info.segscope_source` says that it is of `source`
    (`Data.origin`), where edits need no row of their image. A category is found by its name; what is still called
    `proposed: …` is left out. index: rows of index.parquet. categories: of categories.parquet.

    Returns the images whose labels are replaced, the new rows of annotations.parquet, the edits (image_id,
    annotation_id, category_id or NA: removed), and what a person should know. Raises SegscopeError if the file cannot
    be read as a whole, is of another source, names images of other sizes, or edits one that there is not.
    """
    path = Path(path)
    where = f"data.corrections: {path}"
    try:
        text = read_within(path, MAX_ANNOTATION_BYTES)
    except OSError as error:
        raise SegscopeError(f"{where} cannot be read: {error.strerror}") from error
    try:
        split, edits, sources = _parse(text, path)
    except SegscopeError as error:
        raise SegscopeError(f"data.corrections: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SegscopeError(f"{where} is neither COCO nor Label Studio's export: {error}") from error
    if sources - {source}:
        raise SegscopeError(
            f"{where} is of source {some(sorted(sources - {source}))}, and this run's is {source!r}: name another file"
        )
    if len(split.skipped):
        raise SegscopeError(
            f"{where} has rows that cannot be read, and a correction must not lose any: {explain(split.skipped)}"
        )
    ids, unknown = _images(split.images, index, bool(sources), where)
    notes = list(split.notes)
    if unknown:
        notes.append(f"{path}: {len(unknown)} of {len(split.images)} images are not in this run: {some(unknown, 3)}")
    labels = split.annotations[split.annotations["image_id"].isin(ids)]
    labels = labels.assign(
        image_id=labels["image_id"].map(ids),
        category=labels["category_id"].map(split.categories.set_index("category_id")["name"]),
    )
    edited = _of_images(edits, set(split.images["image_id"]), ids, set(index["image_id"]) if sources else set(), where)
    whole, bare = set(labels["image_id"]), set(ids.values()) - {*labels["image_id"], *edited["image_id"]}
    if edits.empty:
        whole |= bare
    elif bare:
        notes.append(
            f"{path}: {len(bare)} images are listed without labels beside edits of single annotations: they keep theirs"
        )
    if mixed := set(edited["image_id"]) & whole:
        raise SegscopeError(
            f"{where}: of image {min(mixed)} some annotations have an outline and some have none: give all of the "
            "image's labels, or only what is changed or removed"
        )
    left = labels["category"].map(lambda name: name.startswith(PROPOSED)).astype(bool)
    if left.any():
        notes.append(f"{path}: {left.sum()} annotations are still called {PROPOSED!r}…, and left out")
    rows = labels[~left]
    category = _categories({*rows["category"], *edited["category"].dropna()}, categories, where)
    rows, edited = (
        table.assign(category_id=table["category"].map(category).astype("Int64")) for table in (rows, edited)
    )
    if (twice := edited.duplicated(["image_id", "annotation_id"])).any():
        image, annotation = edited.loc[twice, ["image_id", "annotation_id"]].iloc[0]
        raise SegscopeError(f"{where}: annotation {annotation} of image {image} is edited twice: which edit holds?")
    new = rows[ANNOTATION_COLUMNS].astype({"image_id": "int64", "category_id": "int64"})
    new["segmentation"] = new["segmentation"].map(bytes)
    return sorted(whole), new.reset_index(drop=True), edited[list(_EDIT)].reset_index(drop=True).astype(_EDIT), notes


def _parse(text: bytes, path: Path) -> tuple[CocoSplit, pd.DataFrame, set[str]]:
    """The file's labels, its edits of single annotations, and the sources that it says it is of."""
    if text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        tasks, _ = decode(text, list[Any], path)
        if is_label_studio(tasks):
            found, sources = read_label_studio(tasks, path)
            return as_coco(found), _edits([], {}, path), sources
    coco, _ = decode(text, _Document, path)
    decoder = msgspec.json.Decoder(_Edit)
    rows = [_under_own_id(raw, decoder.decode(raw)) for raw in coco.annotations]
    categories = parse_categories(coco.categories, path)
    used = {id_text(row.category_id) for _, row in rows if not row.is_edit}
    whole = {
        "images": coco.images,
        "annotations": [raw for raw, row in rows if not row.is_edit],
        # No others: what only edits name has no labels here, and would be taken for the root of a tree of categories.
        "categories": categories[categories["source_id"].isin(used)]
        .rename(columns={"source_id": "id"})[["id", "name", "supercategory"]]
        .to_dict("records"),
    }
    names = dict(zip(categories["source_id"], categories["name"].map(one_line), strict=True))
    stamp = coco.info.segscope_source if coco.info else None
    return (
        parse_coco(msgspec.json.encode(whole), path),
        _edits([row for _, row in rows if row.is_edit], names, path),
        {stamp} if stamp else set(),
    )


def _under_own_id(raw: msgspec.Raw, row: _Edit) -> tuple[msgspec.Raw, _Edit]:
    """An annotation, as text and read, under the id that it has in the run, where it was exported under another."""
    own = row.segscope.annotation_id if row.segscope else None
    if own is None:
        return raw, row
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]) | {"id": msgspec.Raw(str(own).encode())}
    return msgspec.Raw(msgspec.json.encode(fields)), msgspec.structs.replace(row, id=own)


def _edits(edits: Sequence[_Edit], names: Mapping[str, str], path: Path) -> pd.DataFrame:
    """image_id and annotation_id, as numbers, and the category's name, None where the annotation is removed.

    names: the file's categories, by their own ids as text.
    """
    rows = []
    for edit in edits:
        image, own, category = (id_text(value) for value in (edit.image_id, edit.id, edit.category_id))
        if image is None or own is None or (category is None and not edit.removed):
            raise SegscopeError(
                f"{path}: an annotation without outline needs image_id, id, and category_id or `removed: true`: {edit}"
            )
        if not edit.removed and category not in names:
            raise SegscopeError(
                f"{path}: annotation {own} of image {image} gets category {category}, which the file does not name: "
                f'add it to its categories, as {{"id": {category}, "name": "…"}}'
            )
        rows.append((id_number(image), id_number(own), None if edit.removed else names[str(category)]))
    columns = {"image_id": "int64", "annotation_id": "int64", "category": object}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _images(images: pd.DataFrame, index: pd.DataFrame, stamped: bool, where: str) -> tuple[dict[int, int], list[str]]:
    """The run's image_id of each of the file's, and the names of those that the run does not have."""
    paths, own = index["path"].tolist(), index["image_id"].tolist()
    place = {image_id: n for n, image_id in enumerate(own)}
    size = list(zip(index["width"].tolist(), index["height"].tolist(), strict=True))
    ids, taken = dict[int, int](), set[int]()
    unknown = []
    for row, found in zip(images.itertuples(), by_file_name(images["file_name"], paths), strict=True):
        known = place.get(row.image_id) if stamped else None
        if known is not None and (known in found or not row.file_name):
            found = [known]
        if len(found) > 1:
            raise SegscopeError(
                f"{where}: file_name {row.file_name!r} may mean {some([paths[n] for n in found], 3)}: write more of it"
            )
        if not found:
            unknown.append(row.file_name)
            continue
        (n,) = found
        if row.width and (row.width, row.height) != size[n]:
            raise SegscopeError(
                f"{where}: image {row.file_name!r} is of {row.width}×{row.height} pixels, and {paths[n]} of "
                f"{size[n][0]}×{size[n][1]}: it is another image, or was scaled"
            )
        if n in taken:
            raise SegscopeError(f"{where}: image {paths[n]} is listed twice")
        taken.add(n)
        ids[row.image_id] = own[n]
    if unknown and not ids:
        raise SegscopeError(
            f"{where}: none of its {len(images)} images is in this run ({some(unknown, 3)}): is it another source's?"
        )
    return ids, unknown


def _of_images(
    edits: pd.DataFrame, listed: set[int], ids: Mapping[int, int], own: set[int], where: str
) -> pd.DataFrame:
    """The edits under the run's image_id, without those of listed images that the run does not have.

    listed: the file's images; ids: those found, as of `_images`. own: the run's, if the file may name them by id alone.
    """
    image_of = {image_id: image_id for image_id in own - listed} | dict(ids)
    for image in edits["image_id"]:
        if image not in image_of and image not in listed:
            raise SegscopeError(
                f"{where}: an edit is of image {image}, which is neither among the file's images nor known by its id: "
                "add it with its file_name, or mend the id; ids of the run's images count in a file whose "
                "info.segscope_source names the run's source"
            )
    edits = edits[edits["image_id"].isin(image_of)]
    return edits.assign(image_id=edits["image_id"].map(image_of).astype("int64"))


def _categories(names: Iterable[str], categories: pd.DataFrame, where: str) -> dict[str, int]:
    """The run's category_id of each name."""
    named = categories[["category_id", "name"]].assign(supercategory="")
    found = {}
    for name in sorted(names):
        own = set(find_categories(name, named))
        if len(own) != 1:
            raise SegscopeError(
                f"{where}: category {name!r} is not one of the data's: {some(categories['name'].tolist(), 100)}"
            )
        (found[name],) = own
    return found
