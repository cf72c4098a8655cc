"""Clusters of images and what defines each. Letters: N images, D dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom, mannwhitneyu
from sklearn.cluster import HDBSCAN

from segscope.evaluation import bootstrap_weights, interval
from segscope.schemas import CLUSTER_PROFILES

NOISE = -1
SIGNIFICANT = 0.01
MIN_LIFT = 1.5
NAME_PARTS = 3
MIN_COMPARED = 5

NUMERIC = (
    "brightness",
    "contrast",
    "sharpness",
    "saturation",
    "hue_std",
    "n_instances",
    "average_size",
    "share.background",
)


def find_clusters(points: np.ndarray, min_cluster_size: int, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """HDBSCAN (Campello et al. 2013, https://doi.org/10.1007/978-3-642-37456-2_14) of N × D points, D small.

    Returns cluster numbers int[N], larger clusters first, -1 for noise, and membership probabilities float[N].
    """
    found = HDBSCAN(
        min_cluster_size=min(min_cluster_size, len(points)), min_samples=min(min_samples, len(points)), copy=True
    ).fit(points)
    numbers, sizes = np.unique(found.labels_[found.labels_ >= 0], return_counts=True)
    renumber = dict(zip(numbers[np.argsort(-sizes, kind="stable")], range(len(numbers)), strict=True))
    return np.array([renumber.get(label, NOISE) for label in found.labels_]), found.probabilities_


def binary_features(samples: pd.DataFrame, categories: pd.DataFrame) -> pd.DataFrame:
    """Yes-or-no facts of each image, bool N × F; columns are the words that clusters are named with."""
    facts = {
        "gray": samples["is_gray"],
        "grayscale file": samples["is_grayscale_file"],
        "dark": samples["low_light"],
        "crowd": samples["n_crowds"] > 0,
    }
    for group, column in (("", "name"), ("super.", "supercategory")):
        for name in categories[column].unique():
            shown = (samples[f"count.{group}{name}"] + samples[f"crowd.{group}{name}"]) > 0
            # A super-category of one category says nothing new.
            if shown.any() and not (group and name in set(categories["name"])):
                facts[name] = shown
    return pd.DataFrame(facts).astype(bool)


def enrichment(inside: np.ndarray, facts: pd.DataFrame) -> pd.DataFrame:
    """Over-representation of each fact in a cluster: hypergeometric upper tail. inside: bool[N]."""
    values = facts.to_numpy()
    n, k = len(values), int(inside.sum())
    with_fact, hits = values.sum(0), values[inside].sum(0)
    rate, rest = hits / k, (with_fact - hits) / max(n - k, 1)
    return pd.DataFrame(
        {
            "kind": "fact",
            "feature": facts.columns,
            "inside": rate,
            "rest": rest,
            "lift": np.divide(rate, with_fact / n, out=np.full(len(rate), np.nan), where=with_fact > 0),
            "p_value": hypergeom.sf(hits - 1, n, with_fact, k),
        }
    )


def compare(inside: np.ndarray, values: pd.DataFrame, kind: str, resamples: int, seed: int) -> pd.DataFrame:
    """Means of numeric columns inside a cluster and outside.

    low, high: bootstrap 95 % interval of the difference of means; p_value: Mann-Whitney U, two-sided. A column
    with fewer than 5 values on either side gets NaN for both.
    """
    # Most columns have the same number of values: their weights are drawn once.
    weights = lru_cache(maxsize=2)(lambda n, seed: bootstrap_weights(n, resamples, seed))
    rows = []
    for name in values:
        column = values[name].to_numpy(float)
        a, b = (column[side & np.isfinite(column)] for side in (inside, ~inside))
        row = {"kind": kind, "feature": name, "inside": _mean(a), "rest": _mean(b)}
        row |= {"low": np.nan, "high": np.nan, "p_value": np.nan}
        if min(len(a), len(b)) >= MIN_COMPARED:
            means = [weights(len(x), seed + i) @ x / len(x) for i, x in enumerate((a, b))]
            row["low"], row["high"] = interval(means[0] - means[1])
            row["p_value"] = float(mannwhitneyu(a, b).pvalue)
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def profile_clusters(
    labels: np.ndarray,
    facts: pd.DataFrame,
    numbers: pd.DataFrame,
    scores: pd.DataFrame,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """What defines each cluster, as rows of cluster_profiles.parquet; one cluster against all other images.

    labels: int[N]. facts: bool, numbers: float, scores: float, N rows each. Within each kind the p-values of all
    clusters together are corrected for multiplicity (Benjamini and Hochberg 1995).
    """
    tables = []
    for cluster in range(labels.max() + 1):
        inside = labels == cluster
        parts = [
            enrichment(inside, facts),
            compare(inside, numbers, "metadata", resamples, seed),
            compare(inside, scores, "performance", resamples, seed),
        ]
        tables.append(pd.concat(parts).assign(cluster=cluster, size=int(inside.sum())))
    if not tables:
        return pd.DataFrame(columns=CLUSTER_PROFILES.names)
    profiles = pd.concat(tables, ignore_index=True)
    profiles["p_value"] = profiles.groupby("kind")["p_value"].transform(_corrected)
    names = {cluster: name_of(rows) for cluster, rows in profiles.groupby("cluster")}
    return profiles.assign(name=profiles["cluster"].map(names))


def _corrected(p_values: pd.Series) -> pd.Series:
    known = p_values.notna()
    corrected = p_values.copy()
    if known.any():
        corrected[known] = false_discovery_control(p_values[known].to_numpy())
    return corrected


def name_of(profile: pd.DataFrame) -> str:
    """A cluster's name: its most significant over-represented facts, or `mixed`."""
    facts = profile[(profile["kind"] == "fact") & (profile["p_value"] < SIGNIFICANT) & (profile["lift"] >= MIN_LIFT)]
    best = facts.sort_values(["p_value", "lift"], ascending=[True, False])["feature"].head(NAME_PARTS)
    return ", ".join(best) or "mixed"


def cluster_direction(vectors: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Unit vector float[D] from the mean of the other images to the mean of a cluster's."""
    direction = vectors[inside].mean(0) - vectors[~inside].mean(0)
    return direction / np.linalg.norm(direction)


def attention_profile(attention: np.ndarray, pixels: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """What lies under a cluster's attention, as profile rows: the share of positive attention on each category.

    attention: float[C] summed positive attention, pixels: int[C] pixels of the same images; C categories, the
    first unlabelled. inside: share of attention; rest: share of pixels; lift: their ratio.
    """
    share, area = attention / max(attention.sum(), 1e-12), pixels / pixels.sum()
    table = pd.DataFrame({"kind": "attention", "feature": names, "inside": share, "rest": area})
    table["lift"] = table["inside"] / table["rest"]
    return table[pixels > 0].assign(low=np.nan, high=np.nan, p_value=np.nan)
