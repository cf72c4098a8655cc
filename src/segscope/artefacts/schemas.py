"""The schema of each table and JSON artefact, declared once and checked on write and on read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import pandas as pd
import pyarrow as pa

from segscope.taxonomy import Taxonomy

USER = "user."  # before the names of the user's own columns
USER_TYPES = (pa.float64(), pa.int64(), pa.bool_(), pa.string(), pa.timestamp("ms"))
OPEN = b"user_columns"  # metadata of a schema that has such columns besides
NUMBERS = b"numbers"  # metadata of a schema that has columns of numbers besides
FINITE = b"finite"  # metadata of a field whose numbers are all known, and finite


def _finite(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, metadata={FINITE: b""})


INDEX = pa.schema(
    {
        "image_id": pa.int64(),
        "source_id": pa.string(),  # the annotation file's own, as text
        "split": pa.string(),
        "path": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "sha256": pa.string(),
    }
)
VIEW_HASHES = pa.schema({"sha256": pa.string(), "hashes": pa.list_(pa.uint64())})  # null: there is nothing to see
DUPLICATES = pa.schema(  # ordered by split, image_id, and the others' split and id
    {
        "image_id": pa.int64(),
        "split": pa.string(),
        "other_id": pa.int64(),  # in an earlier split, or in the same one and smaller
        "other_split": pa.string(),
        "kind": pa.string(),  # exact: the same bytes | near
        "distance": pa.float32(),  # of the pictures' details: 0 (the same) … 1 (unlike)
    }
)

# Left out of val, as the earlier split has them: other_id.
COPIES = pa.schema([*INDEX, pa.field("other_id", pa.int64())])
# Which images the user says belong together; others may be near copies: GROUPS.
NAMED_GROUPS = pa.schema({"image_id": pa.int64(), "group": pa.string()})
GROUPS = pa.schema({"image_id": pa.int64(), "group": pa.int64()})  # the smallest image_id of the group
CATEGORIES = pa.schema(
    {
        "category_id": pa.int32(),
        "source_id": pa.string(),  # the annotation file's own, as text
        "name": pa.string(),
        "supercategory": pa.string(),
    }
)
ANNOTATIONS = pa.schema(  # ordered by image_id, annotation_id
    {
        "image_id": pa.int64(),
        "annotation_id": pa.int64(),
        "category_id": pa.int32(),
        "iscrowd": pa.bool_(),
        "segmentation": pa.large_binary(),  # JSON as it came
    }
)
SKIPPED = pa.schema(
    {
        "split": pa.string(),
        "image_id": pa.int64(),
        "annotation_id": pa.int64(),  # null: the whole image
        "file_name": pa.string(),
        "reason": pa.string(),
        "detail": pa.string(),
    }
)
CHECKSUMS = pa.schema(
    {"path": pa.string(), "size": pa.int64(), "modified": pa.int64(), "sha256": pa.string()}  # modified: ns
)
TRUTH = pa.schema(
    {
        "image_id": pa.int64(),
        "split": pa.string(),
        "planted": pa.string(),
        "annotation_id": pa.int64(),
        "category_id": pa.int32(),
        "true_category_id": pa.int32(),
        "bbox": pa.list_(pa.float32(), 4),
    }
)
INSTANCES = pa.schema(
    {
        "image_id": pa.int64(),
        "annotation_id": pa.int64(),
        "split": pa.string(),
        "category_id": pa.int32(),  # 255: excluded
        "area": pa.int64(),
        "bbox": pa.list_(pa.float32(), 4),
        "iscrowd": pa.bool_(),
        "height": pa.int32(),
        "width": pa.int32(),
        "rle": pa.string(),
    }
)
CORRECTIONS = pa.schema(  # what data.corrections changed
    {
        "image_id": pa.int64(),
        "split": pa.string(),
        "annotation_id": pa.int64(),
        "change": pa.string(),  # category | outline | added | removed
        "category_id": pa.int32(),  # null: removed
        "was": pa.int32(),  # category_id; null: added
        "iou": pa.float64(),  # of the two outlines
    }
)
OBJECTS = pa.schema(  # an annotation of the model's classes, or a predicted region that meets none
    {
        "object_id": pa.int64(),
        "image_id": pa.int64(),
        "split": pa.string(),
        "annotation_id": pa.int64(),  # null: a region
        "class": pa.string(),
        "category_id": pa.int32(),  # null: a region
        "crowd": pa.bool_(),
        "area": pa.float32(),  # share of the image
        "size": pa.string(),  # COCO's small, medium, large
        "recall": pa.float32(),  # of its visible pixels; null of a region, or of none, as iou and found are
        "iou": pa.float32(),
        "found": pa.bool_(),
        "probability": pa.float32(),  # of its class
        "bbox": pa.list_(pa.float32(), 4),  # left, top, width, height in the image's pixels
    }
)
LABEL_ISSUES = pa.schema(
    {
        "image_id": pa.int64(),
        "split": pa.string(),
        "annotation_id": pa.int64(),
        "object_id": pa.int64(),  # of objects.parquet; null: the region that is missing is none there
        "kind": pa.string(),
        "score": pa.float32(),  # the share of faults among such suspects, see segscope.suspects.find
        "labelled": pa.string(),
        "suggested": pa.string(),
        "bbox": pa.list_(pa.float32(), 4),  # left, top, width, height in the image's pixels
        "probability": pa.float32(),  # of the suggested class, in the core of the annotation or region
        "depth": pa.float32(),  # the contradiction's size beside the object's, see segscope.suspects.find
        "evidence": pa.string(),
    }
)
_BIN = {
    "low": pa.float64(),
    "high": pa.float64(),
    "images": pa.int32(),
    "mean": pa.float64(),
    "mean_low": pa.float64(),
    "mean_high": pa.float64(),
}
ASSOCIATIONS = pa.schema(
    {
        "column": pa.string(),
        "metric": pa.string(),
        "images": pa.int32(),
        "units": pa.int32(),  # groups, of which all figures are
        "rho": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "p_value": pa.float64(),
        "held": pa.float64(),  # rho with the share of the score's class held
        "held_p_value": pa.float64(),
        "bins": pa.list_(pa.struct(_BIN)),
    }
)
INSIGHTS = pa.schema(
    {
        "kind": pa.string(),
        "name": pa.string(),
        "statement": pa.string(),
        "query": pa.string(),
        "images": pa.int32(),
        "units": pa.int32(),  # groups of them
        "image_ids": pa.list_(pa.int64()),
        "metric": pa.string(),
        "inside": pa.float64(),  # mean of the images with the metric, and of the others
        "rest": pa.float64(),
        "difference": pa.float64(),  # with the share held; low, high: its 95 % interval
        "low": pa.float64(),
        "high": pa.float64(),
        "p_value": pa.float64(),
        "explained": pa.float64(),  # of the metric's variance over all images, beyond the share
    }
)
MEASURES = pa.schema(
    {
        "stage": pa.string(),
        "split": pa.string(),  # train, val, all; empty: of the run
        "measure": pa.string(),
        "value": pa.float64(),
        "low": pa.float64(),  # of the 95 % interval; null: there is none
        "high": pa.float64(),
        "images": pa.int64(),  # that it is made of; null: of none, or it does not matter
        "carriers": pa.float64(),  # groups that carry it, see segscope.evaluation.bootstrap; null: there is no interval
    }
)
ACTIVATIONS = pa.schema(
    [
        ("image_id", pa.int64()),
        ("split", pa.string()),
        ("layers", pa.list_(pa.string())),  # of every image the same
        _finite("means", pa.list_(pa.float32())),  # of the layers' channels, one layer after the other
    ]
)
NEIGHBORS = pa.schema({"image_id": pa.int64(), "rank": pa.int32(), "neighbor_id": pa.int64(), "distance": pa.float32()})
CLUSTERS = pa.schema({"image_id": pa.int64(), "cluster": pa.int32(), "probability": pa.float32()})
CLUSTER_PROFILES = pa.schema(
    {
        "cluster": pa.int32(),
        "name": pa.string(),
        "size": pa.int32(),
        "groups": pa.int32(),  # of the cluster's images
        "kind": pa.string(),  # fact, metadata, performance, stability, attention
        "feature": pa.string(),
        "inside": pa.float32(),
        "inside_low": pa.float32(),  # of attention, its 95 % interval
        "inside_high": pa.float32(),
        "rest": pa.float32(),
        "lift": pa.float32(),
        "recall": pa.float32(),
        "low": pa.float32(),  # of a difference's 95 % interval; of attention: of the shares of shuffled clusters
        "high": pa.float32(),
        "p_value": pa.float64(),
        "units": pa.int32(),  # groups of the cluster with the feature known
    }
)

_SAMPLE_FIELDS = {
    "image_id": pa.int64(),
    "split": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "brightness": pa.float32(),
    "contrast": pa.float32(),
    "sharpness": pa.float32(),
    "saturation": pa.float32(),
    "hue_std": pa.float32(),
    "is_grayscale_file": pa.bool_(),
    "is_colored": pa.bool_(),
    "is_gray": pa.bool_(),
    "low_light": pa.bool_(),
    "n_instances": pa.int32(),
    "n_crowds": pa.int32(),
    "n_categories": pa.int32(),
    "average_size": pa.float32(),
    "smallest_size": pa.float32(),
    "share.background": pa.float32(),
    "dominant": pa.string(),
}


def samples_schema(categories: pd.DataFrame) -> pa.Schema:
    """samples.parquet: the fixed fields, then count, crowd, share and size of each category and super-category.

    The user's own columns, `user.NAME`, follow.
    """
    fields = dict(_SAMPLE_FIELDS)
    for prefix in ("count", "crowd", "share", "size"):
        kind = pa.int32() if prefix in ("count", "crowd") else pa.float32()
        for group, column in (("", "name"), ("super.", "supercategory")):
            for name in categories[column].unique():
                fields[f"{prefix}.{group}{name}"] = kind
    return pa.schema(fields, metadata={OPEN: b""})


def with_user_columns(schema: pa.Schema, columns: pd.DataFrame) -> pa.Schema:
    """The schema with the fields of the user's columns, as `read_user_table` makes them."""
    kinds = {"f": pa.float64(), "i": pa.int64(), "b": pa.bool_(), "M": pa.timestamp("ms")}
    own = {name: kinds.get(columns[name].dtype.kind, pa.string()) for name in columns}
    return pa.schema([*schema, *(pa.field(name, kind) for name, kind in own.items())])


