"""The latent space: an affine map from activations to vectors, and what lies in it.

Letters: N images, C channels of all chosen layers together, D latent dimensions, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from segscope.errors import SegscopeError
from segscope.files import atomic_path

HEAVY_SHARE = 0.05


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
        exact: the sum over a map is the image's score. activations: of each layer, N × h × w × c, h and w
        dividing `size`; a cell's part is spread evenly over its pixels.
        """
        gradient = direction @ self.components / self.scale
        maps = np.zeros((len(activations[0]), size, size))
        start = 0
        for layer in activations:
            _, height, width, channels = layer.shape
            part = slice(start, start + channels)
            start += channels
            cells = (layer @ gradient[part] - self.mean[part] @ gradient[part]) / (height * width)
            rows, columns = size // height, size // width
            maps += np.repeat(np.repeat(cells, rows, 1), columns, 2) / (rows * columns)
        return maps


def pool(activations: Sequence[np.ndarray]) -> np.ndarray:
    """Spatial means of each layer (N × h × w × c), one after the other: float64 N × C."""
    return np.concatenate([layer.mean((1, 2), dtype=np.float64) for layer in activations], axis=1)


def fit_latent_space(pooled: np.ndarray, layers: Sequence[str], dimensions: int) -> LatentSpace:
    """Standardise each channel, then PCA. Raises SegscopeError if there are too few images."""
    if len(pooled) <= dimensions:
        raise SegscopeError(
            f"embed.dimensions: {dimensions} latent dimensions need more images than the {len(pooled)} there are"
        )
    scale = pooled.std(0)
    # A channel that is constant but for rounding carries nothing; scaling it up would make noise of it.
    scale[scale < 1e-6 * max(scale.max(), 1e-12)] = np.inf
    mean = pooled.mean(0)
    pca = PCA(dimensions, svd_solver="full").fit((pooled - mean) / scale)
    return LatentSpace(tuple(layers), mean, scale, pca.components_)


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
    """Read what `save_latent_space` wrote. Raises SegscopeError if it cannot."""
    try:
        with np.load(path, allow_pickle=False) as data:
            layers = tuple(str(name) for name in data["layers"])
            return LatentSpace(layers, data["mean"], data["scale"], data["components"])
    except (OSError, ValueError, KeyError) as error:
        raise SegscopeError(f"{path} cannot be read ({error}); run `dvc repro embed`") from error


def nearest(latent: np.ndarray, image_ids: np.ndarray, k: int) -> pd.DataFrame:
    """The k nearest other images of each image by Euclidean distance, exact, as rows of neighbors.parquet."""
    k = min(k, len(latent) - 1)
    distance, index = NearestNeighbors(n_neighbors=k).fit(latent).kneighbors()
    return pd.DataFrame(
        {
            "image_id": np.repeat(image_ids, k),
            "rank": np.tile(np.arange(1, k + 1), len(latent)),
            "neighbor_id": image_ids[index].ravel(),
            "distance": distance.ravel(),
        }
    )


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


def separability(latent: np.ndarray, group: np.ndarray, seed: int, folds: int = 5) -> float:
    """ROC-AUC of a linear classifier that tells group 1 from group 0, each image scored by a model that has not
    seen it. NaN if a group has fewer images than there are folds.
    """
    known = group >= 0
    if min(np.bincount(group[known], minlength=2)) < folds:
        return float("nan")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    score = cross_val_predict(classifier, latent[known], group[known], cv=splitter, method="decision_function")
    return float(roc_auc_score(group[known], score))
