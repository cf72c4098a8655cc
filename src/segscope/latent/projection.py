"""Maps of the latent space: two dimensions to look at, a few to cluster in. Letters: N images, D dimensions."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from types import ModuleType

import numpy as np
import pandas as pd
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.distance import cdist

from segscope.artefacts.measures import Measure
from segscope.errors import SegscopeError
from segscope.latent.neighbors import Neighbors, nearest

TRUST_QUERIES = 1000
MIN_SHARED = 3
# As trustworthy as a map of its own, and half as far from the other's shape: docs/latent.md.
STAY_NEAR = {"n_epochs": 100, "learning_rate": 0.1}


def fit_map(
    vectors: np.ndarray,
    neighbors: Neighbors,
    n_neighbors: int,
    min_dist: float,
    seed: int,
    dimensions: int = 2,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """UMAP (McInnes et al. 2018, https://arxiv.org/abs/1802.03426) of N × D vectors: float32 N × dimensions.

    neighbors: of the vectors, at least n_neighbors - 1 of each. start: coordinates to start from instead of the
    spectral layout, and to stay near by fewer and smaller steps. Few vectors, which have no spectral layout of so many
    dimensions, start from random coordinates.
    """
    umap = _umap()
    n_neighbors = min(n_neighbors, neighbors.index.shape[1] + 1)
    itself = np.arange(len(vectors))[:, None]
    index = np.hstack([itself, neighbors.index])[:, :n_neighbors]
    distance = np.hstack([np.zeros_like(itself, np.float32), neighbors.distance])[:, :n_neighbors]
    # UMAP asks for 2 (dimensions + 1) + 1 Lanczos vectors, of which there are no more than vectors.
    layout = "spectral" if len(vectors) > 2 * dimensions + 3 else "random"
    with warnings.catch_warnings():
        # Of the given neighbours, that new points cannot be placed, or that they are all; of a seed, that one thread is
        # used.
        warnings.filterwarnings("ignore", message="precomputed_knn|n_jobs value|n_neighbors is larger")
        return umap.UMAP(
            n_neighbors=n_neighbors,
            min_dist=min_dist,
            n_components=dimensions,
            **({"init": layout} if start is None else {"init": start, **STAY_NEAR}),
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(index, distance, None),
        ).fit_transform(vectors)


@cache
def _umap() -> ModuleType:
    """The library, whose code Numba keeps compiled: it asks for that of few functions only, which costs seconds.

    It is imported when it is needed (the stage chooses a folder for Numba first), and without its parametric map,
    which would import TensorFlow: seconds, too.
    """
    absent = "tensorflow" not in sys.modules
    if absent:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        import umap
    finally:
        if absent:
            del sys.modules["tensorflow"]
    from umap import layouts, umap_, utils

    for module in (umap_, layouts, utils):
        for function in vars(module).values():
            if hasattr(function, "enable_caching") and function.py_func.__module__ == module.__name__:
                function.enable_caching()
    return umap


def map_of(vectors: np.ndarray, n_neighbors: int, min_dist: float, seed: int, dimensions: int = 2) -> np.ndarray:
    """`fit_map` with neighbours of its own."""
    return fit_map(vectors, nearest(vectors, n_neighbors - 1, seed), n_neighbors, min_dist, seed, dimensions)


def trustworthiness(vectors: np.ndarray, xy: np.ndarray, k: int, seed: int, queries: int = TRUST_QUERIES) -> float:
    """How far the map's k nearest neighbours are neighbours in the latent space, too: 1 all, about 0.5 by chance.

    Venna and Kaski 2001, https://doi.org/10.1007/3-540-44668-0_68. Over all images, or `queries` seeded ones of more.
    """
    n = len(vectors)
    k = min(k, n // 2 - 1)
    chosen = np.sort(np.random.default_rng(seed).choice(n, min(n, queries), replace=False))
    penalty = 0.0
    for part in np.array_split(chosen, max(1, len(chosen) * n // 10_000_000)):
        far, near = cdist(vectors[part], vectors), cdist(xy[part], xy)
        own = np.arange(len(part)), part
        far[own] = near[own] = np.inf
        shown = np.argpartition(near, k, axis=1)[:, :k]
        ordered = np.sort(far, axis=1)
        for row, columns in enumerate(shown):
            rank = 1 + np.searchsorted(ordered[row], far[row, columns])
            penalty += np.maximum(rank - k, 0).sum()
    return float(1 - penalty * 2 / (len(chosen) * k * (2 * n - 3 * k - 1)))


def start_from(ids: np.ndarray, neighbors: Neighbors, other_ids: np.ndarray, other_xy: np.ndarray) -> np.ndarray:
    """Coordinates N × 2 to start a map from: those of the other map.

    An image that the other map does not show starts amid its neighbours that it does, or else at the map's centre.
    Raises SegscopeError if the maps share too few images.
    """
    place = dict(zip(other_ids.tolist(), other_xy.astype(float), strict=True))
    nowhere = np.full(2, np.nan)
    start = np.array([place.get(i, nowhere) for i in ids.tolist()])
    known = np.isfinite(start[:, 0])
    if known.sum() < MIN_SHARED:
        raise SegscopeError(f"the map to align to shows {known.sum()} of these {len(ids)} images, which is too few")
    weight = known[neighbors.index].astype(float)
    total = weight.sum(1)[:, None]
    amid = (np.nan_to_num(start)[neighbors.index] * weight[..., None]).sum(1) / np.maximum(total, 1)
    amid = np.where(total > 0, amid, start[known].mean(0))
    return np.where(known[:, None], start, amid)


def align_map(
    ids: np.ndarray,
    vectors: np.ndarray,
    neighbors: Neighbors,
    other: pd.DataFrame,
    n_neighbors: int,
    min_dist: float,
    seed: int,
) -> tuple[np.ndarray, list[Measure]]:
    """`fit_map`, so that it lies on another map (image_id, x, y) as closely as it can, and how closely that is."""
    known = other["image_id"].to_numpy(), other[["x", "y"]].to_numpy()
    start = start_from(ids, neighbors, *known)
    xy, images, disparity = lay_over(ids, fit_map(vectors, neighbors, n_neighbors, min_dist, seed, start=start), *known)
    return xy, [Measure("aligned.images", images), Measure("aligned.disparity", disparity, images)]


def lay_over(
    ids: np.ndarray, xy: np.ndarray, other_ids: np.ndarray, other_xy: np.ndarray
) -> tuple[np.ndarray, int, float]:
    """Turn, mirror, scale and shift a map, so that it lies on another as closely as it can.

    Returns the map, the number of images that both show, and the disparity: what is left of the squared distances of
    the standardised maps, 0 the same shape, 1 none in common.
    """
    _, here, there = np.intersect1d(ids, other_ids, return_indices=True)
    mine, its = xy[here].astype(float), other_xy[there].astype(float)
    rotation, scale = orthogonal_procrustes(mine - mine.mean(0), its - its.mean(0))
    moved = (xy - mine.mean(0)) @ rotation * (scale / ((mine - mine.mean(0)) ** 2).sum()) + its.mean(0)
    return moved.astype(np.float32), len(here), float(procrustes(its, mine)[2])
