"""Which images belong together, and count as one in every statistic. Letters: N images, C channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from segscope.artefacts.records import Records
from segscope.latent.neighbors import nearest
from segscope.latent.space import fit_latent_space
from segscope.model.encoder import read_encoder
from segscope.model.inference import layer_means
from segscope.model.training import build_encoder
from segscope.model.unet import LIKENESS
from segscope.run import Run

# Of the distance of random pairs. Chosen on crops of photographs, and on photographs that are all different:
# docs/statistics.md.
NEAR = 0.4
DIMENSIONS = 128
NEIGHBORS = 15
PAIRS = 20_000


def find_groups(run: Run, records: Sequence[Records]) -> pd.DataFrame:
    """Which images belong together, as rows of groups.parquet: as the user says, or near copies, as the encoder sees.

    records: of the run's images, in parts.
    """
    named = run.table("named_groups")
    if len(named):
        return named_groups(np.concatenate([part.image_id for part in records]), named)
    encoder = build_encoder(*read_encoder(run.path("weights")), run.params.data.image_size)
    return near_copies(*layer_means(encoder, LIKENESS, records, "near copies"))


def near_copies(image_ids: np.ndarray, features: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Groups of images that look nearly the same, as rows of groups.parquet.

    image_ids: int64[N]. features: float N × C. Joined are images less than NEAR times as far apart as random pairs are
    (median), in the standardised features reduced by PCA; and what is joined to one of them.
    """
    n = len(features)
    dimensions = min(DIMENSIONS, n - 1, features.shape[1])
    if dimensions < 1:
        return _grouped(image_ids, np.arange(n))
    vectors = fit_latent_space(features, (), dimensions).transform(features)
    a, b = np.random.default_rng(seed).integers(0, n, (2, PAIRS))
    usual = np.median(np.linalg.norm(vectors[a] - vectors[b], axis=1)[a != b])
    found = nearest(vectors, NEIGHBORS, seed)
    near = found.distance < NEAR * usual
    pairs = np.nonzero(near)[0], found.index[near]
    return _grouped(
        image_ids, connected_components(coo_matrix((np.ones(near.sum()), pairs), (n, n)), directed=False)[1]
    )


def named_groups(image_ids: np.ndarray, named: pd.DataFrame) -> pd.DataFrame:
    """Groups as the user names them, the other images alone, as rows of groups.parquet.

    image_ids: int64[N]. named: rows of data/groups.parquet.
    """
    codes, _ = pd.factorize(pd.Series(image_ids).map(named.set_index("image_id")["group"]))
    alone = codes < 0
    codes[alone] = len(codes) + np.arange(alone.sum())
    return _grouped(image_ids, codes)


def _grouped(image_ids: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"image_id": image_ids, "label": labels}).sort_values("image_id", ignore_index=True)
    return table.assign(group=table.groupby("label")["image_id"].transform("min")).drop(columns="label")
