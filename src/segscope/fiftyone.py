"""A finished run as a dataset that FiftyOne imports; its photographs stay where they are.

The layout is the one that FiftyOne's type `FiftyOneDataset` reads where `metadata.json` names no version: serialised
samples, with nothing of a release's database in them. FiftyOne itself is not needed to write it.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from segscope.artefacts.files import atomic_folder, write_json
from segscope.artefacts.rle import bbox, decode_rle
from segscope.run import Run
from segscope.suspects.export import with_names
from segscope.taxonomy import IGNORE

MASKS = "fields/prediction"  # FiftyOne looks for a field's files in fields/FIELD
# samples.parquet has a column of these for each category, here of one type of number.
GROUPED = {"count": "Int", "crowd": "Int", "share": "Float", "size": "Float"}
LABELS = {"labels": "Detections", "prediction": "Segmentation", "suspects": "Detections", "cluster": "Classification"}
KEYS = ("image_id", "split", "width", "height")
BATCH = 256  # rows at a time as Python objects
FOUND = ("class", "recall", "iou", "found", "probability")  # of objects.parquet
SUSPECT = ("annotation_id", "labelled", "suggested", "probability", "depth", "evidence")  # of label_issues.parquet


def write_fiftyone(run: Run, out: Path) -> tuple[int, int, int]:
    """Write the run's dataset as the folder `out`; returns how many images, labels and suspects it has.

    Raises SegscopeError if an artefact is missing, or `out` is not segscope's to replace.
    """
    images = labels = suspects = 0
    with atomic_folder(out) as folder:
        tables = Tables(run)
        (folder / MASKS).mkdir(parents=True)
        for row in _rows(tables.masks):
            (folder / _mask_file(row["image_id"])).write_bytes(row["mask"])
        write_json(folder / "metadata.json", dataset_document(tables))
        with (folder / "samples.json").open("w", encoding="utf-8") as file:
            file.write('{"samples": [')
            for sample in samples(tables, out):
                file.write(",\n" if images else "\n")
                json.dump(sample, file, ensure_ascii=False, allow_nan=False)
                images += 1
                labels += len(sample["labels"]["detections"])
                suspects += len(sample["suspects"]["detections"])
            file.write("\n]}\n")
    return images, labels, suspects


def _mask_file(image_id: int) -> str:
    return f"{MASKS}/{image_id}.png"


def field_names(columns: Iterable[str]) -> dict[str, str]:
    """Each column's name in FiftyOne, which has another use for `.` and `$`; of two alike the later one ends in _2."""
    names: dict[str, str] = {}
    for column in columns:
        wanted = name = column.replace(".", "_").replace("$", "_")
        number = 1
        while name in names.values():
            number += 1
            name = f"{wanted}_{number}"
        names[column] = name
    return names


class Tables:
    """What the dataset is made of.

    samples: samples.parquet. scores: of predictions.parquet image_id and the figures of an image. fields: each column
    of theirs, but for the ids, that is a field of its own, and its type. names: what each column is called.
    """

    def __init__(self, run: Run):
        self.run, self.samples = run, run.arrow("samples")
        table = run.arrow("predictions")
        figures = [field.name for field in table.schema if field.type == pa.float32()]
        self.masks, self.scores = table.select(["image_id", "mask"]), table.select(["image_id", *figures])
        columns = {field.name: field.type for field in (*self.samples.schema, *self.scores.schema)}
        self.names = field_names(columns)
        self.fields = {name: kind for name, kind in columns.items() if name not in KEYS and not _is_grouped(name)}


def dataset_document(tables: Tables) -> dict[str, Any]:
    """`metadata.json`: each field's type, the categories, and which class a value of a predicted mask is."""
    run = tables.run
    fields = {"image_id": _field("Int"), "source_id": _field("String"), "split": _field("String")}
    fields |= {tables.names[column]: _field(_kind(kind)) for column, kind in tables.fields.items()}
    fields |= {group: f"{_field('Dict')}({_field(kind)})" for group, kind in GROUPED.items()}
    fields |= {"latent": _field("Vector"), "map_x": _field("Float"), "map_y": _field("Float")}
    fields |= {name: f"{_field('EmbeddedDocument')}(fiftyone.core.labels.{kind})" for name, kind in LABELS.items()}
    return {
        "media_type": "image",
        "sample_fields": fields,
        "info": {
            "source": run.params.data.origin,
            "variant": run.params.variant,
            "classes": {"labels": list(run.categories["name"])},
            "mask_targets": {"prediction": {str(k): name for k, name in enumerate(run.taxonomy.class_names)}},
        },
    }


def _field(kind: str) -> str:
    return f"fiftyone.core.fields.{kind}Field"


def _kind(type_: pa.DataType) -> str:
    kinds = {"int": "Int", "float": "Float", "double": "Float", "bool": "Boolean"}
    return next((kind for begins, kind in kinds.items() if str(type_).startswith(begins)), "String")


def _is_grouped(column: str) -> bool:
    return column.partition(".")[0] in GROUPED


