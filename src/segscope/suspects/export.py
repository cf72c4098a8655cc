"""Suspect labels for a review elsewhere: COCO, CSV, Label Studio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segscope.artefacts.files import atomic_path
from segscope.artefacts.images import decode_png
from segscope.artefacts.rle import encode_rle
from segscope.artefacts.tables import for_spreadsheet
from segscope.labels.masks import compose_mask, resize_mask
from segscope.sources.ids import own_id
from segscope.taxonomy import Taxonomy


def as_csv(issues: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """One row a suspect, with the image's path and its box as four columns (pixels)."""
    box = pd.DataFrame(issues["bbox"].tolist(), columns=["left", "top", "width", "height"], index=issues.index)
    paths = issues["image_id"].map(index.set_index("image_id")["path"])
    table = pd.concat([issues.drop(columns="bbox"), box.round(2)], axis=1).assign(path=paths)
    first = ["image_id", "path", "annotation_id"]
    return table[[*first, *table.columns.difference(first, sort=False)]]


def as_coco(
    issues: pd.DataFrame,
    index: pd.DataFrame,
    instances: pd.DataFrame,
    predictions: pd.DataFrame,
    taxonomy: Taxonomy,
) -> dict[str, Any]:
    """A COCO instances document of the suspects' images; what segscope says is in each annotation's `segscope`.

    A suspect annotation keeps its mask and category. A missing one gets the predicted region and the suggested class's
    first category, and an id after all others; so does any annotation whose id another suspect has.
    """
    images = index[index["image_id"].isin(issues["image_id"])].set_index("image_id")
    own = instances.set_index(["image_id", "annotation_id"])
    by_image = dict(list(instances[instances["image_id"].isin(images.index)].groupby("image_id")))
    predicted = predictions.set_index("image_id")["mask"]
    free = int(instances["annotation_id"].max()) + 1 if len(instances) else 1
    source = taxonomy.categories.set_index("category_id")["source_id"]
    rows, taken = [], set[int]()
    for issue in issues.to_dict("records"):
        height, width = (int(images.loc[issue["image_id"], side]) for side in ("height", "width"))
        if pd.isna(issue["annotation_id"]):
            k = taxonomy.class_names.index(issue["suggested"])
            labelled = compose_mask(by_image.get(issue["image_id"], instances[:0]), height, width)
            region = _region(decode_png(predicted[issue["image_id"]]) == k, issue["bbox"], height, width)
            region &= labelled == 0
            row: dict[str, Any] = {
                "id": free,
                "category_id": taxonomy.category_ids[issue["suggested"]][0],
                "rle": encode_rle(region),
            }
            row |= {"area": int(region.sum()), "bbox": issue["bbox"]}
            free += 1
        else:
            found = own.loc[(issue["image_id"], issue["annotation_id"])]
            row = {"id": int(issue["annotation_id"]), "category_id": int(found["category_id"]), "rle": found["rle"]}
            row |= {"area": int(found["area"]), "bbox": found["bbox"]}
            if row["id"] in taken:  # ids may be unique in their image only
                row["id"], free = free, free + 1
            taken.add(row["id"])
        rows.append(
            {
                "id": row["id"],
                "image_id": int(issue["image_id"]),
                "category_id": own_id(source[row["category_id"]]),
                "iscrowd": 0,
                "area": row["area"],
                "bbox": [round(float(v), 2) for v in row["bbox"]],
                "segmentation": {"size": [height, width], "counts": row["rle"]},
                "segscope": {key: _plain(issue[key]) for key in ("kind", "score", "labelled", "suggested", "evidence")},
            }
        )
    return {
        "images": [
            {"id": int(i), "file_name": Path(row.path).name, "width": int(row.width), "height": int(row.height)}
            for i, row in zip(images.index, images.itertuples(), strict=True)
        ],
        "annotations": rows,
        "categories": [
            {"id": own_id(row.source_id), "name": row.name, "supercategory": row.supercategory}
            for row in taxonomy.categories.itertuples(index=False)
        ],
    }


def _region(mask: np.ndarray, box: Sequence[float], height: int, width: int) -> np.ndarray:
    """A mask at the model's resolution scaled to height × width, inside a box only."""
    side = max(height, width)
    scaled = resize_mask(mask, side)
    rows, columns = (np.arange(n) * side // n for n in (height, width))
    region = np.zeros((height, width), bool)
    left, top, wide, tall = box
    window = slice(int(top), int(np.ceil(top + tall))), slice(int(left), int(np.ceil(left + wide)))
    region[window] = scaled[np.ix_(rows, columns)][window]
    return region


def as_label_studio(issues: pd.DataFrame, index: pd.DataFrame) -> list[dict[str, Any]]:
    """Tasks with the suspects as pre-annotated boxes, labelled with the suggested class; `meta` has kind and evidence.

    For a labelling configuration of `<Image name="image" value="$image"/>` and
    `<RectangleLabels name="label" toName="image">`.
    """
    size = index.set_index("image_id")[["path", "width", "height"]]
    tasks = []
    for image_id, rows in issues.groupby("image_id", sort=False):
        path, width, height = size.loc[image_id]
        result = [
            {
                "id": f"{image_id}-{n}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": int(width),
                "original_height": int(height),
                "image_rotation": 0,
                "score": _plain(row["score"]),
                "value": {**_percent(row["bbox"], width, height), "rectanglelabels": [row["suggested"]]},
                "meta": {"text": [f"{row['kind']}, labelled {row['labelled']}: {row['evidence']}"]},
            }
            for n, row in enumerate(rows.to_dict("records"))
        ]
        tasks.append(
            {
                "data": {"image": path, "image_id": int(image_id)},
                "predictions": [{"model_version": "segscope", "score": _plain(rows["score"].max()), "result": result}],
            }
        )
    return tasks


def _percent(box: Sequence[float], width: int, height: int) -> dict[str, float]:
    left, top, wide, tall = (float(v) for v in box)
    return {
        "x": 100 * left / width,
        "y": 100 * top / height,
        "width": 100 * wide / width,
        "height": 100 * tall / height,
        "rotation": 0,
    }


def _plain(value: Any) -> Any:
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


def write_export(path: Path, document: pd.DataFrame | Mapping | Sequence) -> None:
    """Write a table as CSV, anything else as JSON."""
    with atomic_path(path) as temporary:
        if isinstance(document, pd.DataFrame):
            document.map(for_spreadsheet).to_csv(temporary, index=False)
        else:
            temporary.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
