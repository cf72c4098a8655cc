"""Images and annotations that a review left out: data.exclude."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from segscope.artefacts.skipped import skip, skipped_table
from segscope.errors import SegscopeError
from segscope.limits import MAX_YAML_BYTES, read_within
from segscope.taxonomy import IGNORE
from segscope.yaml_text import parse_yaml

SCALE = 32  # of the bounds of YAML: pages write such files, too


@dataclass(frozen=True)
class Exclusion:
    """images: image_ids. annotations: the annotation_ids of each image."""

    images: frozenset[int] = frozenset()
    annotations: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def pairs(self) -> set[tuple[int, int]]:
        """(image_id, annotation_id) of the annotations."""
        return {(image_id, i) for image_id, ids in self.annotations.items() for i in ids}


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    source: str | None = None
    images: list[int] | None = None
    annotations: dict[int, list[int]] | None = None


def read_exclusion(path: Path | str, source: str) -> Exclusion:
    """Read a YAML file of `source`, `images: [image_id, …]` and `annotations: {image_id: [annotation_id, …], …}`.

    source: `Data.origin` of the run; a file of another source names other images. Raises SegscopeError naming what is
    wrong.
    """
    try:
        # YAML 1.2: file names hold ids with zeros before them, which YAML 1.1 takes for octal numbers.
        content = parse_yaml(read_within(path, SCALE * MAX_YAML_BYTES), f"data.exclude: {path}", SCALE)
        document = _Document.model_validate(content or {})
    except OSError as error:
        raise SegscopeError(f"data.exclude: {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise SegscopeError(
            f"data.exclude: {path}: {where}: {first['msg']}; it holds `source: …`, `images: [image_id, …]` and "
            "`annotations: {image_id: [annotation_id, …], …}`"
        ) from error
    if (document.images or document.annotations) and document.source != source:
        says = f"is of source {document.source!r}" if document.source else "does not say which source it is of"
        raise SegscopeError(
            f"data.exclude: {path} {says}, and the ids of another source mean other images; this run's is {source!r}: "
            f"name another file, or, if the file is of this source, put `source: {json.dumps(source)}` into it"
        )
    annotations = {image_id: frozenset(ids) for image_id, ids in (document.annotations or {}).items()}
    return Exclusion(frozenset(document.images or ()), annotations)


def apply_exclusion(
    exclusion: Exclusion, index: pd.DataFrame, annotations: pa.Table
) -> tuple[pd.DataFrame, pa.Table, pd.DataFrame, list[str]]:
    """Leave out images and annotations.

    index: rows of data/index.parquet. annotations: of data/annotations.parquet. An excluded annotation stays with
    category 255, which is painted as *ignore*: whether its pixels are background nobody knows.

    Returns the images that stay, the annotations, what was excluded as rows of skipped.parquet, and, in words, the
    exclusion's ids that there are none of.
    """
    out = index["image_id"].isin(exclusion.images)
    ids = annotations["image_id"].to_numpy(), annotations["annotation_id"].to_numpy()
    known, pairs = set(index["image_id"].tolist()), exclusion.pairs()
    candidates = np.flatnonzero(np.isin(ids[1], [i for _, i in pairs]))
    hit = [n for n in candidates.tolist() if (ids[0][n].item(), ids[1][n].item()) in pairs]
    category = annotations["category_id"].to_numpy().copy()
    category[hit] = IGNORE
    position = annotations.schema.get_field_index("category_id")
    annotations = annotations.set_column(position, annotations.schema.field(position), pa.array(category))
    split_of = dict(zip(index["image_id"], index["split"], strict=True))
    rows = [(i, None, path) for i, path in index.loc[out, ["image_id", "path"]].itertuples(index=False)]
    rows += [(ids[0][n].item(), ids[1][n].item(), None) for n in hit]
    skipped = skipped_table(skip("excluded", "data.exclude", i, annotation, path) for i, annotation, path in rows)
    there = {(ids[0][n].item(), ids[1][n].item()) for n in hit}
    unknown = [f"image {i}" for i in sorted(exclusion.images - known)]
    unknown += [f"annotation {annotation} of image {i}" for i, annotation in sorted(pairs - there)]
    return index[~out], annotations, skipped.assign(split=[split_of.get(i) for i, _, _ in rows]), unknown