def predictions_schema(taxonomy: Taxonomy) -> pa.Schema:
    """predictions.parquet.

    Row by row: counts, class × category position; of the classes but background, boundary, × both masks, either
    (`segscope.evaluation.boundary`), and errors, × kind (`segscope.evaluation.errors`).
    """
    fields = {
        "image_id": pa.int64(),
        "split": pa.string(),
        "mask": pa.binary(),
        "loss_map": pa.binary(),  # PNG at half the resolution, see segscope.evaluation.loss
        "loss": pa.float32(),
        "pixel_accuracy": pa.float32(),
        "confidence": pa.float32(),
    }
    for name in taxonomy.classes:
        fields |= {f"iou.{name}": pa.float32(), f"confidence.{name}": pa.float32()}
    fields["counts"] = pa.list_(pa.int32(), len(taxonomy.class_names) * len(taxonomy.category_names))
    fields |= {"boundary": pa.list_(pa.int32(), 2 * len(taxonomy.classes)), "errors": pa.list_(pa.int32())}
    return pa.schema(fields)


def repeats_schema(taxonomy: Taxonomy) -> pa.Schema:
    """repeats.parquet: what the trainings of other seeds make of val, as in predictions.parquet."""
    fields = predictions_schema(taxonomy)
    kept = [fields.field(name) for name in ("image_id", "loss", "counts", "boundary", "errors")]
    return pa.schema([pa.field("seed", pa.int64()), *kept])


