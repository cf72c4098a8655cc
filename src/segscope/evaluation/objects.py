"""What became of each object: found or missed, and which predicted regions are of none.

A model of pixels tells no two objects of a class apart: what is asked of an annotation is how much of it is predicted
as its class, and how well the predicted regions that touch it fit. Letters: H × W pixels, K classes (0 is background).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from segscope.artefacts.measures import Measure
from segscope.artefacts.rle import decode_rle
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.errors import MET, connected
from segscope.evaluation.metrics import Ratio, carriers, ratio_measures
from segscope.evaluation.predicted import Known, Look, Predicted
from segscope.labels.masks import resize_mask
from segscope.taxonomy import IGNORE, Taxonomy

FOUND = 0.5  # of an annotation's visible pixels
SIZES = ("small", "medium", "large")
SIZE_ENDS = (32**2, 96**2)  # square pixels of the photograph: https://cocodataset.org/#detection-eval

Annotation = Any  # a row of instances.parquet, as `itertuples` gives it


class Object(NamedTuple):
    """An annotation, or a predicted region that meets none.

    annotation_id, category_id: None of a region, as NaN are recall and iou. k: its class. area: pixels. recall: of the
    annotation's visible pixels, the share predicted as its class; NaN if none is visible at the model's resolution.
    iou: of these pixels and the predicted regions of its class that touch them. What lies of a region on other
    annotations of the class is right, and left out; its wrong pixels are shared out among those it touches, by the
    pixels that they have of it. probability: of the class, mean over the visible pixels or the region. bbox: left, top,
    width, height. An annotation's area and bbox are in the photograph's pixels, a region's at the model's resolution.
    """

    annotation_id: int | None
    category_id: int | None
    k: int
    crowd: bool
    area: int
    recall: float
    iou: float
    probability: float
    bbox: Sequence[float]


def annotations_by_image(instances: pd.DataFrame) -> dict[int, list[Annotation]]:
    """Rows of instances.parquet as tuples, by image_id."""
    by_image: dict[int, list[Annotation]] = {}
    for row in instances.itertuples():
        by_image.setdefault(row.image_id, []).append(row)
    return by_image


class ObjectFinder(Look):
    """Looks what became of the objects of images."""

    def __init__(self, known: Known):
        super().__init__(known)
        self._size = 1

    def look(self, batch: Predicted) -> None:
        self._size = batch.masks.shape[1]
        of_image = zip(batch.image_ids.tolist(), batch.probabilities, batch.classes, batch.masks, strict=True)
        for image_id, p, classes, mask in of_image:
            own = self.known.annotations.get(image_id, [])
            found = objects(p, classes, mask, own, self.taxonomy.class_of_id)
            self._rows += [(image_id, *(each if batch.sure else each._replace(probability=np.nan))) for each in found]

    def found(self) -> tuple[int, list[tuple]]:
        return self._size, self._rows

    def add(self, found: tuple[int, list[tuple]]) -> None:
        self._size = found[0]
        self._rows += found[1]


def object_table(finders: Sequence[ObjectFinder], samples: pd.DataFrame) -> pd.DataFrame:
    """Rows of objects.parquet of all finders' images, by image: its annotations, then the regions that meet none.

    samples: the images' rows of samples.parquet.
    """
    rows = [row for finder in finders for row in finder.found()[1]]
    size, taxonomy = finders[0].found()[0], finders[0].taxonomy
    table = pd.DataFrame(rows, columns=["image_id", *Object._fields])
    region = table["annotation_id"].isna().to_numpy(bool)
    images = samples.set_index("image_id").loc[table["image_id"]]
    width, height = images[["width", "height"]].to_numpy(float).T
    scale = np.where(region[:, None], np.stack([width, height], 1) / size, 1.0)
    area = table["area"].to_numpy(float) * scale.prod(1)
    boxes = np.array([list(box) for box in table["bbox"]], float).reshape(-1, 4) * np.tile(scale, 2)
    hit = pd.array(table["recall"].to_numpy(float) >= FOUND, "boolean")
    hit[table["recall"].isna().to_numpy()] = pd.NA  # of regions, and of what no pixel shows
    found = pd.DataFrame(
        {
            "image_id": table["image_id"].astype("int64"),
            "split": images["split"].to_numpy(),
            "annotation_id": table["annotation_id"].astype("Int64"),
            "class": np.array(taxonomy.class_names, object)[table["k"].to_numpy(int)],
            "category_id": table["category_id"].astype("Int32"),
            "crowd": table["crowd"].astype(bool),
            "area": area / (width * height),
            "size": np.array(SIZES, object)[np.digitize(area, SIZE_ENDS)],
            "recall": table["recall"].astype(float),
            "iou": table["iou"].astype(float),
            "found": hit,
            "probability": table["probability"].astype(float),
            "bbox": pd.Series(boxes.tolist(), dtype=object),
        }
    ).sort_values("image_id", kind="stable", ignore_index=True)
    return found.assign(object_id=np.arange(len(found)))


def objects(
    probabilities: np.ndarray,
    predicted: np.ndarray,
    category_mask: np.ndarray,
    annotations: Sequence[Annotation],
    class_of: np.ndarray,
) -> list[Object]:
    """The annotations of the model's classes in one image, and the predicted regions that meet none of their class.

    A region meets none if less than a tenth of it is labelled as its class: the *extra* ones of
    `evaluation.errors`. probabilities: float32 H × W × K. predicted: the classes of the largest, H × W.
    category_mask: uint8 H × W of COCO category ids, of which `class_of`, uint8[256], is the class; where it is ignored
    nothing is predicted. An annotation's visible pixels are those of its outline that the mask has as its class: which
    of two objects of a class is in front does not matter.
    """
    classes = class_of[category_mask]
    predicted = np.where(classes == IGNORE, IGNORE, predicted)
    found: list[Object] = []
    regions: list[Object] = []
    for k in range(1, probabilities.shape[-1]):
        seen, true = predicted == k, classes == k
        own = [row for row in annotations if class_of[row.category_id] == k]
        if not own and not seen.any():
            continue
        region, n = connected(seen[None])
        region = region[0]
        pixels = np.bincount(region.ravel(), minlength=n + 1)
        right = np.bincount(region[true], minlength=n + 1)
        for row in own:
            visible = resize_mask(decode_rle(row.rle, row.height, row.width), len(classes)) & true
            fit = _fit(region[visible], right, pixels)
            box = list(row.bbox)
            chance = _mean(probabilities[visible, k])
            found.append(
                Object(row.annotation_id, row.category_id, k, bool(row.iscrowd), int(row.area), *fit, chance, box)
            )
        boxes = ndimage.find_objects(region)
        for i in np.flatnonzero(right[1:] < MET * pixels[1:]) + 1:
            rows, columns = boxes[i - 1]
            box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
            chance = _mean(probabilities[region == i, k])
            regions.append(Object(None, None, k, False, int(pixels[i]), np.nan, np.nan, chance, box))
    return found + regions


def object_ratios(table: pd.DataFrame, image_ids: np.ndarray, taxonomy: Taxonomy) -> dict[str, Ratio]:
    """The share of the annotations that are found, crowds and those without a visible pixel left out.

    found_objects.CLASS; of these found_objects.CLASS.SIZE, by the area in the photograph; found_category.CATEGORY; of
    what any image shows. table: rows of objects.parquet. image_ids: int64[N], of the images that are looked at.
    """
    rows = table[table["found"].notna() & ~table["crowd"]]
    image = pd.Index(image_ids).get_indexer(rows["image_id"])
    rows, image = rows[image >= 0], image[image >= 0]
    found = rows["found"].to_numpy(bool)
    category = rows["category_id"].map(dict(taxonomy.categories[["category_id", "name"]].to_numpy()))
    subjects: dict[str, pd.Series] = {}
    for name in taxonomy.classes:
        own = rows["class"] == name
        subjects[f"found_objects.{name}"] = own
        subjects |= {f"found_objects.{name}.{size}": own & (rows["size"] == size) for size in SIZES}
    subjects |= {f"found_category.{name}": category == name for name in taxonomy.categories["name"]}
    ratios = {}
    for name, chosen in subjects.items():
        of = chosen.to_numpy(bool)
        if of.any():
            below = np.bincount(image[of], minlength=len(image_ids)).astype(float)
            above = np.bincount(image[of & found], minlength=len(image_ids)).astype(float)
            ratios[name] = Ratio(above, below, below > 0)
    return ratios


def object_measures(
    table: pd.DataFrame, image_ids: np.ndarray, taxonomy: Taxonomy, bootstrap: Bootstrap
) -> list[Measure]:
    """The figures of `object_ratios`, with intervals over groups of images.

    Carriers are those of what is found or of what is missed, whichever are fewer: where all is found, resamples say
    nothing of how much may be missed.
    """
    found = object_ratios(table, image_ids, taxonomy)
    if not found:
        return []
    missed = {name: Ratio(each.below - each.above, each.below, each.shown) for name, each in found.items()}
    fewer = carriers(missed, bootstrap)
    return [row._replace(carriers=min(row.carriers, fewer[row.measure])) for row in ratio_measures(found, bootstrap)]


def _fit(region: np.ndarray, right: np.ndarray, pixels: np.ndarray) -> tuple[float, float]:
    """Recall and IoU of an annotation, by the region of each of its visible pixels.

    right, pixels: of each region, those on its class, and all; int[1 + regions].
    """
    if not len(region):
        return np.nan, np.nan
    own = np.bincount(region, minlength=len(pixels))[1:]
    wrong = own / np.maximum(right[1:], 1) * (pixels - right)[1:]
    return float(own.sum() / len(region)), float(own.sum() / (len(region) + wrong.sum()))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan
