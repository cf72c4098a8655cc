"""Labels that take the place of others: data.corrections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pycocotools import mask as rle_api
from scipy.optimize import linear_sum_assignment

from segscope.artefacts.schemas import ANNOTATIONS, CORRECTIONS
from segscope.artefacts.segmentation import decode_segmentation
from segscope.errors import SegscopeError
from segscope.taxonomy import IGNORE

SAME = 0.5  # IoU, from which on two annotations of different ids are of one object
CHANGES = {"category": "of another category", "outline": "of another outline", "added": "added", "removed": "removed"}
_Outlines = dict[int, Mapping[str, Any]]


class Corrections(NamedTuple):
    """images: whose labels are replaced. annotations: the new ones, as of annotations.parquet.

    edits: image_id, annotation_id, category_id (NA: removed) of single annotations of other images.
    """

    images: Sequence[int]
    annotations: pd.DataFrame
    edits: pd.DataFrame


def correct(
    corrections: Corrections, annotations: pa.Table, index: pd.DataFrame
) -> tuple[pa.Table, pd.DataFrame, str | None]:
    """The annotations with what is corrected, what that changed as rows of corrections.parquet, and that in a line.

    annotations: rows of annotations.parquet. index: of index.parquet. Raises SegscopeError if a new outline cannot be
    used.
    """
    images = len({*corrections.images, *corrections.edits["image_id"]})
    if not images:
        return annotations, CORRECTIONS.empty_table().to_pandas(), None
    after, unknown = apply_corrections(corrections, annotations)
    changed = changes(corrections, annotations, after, index)
    n = Counter(changed["change"])
    parts = [f"{n[kind]} {words}" for kind, words in CHANGES.items() if n[kind]]
    parts += [f"{unknown} of no annotation that there is"] if unknown else []
    return after, changed, f"corrected labels: of {images} images {', '.join(parts) or 'none differs'}"


def apply_corrections(corrections: Corrections, annotations: pa.Table) -> tuple[pa.Table, int]:
    """The annotations with what is corrected, ordered, and how many edits are of an annotation that there is none of.

    annotations: rows of annotations.parquet, before any is excluded: of category 255 is then what the source says is to
    be ignored. It is no label, is in no file of corrections, and stays.
    """
    table = annotations.to_pandas()
    void = table["category_id"] == IGNORE
    edits = corrections.edits.set_index(["image_id", "annotation_id"])["category_id"]
    place = edits.index.get_indexer(pd.MultiIndex.from_frame(table[["image_id", "annotation_id"]]))
    place[void] = -1
    wanted = edits.reset_index(drop=True).reindex(place).set_axis(table.index)
    kept = (place < 0) | wanted.notna().to_numpy()
    table["category_id"] = wanted.where(place >= 0, table["category_id"]).fillna(0).astype("int32")
    table = table[void | (kept & ~table["image_id"].isin(corrections.images))]
    new = corrections.annotations.astype({"category_id": "int32"})
    # Below all objects, as it was: a file of corrections may number from 0.
    lowest = table["image_id"].map(new.groupby("image_id")["annotation_id"].min()).fillna(1).astype("int64")
    table["annotation_id"] = table["annotation_id"].where(~void, np.minimum(table["annotation_id"], lowest - 1))
    table = pd.concat([table, new]).sort_values(["image_id", "annotation_id"])
    unknown = len(edits) - len(set(place[place >= 0]))
    return pa.Table.from_pandas(table[ANNOTATIONS.names], ANNOTATIONS, preserve_index=False), unknown


def changes(corrections: Corrections, before: pa.Table, after: pa.Table, index: pd.DataFrame) -> pd.DataFrame:
    """What the corrections change: rows of corrections.parquet.

    before, after: rows of annotations.parquet. index: of index.parquet. Annotations of one id are one object, and so
    are those that overlap by SAME or more; what is to be ignored is none. Raises SegscopeError if one cannot be used
    that the corrections name; the source's others are listed where masks are made.
    """
    ids = set(corrections.images) | set(corrections.edits["image_id"])
    images = index[index["image_id"].isin(ids)].set_index("image_id")
    wanted = pc.is_in(pc.field("image_id"), pa.array(sorted(ids), pa.int64())) & (pc.field("category_id") != IGNORE)
    tables = [table.filter(wanted) for table in (before, after)]
    old, new = (dict(list(table.to_pandas().groupby("image_id"))) for table in tables)
    held = pd.concat([corrections.annotations, corrections.edits]).groupby("image_id")["annotation_id"].agg(set)
    rows = []
    for image in images.itertuples():
        empty = tables[0].schema.empty_table().to_pandas()
        pair = [each.get(image.Index, empty) for each in (old, new)]
        for row in _changes(pair[0], pair[1], held.get(image.Index, set()), (image.height, image.width)):
            rows.append({"image_id": image.Index, "split": image.split, **row})
    columns = ["image_id", "split", "annotation_id", "change", "category_id", "was", "iou"]
    return pd.DataFrame(rows, columns=columns).astype({"was": "Int64", "category_id": "Int64"})


def _changes(old: pd.DataFrame, new: pd.DataFrame, held: set[int], size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Of one image. held: the annotation_id of those that the corrections name."""
    before, after = _outlines(old, size, set()), _outlines(new, size, held)
    was, now = (rows.set_index("annotation_id")["category_id"] for rows in (old, new))
    for a, b, iou in _matched(before, after):
        if was[a] != now[b] or iou < 1:
            kind = "category" if was[a] != now[b] else "outline"
            yield {"annotation_id": b, "change": kind, "category_id": now[b], "was": was[a], "iou": iou}
        del before[a], after[b]
    for a in before:
        yield {"annotation_id": a, "change": "removed", "category_id": None, "was": was[a], "iou": 0.0}
    for b in after:
        yield {"annotation_id": b, "change": "added", "category_id": now[b], "was": None, "iou": 0.0}


def _matched(before: _Outlines, after: _Outlines) -> list[tuple[int, int, float]]:
    """Pairs of ids that are of one object, and their IoU: those of one id, and of the others the best."""
    if not before or not after:
        return []
    overlap = np.asarray(rle_api.iou(list(before.values()), list(after.values()), [0] * len(after)))
    ids = np.array(list(before)), np.array(list(after))
    score = np.where(overlap >= SAME, overlap, 0) + len(overlap) * (ids[0][:, None] == ids[1])
    pairs = zip(*linear_sum_assignment(score, maximize=True), strict=True)
    return [(int(ids[0][i]), int(ids[1][j]), float(overlap[i, j])) for i, j in pairs if score[i, j] > 0]


def _outlines(rows: pd.DataFrame, size: tuple[int, int], needed: set[int]) -> _Outlines:
    """The run-length code of each annotation that has one, by id; SegscopeError if a needed one has none.

    size: height and width of the image.
    """
    found: _Outlines = {}
    for row in rows.itertuples():
        try:
            counts, _ = decode_segmentation(row.segmentation, *size)
        except SegscopeError as error:
            if row.annotation_id in needed:
                raise SegscopeError(
                    f"data.corrections: annotation {row.annotation_id} of image {row.image_id} cannot be used: {error}"
                ) from error
            continue
        found[row.annotation_id] = {"size": list(size), "counts": counts.encode("ascii")}
    return found