def embeddings_schema(dimensions: int) -> pa.Schema:
    """embeddings.parquet: the latent vector and the map's coordinates."""
    return pa.schema(
        [
            ("image_id", pa.int64()),
            ("split", pa.string()),
            _finite("latent", pa.list_(pa.float32(), dimensions)),
            _finite("x", pa.float32()),
            _finite("y", pa.float32()),
        ]
    )


def heatmaps_schema(image_size: int) -> pa.Schema:
    """heatmaps.parquet: attention maps, H × W row by row; a map sums to the image's score."""
    return pa.schema(
        [
            ("cluster", pa.int32()),
            ("image_id", pa.int64()),
            ("score", pa.float32()),
            _finite("attention", pa.list_(pa.float32(), image_size * image_size)),
        ]
    )


def supports_schema(image_size: int) -> pa.Schema:
    """supports.parquet: what supports a class where it is wrongly predicted in an image.

    region: PNG of these pixels. support: H × W row by row; its sum and constant are the score. on: the categories with
    most of the positive support, and their shares.
    """
    return pa.schema(
        [
            ("image_id", pa.int64()),
            ("class", pa.string()),
            ("pixels", pa.int32()),
            ("score", pa.float32()),
            ("constant", pa.float32()),
            ("region", pa.binary()),
            _finite("support", pa.list_(pa.float32(), image_size * image_size)),
            ("on", pa.map_(pa.string(), pa.float32())),
        ]
    )


