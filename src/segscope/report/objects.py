"""What the report shows of objects: what became of each, how many are found, which are listed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measures
from segscope.evaluation.objects import SIZES
from segscope.report.pictures import ERRORS
from segscope.taxonomy import Taxonomy

LISTED = 2000  # of a page: more would be slow to load and are not looked at
OUTCOMES = {
    "missed": "missed, the largest first",
    "extra": "extra region, the surest first",
    "found": "found, the worst fit first",
    "hidden": "hidden: of no visible pixel, the largest first",
}
_CELL = ["class", "category", "size", "outcome"]


class ErrorKind(NamedTuple):
    """How the page shows one of `evaluation.errors.KINDS`.

    outcome, shows: of the objects to look at, if any: theirs in the list, and what they are called.
    """

    label: str
    color: str
    ink: str
    meaning: str
    outcome: str = ""
    shows: str = ""


ERROR_KINDS = {
    "boundary": ErrorKind(
        "outline", "#b8c0c8", "#000", "the edge of an object that is found, within 1 % of the image's diagonal"
    ),
    "shape": ErrorKind("shape", "#6e7781", "#fff", "a part of an object that is found is not, or too much of it is"),
    "other_class": ErrorKind("other class", ERRORS["confused"], "#000", "one class of the model taken for another"),
    "missed": ErrorKind(
        "missed",
        ERRORS["missed"],
        "#000",
        "labelled regions of which the model finds less than a tenth",
        "missed",
        "missed objects",
    ),
    "extra": ErrorKind(
        "extra",
        ERRORS["extra"],
        "#fff",
        "predicted regions of which less than a tenth is labelled as the class",
        "extra",
        "extra regions",
    ),
}


def described(objects: pd.DataFrame, index: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Rows of objects.parquet as the page shows them, the largest first.

    Adds category: its name, None of a region; outcome: of OUTCOMES; became: its figures in words; box: left, top,
    width, height as shares of the image.
    """
    names = taxonomy.categories.set_index("category_id")["name"]
    sides = index.set_index("image_id").loc[objects["image_id"], ["width", "height"]].to_numpy(float)
    boxes = np.array(objects["bbox"].tolist(), float).reshape(-1, 4) / np.tile(sides, 2)
    found = objects["found"].astype("boolean")
    outcomes = [objects["annotation_id"].isna(), found.isna(), found.fillna(False)]
    table = objects.assign(
        category=objects["category_id"].map(names).astype(object).where(objects["category_id"].notna(), None),
        outcome=np.select([of.to_numpy(bool) for of in outcomes], ["extra", "hidden", "found"], "missed"),
        box=pd.Series(boxes.round(4).tolist(), objects.index, dtype=object),
    )
    told = zip(*(table[name] for name in ("outcome", "recall", "iou", "probability", "crowd")), strict=True)
    became = pd.Series([_became(*row) for row in told], table.index, dtype=object)
    return table.assign(became=became).sort_values("area", ascending=False, kind="stable")


def _became(outcome: str, recall: float, iou: float, probability: float, crowd: bool) -> str:
    if outcome == "extra":
        return "predicted" if pd.isna(probability) else f"probability {probability:.2f}"
    if outcome == "hidden":
        return "too small for the model's resolution, behind another object, or where labels are ignored"
    return f"{'crowd, ' if crowd else ''}recall {recall:.0%}, IoU {iou:.2f}"


def cells(shown: pd.DataFrame) -> pd.DataFrame:
    """How many objects there are of each class, category (None: regions), size and outcome, as n."""
    counts = shown.groupby(_CELL, dropna=False).size().rename("n").reset_index()
    return counts.assign(category=counts["category"].astype(object).where(counts["category"].notna(), None))


def listed(shown: pd.DataFrame, most: int = LISTED) -> pd.DataFrame:
    """At most so many objects, in their outcome's order; of each class, category, size and outcome equally many.

    shown: of `described`. Whatever is asked for shows something, where there is something.
    """
    outcome = shown["outcome"]
    sure = shown["probability"].fillna(shown["area"])  # of which a model may say nothing
    weight = np.select([outcome.isin(["missed", "hidden"]), outcome == "extra"], [shown["area"], sure], -shown["iou"])
    ordered = shown.iloc[np.argsort(-weight, kind="stable")]
    rank = ordered.groupby(_CELL, dropna=False).cumcount().to_numpy()
    return ordered.iloc[np.sort(np.argsort(rank, kind="stable")[:most])]


def found_rows(counts: pd.DataFrame, taxonomy: Taxonomy, measures: Measures) -> list[dict[str, Any]]:
    """How many annotations of val are found: of each class, of its sizes, and of its categories if there are several.

    counts: of `cells`. measure: the share with its interval, or None if it is unknown.
    """
    names = taxonomy.categories.set_index("category_id")["name"]
    rows = []
    for name, ids in taxonomy.category_ids.items():
        own = counts[(counts["class"] == name) & counts["outcome"].isin(["found", "missed"])]
        subjects = [(f"found_objects.{name}", "", "", own)]
        subjects += [(f"found_objects.{name}.{size}", "", size, own[own["size"] == size]) for size in SIZES]
        if len(ids) > 1:
            subjects += [(f"found_category.{c}", c, "", own[own["category"] == c]) for c in names[ids]]
        rows += [
            {
                "class": name,
                "category": category,
                "size": size,
                "measure": measures.find(measure, "val"),
                "found": int(of.loc[of["outcome"] == "found", "n"].sum()),
                "of": int(of["n"].sum()),
            }
            for measure, category, size, of in subjects
            if len(of)
        ]
    return rows
