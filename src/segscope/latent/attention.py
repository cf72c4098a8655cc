"""Where in the images the model sees what it makes of them. Letters: N images, H × W pixels, D dimensions, K classes.

Two kinds of maps. An *attention map* writes a direction of the latent space back onto an image, exactly. A *support
map* does the same for the logits, which are affine as long as no ReLU of the decoder switches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from segscope.latent.space import LatentSpace
from segscope.taxonomy import IGNORE, Taxonomy

# By cluster, the sum of its positive attention and its pixels, by category position: float64[C] each.
Under = dict[int, tuple[np.ndarray, np.ndarray]]


class Points(NamedTuple):
    """Clustered images. image_ids: int64[N]. vectors: latent ones, float64 N × D. labels: cluster or -1, int[N]."""

    image_ids: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray


def cluster_direction(vectors: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Unit vector float[D] from the mean of the other images to the mean of those of bool[N] `inside`."""
    direction = vectors[inside].mean(0) - vectors[~inside].mean(0)
    return direction / np.linalg.norm(direction)


def choose_exemplars(vectors: np.ndarray, labels: np.ndarray, most: int) -> dict[int, np.ndarray]:
    """Each cluster's images that score highest on its direction, their positions among the N."""
    chosen = {}
    for cluster in range(labels.max() + 1):
        members = np.flatnonzero(labels == cluster)
        score = vectors[members] @ cluster_direction(vectors, labels == cluster)
        chosen[cluster] = members[np.argsort(-score, kind="stable")[:most]]
    return chosen


def attend(
    batches: Iterable[tuple[np.ndarray, np.ndarray, list[np.ndarray]]],
    space: LatentSpace,
    points: Points,
    taxonomy: Taxonomy,
    most: int,
) -> tuple[pd.DataFrame, Under]:
    """Attention maps of each cluster's exemplars, and what lies under the attention of all its images.

    batches: image_id int64[B], mask of category ids uint8 B × H × W, the space's layers' activations, of all N images
    in any order. points: the N images.

    Returns rows of heatmaps.parquet, at most `most` a cluster, and what lies under the attention.
    """
    ids, vectors, labels = points
    directions = {c: cluster_direction(vectors, labels == c) for c in range(labels.max() + 1)}
    exemplars = {c: set(ids[chosen].tolist()) for c, chosen in choose_exemplars(vectors, labels, most).items()}
    cluster_of = dict(zip(ids.tolist(), labels.tolist(), strict=True))
    n_categories = len(taxonomy.category_names)
    under = {c: (np.zeros(n_categories), np.zeros(n_categories)) for c in directions}
    rows = []
    for batch_ids, masks, outputs in batches:
        cluster = np.array([cluster_of[i] for i in batch_ids.tolist()])
        for c in np.unique(cluster[cluster >= 0]):
            chosen = cluster == c
            maps = space.write_back(directions[c], [layer[chosen] for layer in outputs], masks.shape[1])
            attention, pixels = by_category(maps, taxonomy.position_of_id[masks[chosen]], n_categories)
            under[c] = under[c][0] + attention, under[c][1] + pixels
            rows += [
                {"cluster": c, "image_id": i, "score": m.sum(), "attention": m.ravel()}
                for i, m in zip(batch_ids[chosen].tolist(), maps, strict=True)
                if i in exemplars[c]
            ]
    table = pd.DataFrame(rows, columns=["cluster", "image_id", "score", "attention"])
    return table.sort_values(["cluster", "score"], ascending=[True, False]), under


def by_category(maps: np.ndarray, positions: np.ndarray, n_categories: int) -> tuple[np.ndarray, np.ndarray]:
    """The maps' positive part, summed, and the number of pixels, by category position: float64[C] each.

    maps: float N × H × W. positions: uint8 N × H × W (or 255, which counts nowhere).
    """
    known = positions != IGNORE
    attention = np.bincount(positions[known], np.maximum(maps, 0)[known], n_categories)
    return attention, np.bincount(positions[known], minlength=n_categories).astype(float)


def attention_profile(attention: np.ndarray, pixels: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """What lies under a cluster's attention, as profile rows: the share of positive attention on each category.

    attention, pixels: float[C] of the same images; C categories, the first unlabelled. inside: share of attention;
    rest: share of pixels; lift: their ratio.
    """
    share, area = attention / max(attention.sum(), 1e-12), pixels / max(pixels.sum(), 1)
    table = pd.DataFrame({"kind": "attention", "feature": names, "inside": share, "rest": area})[pixels > 0]
    table["lift"] = table["inside"] / table["rest"]
    return table.assign(recall=np.nan, low=np.nan, high=np.nan, p_value=np.nan)


def most_on(attention: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The three categories with most of a map's positive part, and their shares, none of 0; attention: float[C]."""
    share = pd.Series(attention / max(attention.sum(), 1e-12), index=names)
    return share[share > 0].nlargest(3).to_dict()


def attention_rows(under: Under, profiles: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """The profile rows of what lies under each cluster's attention, to follow `profiles`."""
    known = profiles.drop_duplicates("cluster").set_index("cluster")[["name", "size"]]
    tables = [
        attention_profile(*sums, taxonomy.category_names).assign(cluster=c, **known.loc[c]) for c, sums in under.items()
    ]
    return pd.concat([profiles, *tables], ignore_index=True)
