"""Suspect labels: where a model that has not seen an image and the image's annotations disagree.

Of each annotation of the variant's classes what the model gives under its mask decides the kind: another class
(`mislabeled`), hardly any of its class (`ambiguous`), or its class with another outline (`inaccurate`). A predicted
region that nothing labelled explains is `missing`. Two numbers say how much a label is contradicted, neither of them in
pixels, so that they mean the same at every size of an object or image: the model's *probability* where it contradicts,
and the *depth*, the contradiction's size beside the object's: the share of it that is contradicted, or how far outlines
are apart. The score is the share of faults among suspects of such a probability and depth. Letters: H × W pixels, K
classes (0 is background).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.special import expit, logit

from segscope.artefacts.rle import bbox, decode_rle
from segscope.evaluation.objects import Annotation
from segscope.evaluation.predicted import Known, Look, Predicted
from segscope.labels.masks import resize_mask
from segscope.taxonomy import IGNORE

KINDS = ("mislabeled", "ambiguous", "inaccurate", "missing")
MIN_SHARE = 0.005  # of the image's pixels; smaller annotations and regions are below a model's sight
MIN_SCORE = 0.02
SEEN = 0.3  # of an annotation's pixels: below it the model does not see the class there
SLACK = 1 / 128  # of the image's side: so far any outline may be off; a pixel at least
NEARBY = 0.3  # of the radius of a disc of an annotation's area: so far beyond its outline the model's is looked for
SURE = 8  # power of a pixel's margin that counts as contradiction of an outline, which is where models waver

# Log odds of a fault: constant, per log odds of probability, per log of depth. Of faults planted in the sample and in
# photographs; `python bench/suspects.py` fits them, docs/labels.md says what they are worth.
ODDS = {
    "mislabeled": (1.98, 2.63, 2.25),
    "ambiguous": (-4.03, 1.79, 0.3),
    "inaccurate": (6.86, 0.0, 1.69),
    "missing": (0.65, 2.62, 2.57),
}
WHOLE = 0.6  # a deeper contradiction counts no more: what holds of most of an object holds of the object


class Contradiction(NamedTuple):
    """An annotation or region that the model contradicts.

    annotation_id: None of a region. labelled, suggested: classes. bbox: at the model's resolution. probability, depth:
    see the module.
    """

    annotation_id: int | None
    kind: str
    labelled: int
    suggested: int
    bbox: list[float]
    probability: float
    depth: float


class SuspectFinder(Look):
    """Looks for the suspects of images, with the steadier probabilities of a model that has not learned from them."""

    def __init__(self, known: Known):
        super().__init__(known)
        self._size = 1
        # Pixels of each class predicted, as 2 × K: labelled otherwise, labelled so.
        self._pixels = np.zeros((2, len(self.taxonomy.class_names)), np.int64)

    def look(self, batch: Predicted) -> None:
        assert batch.steadier is not None
        self._size = batch.masks.shape[1]
        predicted = batch.steadier.argmax(-1)
        of_image = zip(batch.image_ids.tolist(), batch.steadier, predicted, batch.masks, strict=True)
        for image_id, p, classes, mask in of_image:
            own = self.known.annotations.get(image_id, [])
            found = contradictions(p, classes, mask, own, self.taxonomy.class_of_id)
            self._rows += [(image_id, *(each if batch.sure else each._replace(probability=np.nan))) for each in found]
        labelled = self.taxonomy.class_of_id[batch.masks]
        agreed = predicted + self._pixels.shape[1] * (labelled == predicted)
        counts = np.bincount(agreed[labelled != IGNORE], minlength=self._pixels.size)
        self._pixels += counts.reshape(self._pixels.shape)

    def found(self) -> tuple[int, list[tuple], np.ndarray]:
        return self._size, self._rows, self._pixels

    def add(self, found: tuple[int, list[tuple], np.ndarray]) -> None:
        self._size = found[0]
        self._rows += found[1]
        self._pixels += found[2]

    def precision(self) -> np.ndarray:
        """Of each class's predicted pixels, so far, the share that is labelled so; float64[K]."""
        return self._pixels[1] / np.maximum(self._pixels.sum(0), 1)

    def table(self, samples: pd.DataFrame, min_score: float = MIN_SCORE) -> pd.DataFrame:
        """Rows of label_issues.parquet, the highest score first; suspects of a lower score than `min_score` are not.

        samples: the images' rows of samples.parquet, in whose pixels a bbox is given.
        """
        table = pd.DataFrame(self._rows, columns=["image_id", *Contradiction._fields])
        suggested = table["suggested"].to_numpy(int)
        # Of a model that does not say how sure it is, a class's precision is all that is known of its pixels.
        probability = table["probability"].astype(float).fillna(1.0) * self.precision()[suggested]
        score = fault_share(table["kind"], probability, table["depth"])
        images = samples.set_index("image_id").loc[table["image_id"]]
        scale = images[["width", "height"]].to_numpy(float) / self._size
        boxes = np.array(table["bbox"].tolist(), float).reshape(-1, 4) * np.tile(scale, 2)
        names = np.array(self.taxonomy.class_names, object)
        table = table.assign(
            split=images["split"].to_numpy(),
            score=score,
            labelled=names[table["labelled"].to_numpy(int)],
            suggested=names[suggested],
            bbox=pd.Series(boxes.tolist(), dtype=object),
        )
        table = table[score >= min_score]
        evidence = [_evidence(*row) for row in zip(*(table[c] for c in _EVIDENT), strict=True)]
        table = table.assign(evidence=pd.Series(evidence, table.index, dtype=object))
        return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def fault_share(kind: pd.Series, probability: pd.Series, depth: pd.Series) -> np.ndarray:
    """Of suspects of such a kind, probability and depth, the share that are faults; float64[n], rising with both.

    probability: times the precision of the class it is of. A class that a weak model predicts where it is not labelled
    contradicts no label by being predicted once more.
    """
    odds = np.array([ODDS[each] for each in kind]).reshape(-1, 3)
    return expit(odds[:, 0] + (odds[:, 1:].T * strength(probability, depth)).sum(0))


