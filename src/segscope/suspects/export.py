"""Suspect labels for a review elsewhere: COCO, CSV, Label Studio."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from segscope.artefacts.files import atomic_path
from segscope.artefacts.images import decode_png
from segscope.artefacts.rle import decode_rle, encode_rle
from segscope.artefacts.tables import write_csv
from segscope.labels.masks import compose_mask, nearest
from segscope.sources.corrections import PROPOSED
from segscope.sources.ids import free_ids, own_id
from segscope.sources.label_studio import encode_brush, region_id
from segscope.taxonomy import IGNORE, Taxonomy


def as_csv(issues: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """One row a suspect, with the image's path and its box as four columns (pixels)."""
    box = pd.DataFrame(issues["bbox"].tolist(), columns=["left", "top", "width", "height"], index=issues.index)
    paths = issues["image_id"].map(index.set_index("image_id")["path"])
    table = pd.concat([issues.drop(columns="bbox"), box.round(2)], axis=1).assign(path=paths)
    first = ["image_id", "path", "annotation_id"]
    return table[[*first, *table.columns.difference(first, sort=False)]]


def labels_to_review(
    issues: pd.DataFrame,
    index: pd.DataFrame,
    instances: pd.DataFrame,
    known: pd.DataFrame,
    predictions: pd.DataFrame,
    taxonomy: Taxonomy,
) -> pd.DataFrame:
    """All labels of the suspects' images, and what is proposed for those that are missing.

    issues: rows of label_issues.parquet. index: of index.parquet. instances: of instances.parquet. known: image_id,
    annotation_id, category_id of annotations.parquet, which an excluded annotation still has. predictions: image_id and
    mask, of the run's model.

    image_id, annotation_id, name (of the category; `proposed: …` where the model alone sees it: inside the suspect's
    box, or that box where the mask shows nothing there), iscrowd, area (pixels), bbox, height, width, rle (compressed
    counts), and of a suspect kind, score, labelled, suggested and evidence, else None.
    """
    said = issues[["image_id", "annotation_id", "kind", "score", "labelled", "suggested", "evidence"]]
    names = taxonomy.categories.set_index("category_id")["name"]
    own = instances[instances["image_id"].isin(issues["image_id"])]
    rows = with_names(own, known, taxonomy)
    by_image = dict(list(own.groupby("image_id")))  # also what has no name: what is to be ignored is no place for any
    sizes = index.set_index("image_id")[["height", "width"]]
    predicted = predictions.set_index("image_id")["mask"]
    missing = []
    for issue in issues[issues["annotation_id"].isna()].to_dict("records"):
        i, k = issue["image_id"], taxonomy.class_names.index(issue["suggested"])
        height, width = sizes.loc[i]
        region = _proposed(decode_png(predicted[i]) == k, issue["bbox"], by_image.get(i, own[:0]), (height, width))
        name = PROPOSED + names[taxonomy.category_ids[issue["suggested"]][0]]
        shape = {"area": int(region.sum()), "bbox": issue["bbox"], "rle": encode_rle(region)}
        row = {"image_id": i, "annotation_id": None, "name": name, "iscrowd": False, "height": height, "width": width}
        missing.append(row | shape | {column: issue[column] for column in said.columns[2:]})
    merged = rows.merge(said[said["annotation_id"].notna()], on=["image_id", "annotation_id"], how="left")
    columns = ["image_id", "annotation_id", "name", "iscrowd", "area", "bbox", "height", "width", "rle"]
    table = pd.concat([merged, pd.DataFrame(missing)], ignore_index=True)[[*columns, *said.columns[2:]]]
    return table.sort_values(["image_id", "annotation_id"], ignore_index=True, kind="stable")


