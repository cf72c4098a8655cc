"""Suspect labels: where a model that has not seen an image and the image's annotations disagree.

A contradiction's *depth* is the number of contradicted pixels for each pixel of outline, in pixels at the model's
resolution. Outlines, drawn or predicted, are a pixel or two off; what is contradicted many pixels deep is none of that,
and small things, of which a model misses many, are nowhere deep. Of each annotation of the variant's classes what the
model gives under its mask decides the kind: another class (`mislabeled`), hardly any of its class (`ambiguous`), or its
class with another outline (`inaccurate`). A predicted region that nothing labelled explains is `missing`. Scores are
0…1, higher is worse. Letters: H × W pixels, K classes (0 is background).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from segscope.artefacts.rle import bbox, decode_rle
from segscope.evaluation.predicted import Predicted
from segscope.labels.masks import resize_mask
from segscope.taxonomy import IGNORE, Taxonomy

KINDS = ("mislabeled", "ambiguous", "inaccurate", "missing")
MIN_PIXELS = 80  # at the model's resolution; smaller annotations and regions are below its sight
MIN_SCORE = 0.3
SEEN = 0.3  # of an annotation's pixels: below it the model does not see the class there
SLACK = 2  # pixels that any outline may be off
NEARBY = 0.15  # of the shorter side of an annotation's box: so far beyond its outline the model's is looked for

Annotation = Any  # a row of instances.parquet, as `itertuples` gives it


class Suspect(NamedTuple):
    """A row of label_issues.parquet without image_id and split; see `schemas.LABEL_ISSUES`."""

    annotation_id: int | None
    kind: str
    score: float
    labelled: str
    suggested: str
    bbox: list[float]
    probability: float
    depth: float
    evidence: str


class _Found(NamedTuple):
    """labelled, suggested: classes. box: at the model's resolution. probability: mean of the suggested class."""

    annotation_id: int | None
    kind: str
    labelled: int
    suggested: int
    box: list[float]
    probability: float
    depth: float


class SuspectFinder:
    """Looks for the suspects of images, batch by batch.

    samples: the images' rows of samples.parquet, in whose pixels a bbox is given. instances: of these and other images.
    """

    def __init__(self, samples: pd.DataFrame, instances: pd.DataFrame, taxonomy: Taxonomy):
        self._shape = samples.set_index("image_id")[["height", "width"]]
        self._split = samples.set_index("image_id")["split"]
        self._annotations = annotations_by_image(instances)
        self._taxonomy = taxonomy
        self._rows: list[tuple] = []

    def look(self, batch: Predicted) -> None:
        """Look at images that the model has not learned from, with its steadier probabilities."""
        assert batch.steadier is not None
        for image_id, mask, probabilities in zip(batch.image_ids.tolist(), batch.masks, batch.steadier, strict=True):
            shape = tuple(self._shape.loc[image_id])
            annotations = self._annotations.get(image_id, [])
            found = suspects(probabilities, mask, annotations, self._taxonomy, shape)
            self._rows += [(image_id, self._split[image_id], *suspect) for suspect in found]

    def table(self) -> pd.DataFrame:
        """Rows of label_issues.parquet, the highest score first."""
        table = pd.DataFrame(self._rows, columns=["image_id", "split", *Suspect._fields])
        return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def suspects(
    probabilities: np.ndarray,
    category_mask: np.ndarray,
    annotations: Sequence[Annotation],
    taxonomy: Taxonomy,
    image_shape: tuple[int, int],
) -> list[Suspect]:
    """The suspects of one image.

    probabilities: float32 H × W × K. category_mask: uint8 H × W of COCO category ids. annotations: the image's, of
    `annotations_by_image`. image_shape: the image's height and width, in whose pixels a bbox is given.
    """
    size, names = len(category_mask), taxonomy.class_names
    scale = np.array([image_shape[1] / size, image_shape[0] / size] * 2)
    predicted = probabilities.argmax(-1)
    found = _annotation_suspects(probabilities, predicted, category_mask, annotations, taxonomy.class_of_id)
    found += _missing_suspects(probabilities, predicted, category_mask, taxonomy.class_of_id, len(names))
    return [
        Suspect(
            each.annotation_id,
            each.kind,
            score,
            names[each.labelled],
            names[each.suggested],
            (np.array(each.box) * scale).tolist(),
            each.probability,
            each.depth,
            _evidence(each, names),
        )
        for each in found
        if (score := _score(each)) >= MIN_SCORE
    ]


def _score(found: _Found) -> float:
    """0…1, rising with depth (1 pixel without any doubt is 0.5) and with the model's confidence.

    Of a missing label's region, which is where the model predicts the class, that is its confidence above even odds.
    """
    confidence = {"inaccurate": 1.0, "missing": max(0.0, 2 * found.probability - 1)}.get(found.kind, found.probability)
    strength = found.depth * confidence
    return strength / (1 + strength)