def strength(probability: ArrayLike, depth: ArrayLike) -> np.ndarray:
    """What the log odds of a fault are linear in: float64[2, n], log odds of the probability and log of the depth."""
    p, d = np.asarray(probability, float), np.asarray(depth, float)
    return np.array([logit(np.clip(p, 0.01, 0.99)), np.log(np.clip(d, 0.001, WHOLE))])


_EVIDENT = ("kind", "suggested", "probability", "depth")


def _evidence(kind: str, suggested: str, probability: float, depth: float) -> str:
    known = not np.isnan(probability)
    sure, where = (f" {probability:.0%}", " where the model is sure") if known else ("", "")
    match kind:
        case "inaccurate":
            return f"the outline and the model's of {suggested} are {depth:.1%} of its size apart{where}"
        case "missing":
            return f"{suggested}{sure} where nothing is labelled, {depth:.0%} of what the model sees as one"
        case _:
            return f"{suggested}{sure} in the middle of the mask, and the most probable in {depth:.0%} of it"


def contradictions(
    probabilities: np.ndarray,
    predicted: np.ndarray,
    category_mask: np.ndarray,
    annotations: Sequence[Annotation],
    class_of: np.ndarray,
) -> list[Contradiction]:
    """What the model contradicts in one image.

    probabilities: float32 H × W × K. predicted: the classes of the largest, int H × W. category_mask: uint8 H × W of
    COCO category ids, of which `class_of`, uint8[256], is the class. annotations: the image's, of
    `annotations_by_image`.
    """
    return [
        *_annotations_contradicted(probabilities, predicted, category_mask, annotations, class_of),
        *_missing(probabilities, predicted, category_mask, class_of),
    ]


def _annotations_contradicted(
    probabilities: np.ndarray,
    predicted: np.ndarray,
    category_mask: np.ndarray,
    annotations: Sequence[Annotation],
    class_of: np.ndarray,
) -> list[Contradiction]:
    found = []
    size, classes = len(category_mask), class_of[category_mask]
    for row in annotations:
        own = int(class_of[row.category_id])
        if row.iscrowd or own in (0, IGNORE):
            continue
        outline = resize_mask(decode_rle(row.rle, row.height, row.width), size)
        mask = outline & (classes == own)
        pixels = int(mask.sum())
        if pixels < MIN_SHARE * size**2:
            continue
        mean = probabilities[mask].mean(0)
        best = int(mean.argmax())
        seen = np.bincount(predicted[mask], minlength=len(mean)) / pixels
        if best not in (0, own) or seen[own] < SEEN:
            kind, best = ("ambiguous", 0) if best in (0, own) else ("mislabeled", best)
            probability, depth = float(probabilities[_core(mask), best].mean()), float(seen[best])
        else:
            kind, best = "inaccurate", own
            probability, depth = _between(mask, probabilities, predicted, category_mask, classes, own)
        if depth > 0:
            found.append(Contradiction(row.annotation_id, kind, own, best, bbox(mask), probability, depth))
    return found