# Of the tables in JSON, by their file's name: a folder has few, and the stage of `dvc plots` is theirs.
ROWS: Mapping[str, pa.Schema] = {
    "history": pa.schema({"epoch": pa.int64(), "learning_rate": pa.float64()}, {NUMBERS: b""}),  # model.history
    "iou": pa.schema(
        {
            "split": pa.string(),
            "metric": pa.string(),
            "class": pa.string(),
            "iou": pa.float64(),
            "low": pa.float64(),
            "high": pa.float64(),
        }
    ),
    "confusion": pa.schema({"actual": pa.string(), "predicted": pa.string(), "share": pa.float64()}),
    "loss": pa.schema(
        {"split": pa.string(), "loss": pa.float64(), "loss_end": pa.float64(), "share": pa.float64()},
    ),
    "reliability": pa.schema(
        {
            "class": pa.string(),
            "confidence": pa.float64(),
            "accuracy": pa.float64(),
            "pixels": pa.float64(),
            "split": pa.string(),
        }
    ),
    "errors": pa.schema({"split": pa.string(), "class": pa.string(), "kind": pa.string(), "share": pa.float64()}),
    "categories": pa.schema(
        {
            "predicted": pa.string(),
            "category": pa.string(),
            "pixels": pa.int64(),
            "share_of_category": pa.float64(),
            "split": pa.string(),
        }
    ),
}


class Taken(TypedDict):
    """Of a category: its share of a class's false positive pixels, and of its own pixels the share that is taken."""

    share: float
    taken: float
    low: float | None
    high: float | None
    carriers: float


class Merge(TypedDict):
    """As of `evaluation.confusions.find_merges`."""

    tried: list[str]
    categories: list[str]
    gain: dict[str, float | None] | None


class Confused(TypedDict):
    """As of `evaluation.confusions.findings`, of a class."""

    categories: dict[str, Taken]
    unlabelled_taken: float | None
    merge: Merge | None
    statement: str


class Confusions(TypedDict):
    """confusions.json: of each split, by class."""

    train: dict[str, Confused]
    val: dict[str, Confused]


class Seeds(TypedDict):
    """seeds.json beside the models of other seeds: first that of the model that is analysed; none of no training."""

    seeds: list[int]