def _evidence(found: _Found, names: Sequence[str]) -> str:
    depth, suggested = f"{found.depth:.1f} pixels deep", names[found.suggested]
    match found.kind:
        case "inaccurate":
            return f"the outline and the model's of {suggested} differ, {depth}"
        case "missing":
            return f"{suggested} {found.probability:.0%} where nothing is labelled, {depth}"
        case _:
            return f"{suggested} {found.probability:.0%} under the mask, contradicted {depth}"


def annotations_by_image(instances: pd.DataFrame) -> dict[int, list[Annotation]]:
    """Rows of instances.parquet as tuples, by image_id."""
    by_image: dict[int, list[Annotation]] = {}
    for row in instances.itertuples():
        by_image.setdefault(row.image_id, []).append(row)
    return by_image


def _annotation_suspects(
    probabilities: np.ndarray,
    predicted: np.ndarray,
    category_mask: np.ndarray,
    annotations: Sequence[Annotation],
    class_of: np.ndarray,
) -> list[_Found]:
    found = []
    classes = class_of[category_mask]
    for row in annotations:
        own = int(class_of[row.category_id])
        if row.iscrowd or own in (0, IGNORE):
            continue
        outline = resize_mask(decode_rle(row.rle, row.height, row.width), len(category_mask))
        mask = outline & (classes == own)
        pixels = int(mask.sum())
        if pixels < MIN_PIXELS:
            continue
        mean = probabilities[mask].mean(0)
        best = int(mean.argmax())
        seen = np.bincount(predicted[mask], minlength=len(mean))
        border = _border(mask)
        if best not in (0, own):
            kind, contradicted = "mislabeled", seen[best]
        elif seen[own] < SEEN * pixels:
            kind, best, contradicted = "ambiguous", 0, seen[0]
        else:
            kind, best, contradicted = "inaccurate", own, _between(mask, predicted, category_mask, classes, own)
        found.append(_Found(row.annotation_id, kind, own, best, bbox(mask), float(mean[best]), contradicted / border))
    return found


def _border(mask: np.ndarray) -> int:
    """The number of a mask's pixels that have a side neighbour outside it, or outside the picture."""
    return int(mask.sum() - ndimage.binary_erosion(mask).sum())


def _between(mask: np.ndarray, predicted: np.ndarray, category_mask: np.ndarray, classes: np.ndarray, own: int) -> int:
    """Pixels between an annotation's outline and the model's, but for a pixel along the outline.

    Inside, those predicted as background. Outside, the unlabelled ones near it that are predicted as its class in one
    region with it, and are nearer to it than to others of the class.
    """
    left, top, width, height = (int(v) for v in bbox(mask))
    margin = max(3, round(NEARBY * min(width, height)))
    window = (
        slice(max(0, top - 2 * margin), top + height + 2 * margin),
        slice(max(0, left - 2 * margin), left + width + 2 * margin),
    )
    mask, predicted, classes = mask[window], predicted[window], classes[window]
    inside = ndimage.binary_erosion(mask, border_value=1) & (predicted == 0)
    distance = ndimage.distance_transform_edt(~mask)
    regions, _ = ndimage.label((predicted == own) & (category_mask[window] == 0) & (distance > 1))
    near = np.bincount(regions[distance <= margin], minlength=regions.max() + 1)
    # Regions that lie mostly farther away are something else.
    belongs = near > np.bincount(regions.ravel()) / 2
    belongs[0] = False
    outside = belongs[regions] & (distance <= margin)
    others = (classes == own) & ~mask
    if others.any():
        outside &= distance < ndimage.distance_transform_edt(~others)
    return int(inside.sum() + outside.sum())


def _missing_suspects(
    probabilities: np.ndarray,
    predicted: np.ndarray,
    category_mask: np.ndarray,
    class_of: np.ndarray,
    n_classes: int,
) -> list[_Found]:
    found = []
    for k in range(1, n_classes):
        unlabelled = (predicted == k) & (category_mask == 0)
        if not unlabelled.any():
            continue
        labelled = class_of[category_mask] == k
        beside = np.zeros_like(labelled)
        if labelled.any():
            grown = ndimage.binary_dilation(labelled, iterations=SLACK)
            unlabelled &= ~grown
            beside = ndimage.binary_dilation(grown)
        regions, _ = ndimage.label(unlabelled)
        pixels = np.bincount(regions.ravel())
        for i in np.flatnonzero(pixels[1:] >= MIN_PIXELS) + 1:
            region = regions == i
            border = _border(region)
            # What is amid labelled things of the class is more likely theirs, spilt over something in front of them.
            apart = 1 - (region & beside).sum() / border
            depth = max(0.0, apart) * pixels[i] / border
            found.append(_Found(None, "missing", 0, k, bbox(region), float(probabilities[region, k].mean()), depth))
    return found