def _core(mask: np.ndarray) -> np.ndarray:
    """The pixels at least half as far inside a mask as its innermost; nothing is outside the picture."""
    window = _window(mask, 1)
    distance = ndimage.distance_transform_edt(np.pad(mask[window], 1))[1:-1, 1:-1]
    core = np.zeros_like(mask)
    core[window] = distance >= distance.max() / 2
    return core


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The rows and columns of a mask's box, and so many pixels beyond."""
    left, top, width, height = (int(v) for v in bbox(mask))
    return (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    )


def _border(mask: np.ndarray) -> int:
    """The number of a mask's pixels that have a side neighbour outside it, or outside the picture."""
    return int(mask.sum() - ndimage.binary_erosion(mask).sum())


def _between(
    mask: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    category_mask: np.ndarray,
    classes: np.ndarray,
    own: int,
) -> tuple[float, float]:
    """The model's mean probability between an annotation's outline and its own, and how far they are apart.

    Between them are, inside, pixels predicted as background; outside, the unlabelled ones near it that are predicted
    as its class in one region with it, and are nearer to it than to others of the class. The distance is their number
    for each pixel of outline, beside the root of the box's area; a pixel counts as far as the model is sure.
    """
    slack = _slack(len(mask))
    near = max(3 * slack, NEARBY * np.sqrt(mask.sum() / np.pi))
    _, _, width, height = bbox(mask)
    window = _window(mask, 2 * round(near))
    mask, predicted, classes = mask[window], predicted[window], classes[window]
    outwards = ndimage.distance_transform_edt(~mask)
    regions, _ = ndimage.label((predicted == own) & (category_mask[window] == 0))
    pixels = np.bincount(regions[outwards <= near], minlength=regions.max() + 1)
    # Regions that lie mostly farther away are something else.
    belongs = pixels > np.bincount(regions.ravel()) / 2
    belongs[0] = False
    outside = belongs[regions] & (outwards <= near)
    others = (classes == own) & ~mask
    if others.any():
        outside &= outwards < ndimage.distance_transform_edt(~others)
    # The picture's edge is no outline.
    beyond = outwards + ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1] > slack
    inside = mask & (predicted == 0) & beyond
    outside &= beyond
    background, foreground = np.moveaxis(probabilities[window][..., [0, own]], -1, 0)
    says = np.concatenate([background[inside], foreground[outside]])
    denies = np.concatenate([foreground[inside], background[outside]])
    if not len(says):
        return 0.0, 0.0
    return float(says.mean()), float(((says - denies) ** SURE).sum() / _border(mask) / np.sqrt(width * height))


def _slack(size: int) -> int:
    return max(1, round(SLACK * size))


def _missing(
    probabilities: np.ndarray, predicted: np.ndarray, category_mask: np.ndarray, class_of: np.ndarray
) -> list[Contradiction]:
    """Predicted regions where nothing is labelled.

    What is a small part of what the model sees as one thing is more likely the rest of a labelled one, spilt over its
    outline or over something in front of it: depth is the region's share of it.
    """
    found = []
    size = len(category_mask)
    for k in range(1, probabilities.shape[-1]):
        unlabelled = (predicted == k) & (category_mask == 0)
        if unlabelled.sum() < MIN_SHARE * size**2:
            continue
        labelled = class_of[category_mask] == k
        apart = unlabelled
        if labelled.any():
            apart = unlabelled & ~ndimage.binary_dilation(labelled, iterations=2 * _slack(size))
        regions, _ = ndimage.label(apart)
        pixels = np.bincount(regions.ravel())
        things, _ = ndimage.label(predicted == k)
        explained = np.bincount(things[category_mask > 0], minlength=things.max() + 1)
        for i in np.flatnonzero(pixels[1:] >= MIN_SHARE * size**2) + 1:
            region = regions == i
            depth = pixels[i] / (pixels[i] + explained[things[region][0]])
            probability = float(probabilities[_core(region), k].mean())
            found.append(Contradiction(None, "missing", 0, k, bbox(region), probability, float(depth)))
    return found