def samples(tables: Tables, out: Path) -> Iterator[dict[str, Any]]:
    """The documents of `samples.json`, in the order of samples.parquet.

    filepath is as index.parquet has it, but relative to the folder `out` if that is relative to the project.
    """
    run, names = tables.run, tables.names
    index = _by_image(run.arrow("index").select(["image_id", "source_id", "path"]))
    scores, latent = _by_image(tables.scores), run.table("embeddings").set_index("image_id")
    labels, suspects, clusters = _labels(run), _listed(run.arrow("label_issues")), _clusters(run)
    for row in _rows(tables.samples):
        image_id, size = row["image_id"], (row["width"], row["height"])
        known = row | scores.get(image_id, {})
        yield {
            "filepath": _location(run.folder, index[image_id]["path"], out),
            "tags": [row["split"]],
            "metadata": {"_cls": "ImageMetadata", "width": row["width"], "height": row["height"]},
            "image_id": image_id,
            "source_id": index[image_id]["source_id"],
            "split": row["split"],
            **{names[column]: _plain(known.get(column)) for column in tables.fields},
            **_grouped(row, names),
            **_embedded(latent, image_id),
            "labels": _detections(_label(label, size) for label in labels.get(image_id, [])),
            "prediction": {"_cls": "Segmentation", "mask_path": _mask_file(image_id)} if image_id in scores else None,
            "suspects": _detections(_suspect(suspect, size) for suspect in suspects.get(image_id, [])),
            "cluster": clusters.get(image_id),
        }


def _location(project: Path, path: str, out: Path) -> str:
    return path if os.path.isabs(path) else os.path.relpath(project / path, out)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=BATCH):
        yield from batch.to_pylist()


def _by_image(table: pa.Table) -> dict[int, dict[str, Any]]:
    return {row.pop("image_id"): row for row in _rows(table)}


def _plain(value: Any) -> Any:
    """A value as JSON has it: what is no number is null, a date is text, for this layout has no dates."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime) else value


def _array(array: np.ndarray) -> dict[str, Any]:
    """An array as FiftyOne has it in extended JSON: numpy's file format, deflated."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(file.getvalue())).decode("ascii"), "subType": "00"}}


def _grouped(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What samples.parquet says of each category, without the zeros, in one field for each of GROUPED."""
    fields: dict[str, dict[str, Any]] = {group: {} for group in GROUPED}
    for column in filter(_is_grouped, row):
        if value := _plain(row[column]):
            group = column.partition(".")[0]
            fields[group][names[column].removeprefix(f"{group}_")] = value
    return fields


def _embedded(latent: pd.DataFrame, image_id: int) -> dict[str, Any]:
    if image_id not in latent.index:
        return {"latent": None, "map_x": None, "map_y": None}
    row = latent.loc[image_id]
    return {"latent": _array(row["latent"]), "map_x": float(row["x"]), "map_y": float(row["y"])}


def _detections(detections: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"_cls": "Detections", "detections": list(detections)}


def _detection(label: str, box: Iterable[float], size: tuple[int, int], said: Mapping[str, Any]) -> dict[str, Any]:
    """box: left, top, width, height in pixels; FiftyOne's is in shares of the image's width and height."""
    relative = [float(value) / side for value, side in zip(box, size * 2, strict=True)]
    known = {name: _plain(value) for name, value in said.items() if _plain(value) is not None}
    return {"_cls": "Detection", "label": label, "bounding_box": relative} | known


def _labels(run: Run) -> dict[int, list[dict[str, Any]]]:
    """By image, the rows of instances.parquet with their category's name, and what became of them."""
    known = run.table("annotations", ["image_id", "annotation_id", "category_id"])
    rows = with_names(run.table("instances"), known, run.taxonomy)
    objects = run.table("objects", ["image_id", "annotation_id", *FOUND])
    objects = objects[objects["annotation_id"].notna()].astype({"annotation_id": "int64"})
    merged = rows.merge(objects, on=["image_id", "annotation_id"], how="left")
    return _listed(pa.Table.from_pandas(merged, preserve_index=False))


def _label(row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The mask is of the pixels in the box, which is therefore the mask's own."""
    said = {name: row[name] for name in ("annotation_id", "iscrowd", "area", *FOUND)}
    said["tags"] = ["excluded"] if row["category_id"] == IGNORE else []
    mask = decode_rle(row["rle"], row["height"], row["width"])
    box = bbox(mask)
    if not mask.any():
        return _detection(row["name"], row["bbox"], size, said)
    left, top, width, height = map(int, box)
    return _detection(row["name"], box, size, said | {"mask": _array(mask[top : top + height, left : left + width])})


def _suspect(row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    said = {"confidence": row["score"]} | {name: row[name] for name in SUSPECT}
    return _detection(row["kind"], row["bbox"], size, said)


def _clusters(run: Run) -> dict[int, dict[str, Any]]:
    """By image, its cluster; an image of none has none."""
    names = run.table("cluster_profiles", ["cluster", "name"]).drop_duplicates("cluster").set_index("cluster")["name"]
    table = run.table("clusters")
    table = table[table["cluster"] >= 0]
    return {
        int(row.image_id): {
            "_cls": "Classification",
            "label": f"{row.cluster}: {names[row.cluster]}",
            "confidence": float(row.probability),
        }
        for row in table.itertuples()
    }


def _listed(table: pa.Table) -> dict[int, list[dict[str, Any]]]:
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(table):
        rows[row["image_id"]].append(row)
    return rows
