"""How far the latent space keeps person-heavy and vehicle-heavy images apart. Letters: N images, D dimensions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from segscope.artefacts.measures import Measure
from segscope.latent.neighbors import purity

HEAVY_SHARE = 0.05
SILHOUETTE_IMAGES = 5000


def heavy_groups(samples: pd.DataFrame) -> np.ndarray:
    """1 for person-heavy, 0 for vehicle-heavy, -1 for other images, int[N], by COCO's labels alone.

    Heavy: at least 5 % of the pixels, and at least twice the other's share.
    """
    empty = pd.Series(0.0, index=samples.index)
    person = samples.get("share.person", empty).to_numpy()
    vehicle = samples.get("share.super.vehicle", empty).to_numpy()
    group = np.full(len(samples), -1)
    group[(person >= HEAVY_SHARE) & (person >= 2 * vehicle)] = 1
    group[(vehicle >= HEAVY_SHARE) & (vehicle >= 2 * person)] = 0
    return group


def separability(vectors: np.ndarray, group: np.ndarray, seed: int, folds: int = 5) -> float:
    """ROC-AUC of a linear classifier that tells group 1 from group 0, each image scored by a model that has not
    seen it. NaN if a group has fewer images than there are folds.
    """
    known = group >= 0
    if min(np.bincount(group[known], minlength=2)) < folds:
        return float("nan")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    score = cross_val_predict(classifier, vectors[known], group[known], cv=splitter, method="decision_function")
    return float(roc_auc_score(group[known], score))


def silhouette(vectors: np.ndarray, group: np.ndarray, seed: int) -> float:
    """Mean silhouette of the images of groups 1 and 0 (Rousseeuw 1987, https://doi.org/10.1016/0377-0427(87)90125-7).

    1: two dense groups far apart, 0: they lie over each other. Of many images, that of seeded ones. NaN if a group has
    fewer than 2 images.
    """
    known = np.flatnonzero(group >= 0)
    if min(np.bincount(group[known], minlength=2)) < 2:
        return float("nan")
    return float(
        silhouette_score(
            vectors[known], group[known], sample_size=min(len(known), SILHOUETTE_IMAGES), random_state=seed
        )
    )


def separation_measures(vectors: np.ndarray, neighbors: np.ndarray, samples: pd.DataFrame, seed: int) -> list[Measure]:
    """Of all images and of those of each split: how far the groups lie apart, and the neighbours' purity.

    vectors: N × D. neighbors: int N × k, of the N images. samples: their rows. neighbor_purity: the mean share of an
    image's neighbours, of whatever split, whose dominant super-category is its own.
    """
    group = heavy_groups(samples)
    pure = purity(neighbors, samples["dominant"].to_numpy())
    split = samples["split"].to_numpy()
    rows = []
    for name in ("all", *pd.unique(split)):
        chosen = (split == name) | (name == "all")
        own, heavy = group[chosen], int((group[chosen] >= 0).sum())
        rows += [
            Measure("images", int(chosen.sum()), split=name),
            Measure("person_heavy", int((own == 1).sum()), split=name),
            Measure("vehicle_heavy", int((own == 0).sum()), split=name),
            Measure("separability", separability(vectors[chosen], own, seed), heavy, split=name),
            Measure("silhouette", silhouette(vectors[chosen], own, seed), heavy, split=name),
            Measure("neighbor_purity", float(pure[chosen].mean()), int(chosen.sum()), split=name),
        ]
    return rows