def with_names(rows: pd.DataFrame, known: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Rows of instances.parquet with their category's `name`, which an excluded one has from annotations.parquet.

    known: as of `labels_to_review`. A row of which no category is known is left out.
    """
    names = taxonomy.categories.set_index("category_id")["name"]
    own = known.set_index(["image_id", "annotation_id"])["category_id"]
    place = own.index.get_indexer(pd.MultiIndex.from_frame(rows[["image_id", "annotation_id"]]))
    before = own.reset_index(drop=True).reindex(place).set_axis(rows.index)
    rows = rows.assign(name=rows["category_id"].where(rows["category_id"] != IGNORE, before).map(names))
    return rows[rows["name"].notna()]


def as_coco(labels: pd.DataFrame, index: pd.DataFrame, categories: pd.DataFrame, source: str) -> dict[str, Any]:
    """A COCO instances document of labels to review, which `data.corrections` reads when it comes back.

    labels: of `labels_to_review`. index: of the run, also of other images. source: `Data.origin`. What is known of a
    suspect is in its annotation's `segscope`. Annotations of one id, which may be unique in their image only, but for
    the first get ids after all others, and so does what is proposed; their own is `segscope.annotation_id`, for
    data.exclude to find them when they come back.
    """
    ids = labels["annotation_id"].where(~labels["annotation_id"].duplicated()).astype("Int64")
    ids[ids.isna()] = free_ids(ids.dropna().tolist(), int(ids.isna().sum()))
    number, listed = _numbered(categories, labels["name"])
    names = relative_names(index)
    images = index[index["image_id"].isin(labels["image_id"])]
    return {
        "info": {"description": "labels to review", "segscope_source": source},
        "images": [
            {
                "id": int(row.image_id),
                "file_name": names[row.image_id],
                "width": int(row.width),
                "height": int(row.height),
            }
            for row in images.itertuples()
        ],
        "annotations": [
            {
                "id": int(own),
                "image_id": int(row["image_id"]),
                "category_id": number[row["name"]],
                "iscrowd": int(row["iscrowd"]),
                "area": int(row["area"]),
                "bbox": [round(float(v), 2) for v in row["bbox"]],
                "segmentation": {"size": [int(row["height"]), int(row["width"])], "counts": row["rle"]},
            }
            | _said(row, int(own))
            for own, row in zip(ids, labels.to_dict("records"), strict=True)
        ],
        "categories": listed,
    }


def _said(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Under `segscope` what is known of a suspect, and the id of an annotation that has another number there."""
    suspect = isinstance(row["kind"], str)
    said = {key: _plain(row[key]) for key in ("kind", "score", "labelled", "suggested", "evidence") if suspect}
    if pd.notna(row["annotation_id"]) and row["annotation_id"] != number:
        said["annotation_id"] = int(row["annotation_id"])
    return {"segscope": said} if said else {}


def _numbered(categories: pd.DataFrame, names: pd.Series) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The id of each category, the source's own, and COCO's rows; what is proposed has ids after all others."""
    rows = [
        {"id": own_id(row.source_id), "name": row.name, "supercategory": row.supercategory}
        for row in categories.itertuples(index=False)
    ]
    free = max([int(row["id"]) for row in rows if isinstance(row["id"], int)], default=0)
    for name in sorted({name for name in names if name.startswith(PROPOSED)}):
        free += 1
        rows.append({"id": free, "name": name, "supercategory": name})
    return {row["name"]: row["id"] for row in rows}, rows


def relative_names(index: pd.DataFrame) -> dict[int, str]:
    """Each image's path below the folder that holds all of them, by image_id."""
    top = os.path.commonpath([os.path.dirname(path) for path in index["path"]]) if len(index) else ""
    return {i: os.path.relpath(path, top or ".") for i, path in zip(index["image_id"], index["path"], strict=True)}


def _proposed(mask: np.ndarray, box: Sequence[float], labelled: pd.DataFrame, size: tuple[int, int]) -> np.ndarray:
    """The boolean H × W outline of a suspect: what the mask shows in its box, or else the box, beside what is labelled.

    mask: of the class, at the model's resolution. It may show nothing there, for suspects come of another prediction:
    of the mean with the mirror image's, or of a fold's model. Where all of the box is labelled, too, it is all of it.
    labelled: rows of instances.parquet. size: height and width.
    """
    free = compose_mask(labelled, *size) == 0
    whole = _region(np.ones_like(mask), box, *size)
    regions = _region(mask, box, *size) & free, whole & free
    return next((region for region in regions if region.any()), whole)


def _region(mask: np.ndarray, box: Sequence[float], height: int, width: int) -> np.ndarray:
    """A mask at the model's resolution scaled to height × width, inside a box only."""
    side = max(height, width)
    rows, columns = (nearest(len(mask), side)[np.arange(n) * side // n] for n in (height, width))
    region = np.zeros((height, width), bool)
    left, top, wide, tall = box
    window = slice(int(top), int(np.ceil(top + tall))), slice(int(left), int(np.ceil(left + wide)))
    region[window] = mask[np.ix_(rows[window[0]], columns[window[1]])]
    return region


def as_label_studio(labels: pd.DataFrame, index: pd.DataFrame, source: str) -> list[dict[str, Any]]:
    """Tasks with all labels as brushed masks to correct, of which the suspects say what is suspect, the worst first.

    labels, index, source: as of `as_coco`. Images are local files below the folder that holds all of them, which Label
    Studio serves if that is its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT; for `labelling_config`.
    """
    names, tasks = relative_names(index), []
    for image_id, rows in labels.groupby("image_id", sort=False):
        result = [
            {
                "id": f"proposed-{n}" if pd.isna(own := row["annotation_id"]) else region_id(int(own), row["iscrowd"]),
                "type": "brushlabels",
                "from_name": "brush",
                "to_name": "image",
                "original_width": int(row["width"]),
                "original_height": int(row["height"]),
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": encode_brush(decode_rle(row["rle"], row["height"], row["width"])),
                    "brushlabels": [row["name"]],
                },
            }
            | _noted(row)
            for n, row in enumerate(rows.to_dict("records"))
        ]
        data = {"image": f"/data/local-files/?d={quote(names[image_id])}", "image_id": int(image_id), "source": source}
        score = _plain(rows["score"].max())
        tasks.append({"data": data, "predictions": [{"model_version": "segscope", "score": score, "result": result}]})
    return sorted(tasks, key=lambda task: -task["predictions"][0]["score"])


def _noted(row: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(row["kind"], str):
        return {}
    text = f"{row['kind']}, labelled {row['labelled']}, {row['suggested']} suggested: {row['evidence']}"
    return {"score": _plain(row["score"]), "meta": {"text": [text]}}


def labels_of_tasks(labels: pd.DataFrame, taxonomy: Taxonomy) -> list[str]:
    """What a label in Label Studio may be: the classes' categories, what the images show, and what is proposed."""
    names = taxonomy.categories.set_index("category_id")["name"]
    own = [names[i] for ids in taxonomy.category_ids.values() for i in ids]
    return list(dict.fromkeys([*own, *sorted(labels["name"])]))


def _plain(value: Any) -> Any:
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


def write_export(path: Path, document: pd.DataFrame | Mapping | Sequence | str) -> None:
    """Write a table as CSV, text as it is, anything else as JSON."""
    with atomic_path(path) as temporary:
        if isinstance(document, pd.DataFrame):
            write_csv(temporary, document)
        else:
            text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
            temporary.write_text(text, encoding="utf-8")
