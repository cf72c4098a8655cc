"""How far the latent space keeps two sides and several kinds of images apart. Letters: N images, D dimensions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from segscope.artefacts.measures import Measure, of_split
from segscope.evaluation.bootstrap import Bootstrap, interval
from segscope.latent.neighbors import nearest, purity
from segscope.latent.sides import heavy_groups, kinds, sides
from segscope.taxonomy import Taxonomy

SILHOUETTE_IMAGES = 5000
SPLITS = 5  # ways of folding: a single one moves the AUC by 0.01


def out_of_fold(vectors: np.ndarray, heavy: np.ndarray, group: np.ndarray, seed: int, folds: int = 5) -> np.ndarray:
    """Scores of a linear classifier that tells heavy 1 from heavy 0, by models that saw nothing of the image's group.

    vectors: float N × D. heavy, group: int[N]. Returns float64 SPLITS × N, one row a way of folding; NaN if a
    side has fewer groups than there are folds.
    """
    scores = np.full((SPLITS, len(heavy)), np.nan)
    if _fewest(heavy, Bootstrap(group)) < folds:
        return scores
    for n in range(SPLITS):
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + n)
        scores[n] = cross_val_predict(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
            vectors,
            heavy,
            groups=group,
            cv=splitter,
            method="decision_function",
        )
    return scores


def _fewest(heavy: np.ndarray, bootstrap: Bootstrap) -> int:
    """How many groups the smaller of the two sides has."""
    return int(bootstrap.number(heavy[:, None] == [0, 1]).min())


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ROC-AUC of scores float[N] for bool[N] under weights R × N: float64[R], NaN where one side weighs nothing.

    The share of pairs that are ordered rightly, ties counting half: Mann-Whitney's U.
    """
    values, of = np.unique(scores, return_inverse=True)
    up, down = (
        np.stack([np.bincount(of, row, len(values)) for row in weights * side]) for side in (positive, ~positive)
    )
    below = np.cumsum(down, 1) - down / 2
    pairs = up.sum(1) * down.sum(1)
    return np.divide((up * below).sum(1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def separability(
    vectors: np.ndarray, heavy: np.ndarray, group: np.ndarray, seed: int
) -> tuple[float, tuple[float, float]]:
    """ROC-AUC of telling heavy 1 from heavy 0, out of fold, mean over ways of folding, and its 95 % interval.

    heavy: int[N], other values are left out. NaN where there are too few groups.
    """
    known = heavy >= 0
    positive, bootstrap = heavy[known] == 1, Bootstrap(group[known])
    scores = out_of_fold(vectors[known], heavy[known], group[known], seed)
    if np.isnan(scores).any():
        return np.nan, (np.nan, np.nan)
    whole = np.ones((1, len(positive)))
    value = float(np.mean([auc(each, positive, whole) for each in scores]))
    drawn = [
        np.mean([auc(each, positive, weights[:, bootstrap.group]) for each in scores], 0)
        for weights in bootstrap.weights()
    ]
    return value, interval(np.concatenate(drawn))


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


def neighbor_purity(
    vectors: np.ndarray, kind: np.ndarray, group: np.ndarray, k: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each image's k nearest, the share of its own kind, and what random ones would give: float64[N] each.

    vectors: float N × D. kind: object[N]. Near copies count as one: a group lies at its mean, is of the kind of its
    first image, and its neighbours are other groups. NaN of a single kind.
    """
    _, first, of = np.unique(group, return_index=True, return_inverse=True)
    kinds = np.unique(kind[first].astype(str), return_inverse=True)[1]
    if kinds.max() == 0:  # and so of a single group
        return np.full(len(group), np.nan), np.full(len(group), np.nan)
    chance = (np.bincount(kinds)[kinds] - 1) / (len(kinds) - 1)
    return purity(nearest(Bootstrap(group).means(vectors), k, seed).index, kinds)[of], chance[of]


def separation_measures(
    vectors: np.ndarray, samples: pd.DataFrame, taxonomy: Taxonomy, group: np.ndarray, k: int, seed: int
) -> list[Measure]:
    """Of all images and of those of each split: how far the two sides lie apart, and the neighbours' purity.

    vectors: N × D. samples: the images' rows. group: int[N]. neighbor_purity: of the k nearest images, of whatever
    split, the share of the image's own kind, mean over images. Where there are no sides, or no kinds, their figures are
    left out.
    """
    two, split = sides(samples, taxonomy), samples["split"].to_numpy()
    heavy, (kind, _) = heavy_groups(samples, two), kinds(samples, taxonomy.categories)
    pure, chance = neighbor_purity(vectors, kind, group, k, seed)
    rows = []
    for name in ("all", *pd.unique(split)):
        chosen = (split == name) | (name == "all")
        bootstrap, n = Bootstrap(group[chosen]), int(chosen.sum())
        rows += of_split(name, [Measure("images", n), Measure("groups", bootstrap.groups)])
        if two:
            own = heavy[chosen]
            value, ends = separability(vectors[chosen], own, group[chosen], seed)
            rows += of_split(
                name,
                [
                    *(
                        Measure(f"{side.name}_heavy", int((own == number).sum()))
                        for side, number in zip(two, (1, 0), strict=True)
                    ),
                    Measure("separability", value, (own >= 0).sum(), *ends, carriers=_fewest(own, bootstrap)),
                    Measure("silhouette", silhouette(vectors[chosen], own, seed), (own >= 0).sum()),
                ],
            )
        sums = bootstrap.sums(np.stack([pure[chosen], np.ones(n)], 1))
        pure_ends = interval(sums[:, 0] / sums[:, 1])
        rows += of_split(
            name,
            [
                Measure("neighbor_purity", float(pure[chosen].mean()), n, *pure_ends, carriers=bootstrap.groups),
                Measure("chance.neighbor_purity", float(chance[chosen].mean()), n),
            ],
        )
    return rows
