"""Similar images: nearest neighbours in the latent space. Letters: N images, D dimensions, k neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

EXACT_BELOW = 50_000  # up to there it takes less than to compile the approximate search
RECALL_QUERIES = 1000


@dataclass(frozen=True)
class Neighbors:
    """The k nearest other images of each image by Euclidean distance, the nearest first.

    index: int64 N × k. distance: float32 N × k. recall: the share of the true neighbours among them, 1 for an exact
    search.
    """

    index: np.ndarray
    distance: np.ndarray
    recall: float


def nearest(vectors: np.ndarray, k: int, seed: int, exact_below: int = EXACT_BELOW) -> Neighbors:
    """Neighbours within N × D vectors, at most N - 1.

    From `exact_below` images on they are approximate, by nearest-neighbour descent (Dong et al. 2011,
    https://doi.org/10.1145/1963405.1963487), and their recall is measured on seeded images.
    """
    n = len(vectors)
    k = min(k, n - 1)
    vectors = np.ascontiguousarray(vectors, np.float32)
    if n < exact_below:
        distance, index = NearestNeighbors(n_neighbors=k).fit(vectors).kneighbors()
        return Neighbors(index.astype(np.int64), distance.astype(np.float32), 1.0)
    from pynndescent import NNDescent  # takes seconds to import, and few runs need it

    index, distance = NNDescent(vectors, n_neighbors=k + 1, random_state=seed).neighbor_graph
    index, distance = _without_self(index.astype(np.int64), distance)
    queries = np.random.default_rng(seed).choice(n, min(n, RECALL_QUERIES), replace=False)
    return Neighbors(index, distance, _recall(vectors, index, queries))


def _without_self(index: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop each image from its own row of k + 1; where duplicates pushed it out, the farthest goes."""
    keep = index != np.arange(len(index))[:, None]
    keep[keep.all(1), -1] = False
    shape = len(index), index.shape[1] - 1
    return index[keep].reshape(shape), distance[keep].reshape(shape)


def _recall(vectors: np.ndarray, index: np.ndarray, queries: np.ndarray) -> float:
    """Neighbours at the same distance count as found."""
    k = index.shape[1]
    true, _ = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(vectors).kneighbors(vectors[queries])
    found = np.linalg.norm(vectors[index[queries]] - vectors[queries][:, None], axis=2)
    return float((found <= true[:, -1:] * (1 + 1e-5)).mean())


def neighbor_table(neighbors: Neighbors, ids: np.ndarray, k: int) -> pd.DataFrame:
    """The first k neighbours of each image as rows of neighbors.parquet. ids: int64[N]."""
    index, distance = neighbors.index[:, :k], neighbors.distance[:, :k]
    n, k = index.shape
    return pd.DataFrame(
        {
            "image_id": np.repeat(ids, k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "neighbor_id": ids[index].ravel(),
            "distance": distance.ravel(),
        }
    )


def purity(index: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Of each image's neighbours (int N × k), the share of its own group (object[N], or any to compare): float64[N]."""
    group = np.asarray(group)
    return (group[index] == group[:, None]).mean(1)
