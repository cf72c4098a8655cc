"""The latent space: an affine map from activations to vectors.

Letters: N images, C channels of all chosen layers together, D latent dimensions, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from segscope.artefacts.files import atomic_path
from segscope.errors import SegscopeError, made_by, reading


@dataclass(frozen=True)
class LatentSpace:
    """z = components · ((pooled − mean) / scale), pooled being the layers' spatial means one after the other.

    mean, scale: float64[C]. components: float64 D × C.
    """

    layers: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray

    def transform(self, pooled: np.ndarray) -> np.ndarray:
        """Latent vectors N × D of spatial means N × C."""
        return (pooled - self.mean) / self.scale @ self.components.T

    def write_back(self, direction: np.ndarray, activations: Sequence[np.ndarray], size: int) -> np.ndarray:
        """Where in the images the score z · direction comes from: attention maps, float64 N × size × size.

        The score is linear in the activations' deviation from the average image, so each cell's part of it is
        exact: the sum over a map is the image's score. activations: of each layer, N × h × w × c; a cell's part is
        spread evenly over its pixels.
        """
        gradient = direction @ self.components / self.scale
        maps = np.zeros((len(activations[0]), size, size))
        start = 0
        for layer in activations:
            _, height, width, channels = layer.shape
            part = slice(start, start + channels)
            start += channels
            cells = (layer @ gradient[part] - self.mean[part] @ gradient[part]) / (height * width)
            maps += spread(cells, size)
        return maps


def spread(cells: np.ndarray, size: int) -> np.ndarray:
    """Each cell's value spread evenly over the pixels that it covers: N × size × size of N × h × w; sums stay."""
    height, width = cells.shape[1:]
    if size % height or size % width:
        down, across = covered(size, height) * (height / size), covered(size, width) * (width / size)
        return down @ cells @ across.T
    rows, columns = size // height, size // width
    return np.repeat(np.repeat(cells, rows, 1), columns, 2) / (rows * columns)


def covered(pixels: int, cells: int) -> np.ndarray:
    """The share of each pixel that each cell of the same side covers: float64, pixels × cells, rows that sum to 1."""
    edge, end = np.arange(pixels) / pixels, np.arange(cells) / cells
    low = np.maximum(edge[:, None], end)
    high = np.minimum(edge[:, None] + 1 / pixels, end + 1 / cells)
    return np.maximum(high - low, 0) * pixels


def means_of(activations: pd.DataFrame, splits: Sequence[str]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """image_id int64[N], the spatial means float64 N × C, and the layers that they are of.

    activations: rows of activations.parquet. splits: whose images.
    """
    own = activations[activations["split"].isin(splits)]
    return (
        own["image_id"].to_numpy(),
        np.stack(own["means"].to_numpy()).astype(np.float64),
        tuple(own["layers"].iloc[0]),
    )


def pool(activations: Sequence[np.ndarray]) -> np.ndarray:
    """Spatial means of each layer (N × h × w × c), one after the other: float64 N × C."""
    return np.concatenate([layer.mean((1, 2), dtype=np.float64) for layer in activations], axis=1)


def fit_latent_space(pooled: np.ndarray, layers: Sequence[str], dimensions: int) -> LatentSpace:
    """Standardise each channel, then PCA. Raises SegscopeError if there are fewer than two images.

    N images lie in N - 1 dimensions: where `dimensions` are more, the others are 0.
    """
    if len(pooled) < 2:
        raise SegscopeError("a latent space needs two images or more")
    scale = pooled.std(0)
    # A channel that is constant but for rounding carries nothing; scaling it up would make noise of it.
    scale[scale < 1e-6 * max(scale.max(), 1e-12)] = np.inf
    mean = pooled.mean(0)
    # By the covariance: exact enough for the leading few of some hundred channels, and far faster for many images.
    found = min(dimensions, len(pooled) - 1, pooled.shape[1])
    pca = PCA(found, svd_solver="covariance_eigh").fit((pooled - mean) / scale)
    components = np.zeros((dimensions, pooled.shape[1]))
    components[:found] = pca.components_
    return LatentSpace(tuple(layers), mean, scale, components)


def embedding_table(ids: np.ndarray, splits: np.ndarray, vectors: np.ndarray, xy: np.ndarray) -> pd.DataFrame:
    """Rows of embeddings.parquet of N images: ids int64[N], splits object[N], vectors N × D, xy N × 2."""
    return pd.DataFrame({"image_id": ids, "split": splits, "latent": list(vectors), "x": xy[:, 0], "y": xy[:, 1]})


def save_latent_space(path: Path | str, space: LatentSpace) -> None:
    """Write the space as an .npz file."""
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            layers=np.array(space.layers),
            mean=space.mean,
            scale=space.scale,
            components=space.components,
        )


def load_latent_space(path: Path | str) -> LatentSpace:
    """Read what `save_latent_space` wrote. Raises SegscopeError if it is anything else."""
    with reading(path, made_by("embed")):
        with np.load(path, allow_pickle=False) as data:
            layers, mean, scale, components = (data[name] for name in ("layers", "mean", "scale", "components"))
        if layers.dtype.kind != "U" or {each.dtype for each in (mean, scale, components)} != {np.dtype(float)}:
            raise ValueError("its arrays are of other types than a latent space's")
        if mean.ndim != 1 or not mean.shape == scale.shape == components.shape[1:]:
            raise ValueError("its arrays do not fit each other")
        return LatentSpace(tuple(layers.tolist()), mean, scale, components)
