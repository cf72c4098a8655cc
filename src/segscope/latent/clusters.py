"""Clusters of images and what defines each. Letters: N images, D dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import hypergeom
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score
from tqdm import tqdm

from segscope.artefacts.measures import Measure
from segscope.artefacts.schemas import CLUSTER_PROFILES
from segscope.evaluation.groups import compare, corrected
from segscope.latent.projection import map_of
from segscope.params import Cluster

NOISE = -1
SIGNIFICANT = 0.01
MIN_LIFT = 1.5
NAME_PARTS = 3
MIXED = "mixed"
SUBSAMPLE = 0.8

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


def cluster_vectors(
    vectors: np.ndarray, options: Cluster, n_neighbors: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`find_clusters` in a UMAP map of few dimensions of N × D latent vectors.

    HDBSCAN finds few groups in the latent space itself, where a few hundred images lie thin.
    """
    points = map_of(vectors, n_neighbors, 0.0, seed, options.dimensions)
    return find_clusters(points, *cluster_sizes(len(vectors), options.min_cluster_size, options.min_samples))


def cluster_sizes(n: int, min_cluster_size: int | None, min_samples: int | None) -> tuple[int, int]:
    """HDBSCAN's two sizes for n images, chosen where they are None.

    A smallest cluster of 0.75 √n images is 11 of 200 and 237 of 100,000: what a person would still call a group.
    """
    size = max(5, round(0.75 * n**0.5)) if min_cluster_size is None else min_cluster_size
    return size, max(1, size // 3) if min_samples is None else min_samples


def stability(
    labels: np.ndarray, again: Callable[[np.ndarray, int], np.ndarray], runs: int, seed: int
) -> dict[str, float]:
    """How alike the clusters are when they are found again: adjusted Rand indices, 1 the same, 0 as by chance.

    labels: int[N]. again: gives the labels of the images at the given positions with a seed. seeds: mean over `runs` of
    all images; subsamples: over as many of 80 % of them. The unclustered images count as one group.
    """
    draw = np.random.default_rng(seed)
    everything = np.arange(len(labels))
    chosen = {"seeds": [everything] * runs}
    chosen["subsamples"] = [
        np.sort(draw.choice(everything, round(SUBSAMPLE * len(labels)), replace=False)) for _ in range(runs)
    ]
    result: dict[str, float] = {}
    with tqdm(total=2 * runs, desc="stability", unit="run", disable=None) as bar:
        for name, positions in chosen.items():
            scores = []
            for run, part in enumerate(positions, start=1):
                scores.append(adjusted_rand_score(labels[part], again(part, seed + run)))
                bar.update()
            result |= {name: float(np.mean(scores)), f"{name}_lowest": float(np.min(scores))} if scores else {}
    return result


def binary_features(samples: pd.DataFrame, categories: pd.DataFrame) -> pd.DataFrame:
    """Yes-or-no facts of each image, bool N × F; columns are the words that clusters are named with."""
    facts = {
        "gray": samples["is_gray"],
        "grayscale file": samples["is_grayscale_file"],
        "gray RGB file": samples["is_gray"] & ~samples["is_grayscale_file"],
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
    """Over-representation of each fact in a cluster: hypergeometric upper tail. inside: bool[N].

    recall: of the images with the fact, the share that the cluster holds.
    """
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
            "recall": np.divide(hits, with_fact, out=np.full(len(rate), np.nan), where=with_fact > 0),
            "p_value": hypergeom.sf(hits - 1, n, with_fact, k),
        }
    )


def gray_measures(samples: pd.DataFrame, loss: np.ndarray) -> list[Measure]:
    """Gray images by kind of file; difference.gray.loss: of gray pictures of either file less that of coloured ones.

    loss: float[N], NaN for images that do not count.
    """
    gray, file = samples["is_gray"].to_numpy(), samples["is_grayscale_file"].to_numpy()
    row = compare(gray, pd.DataFrame({"loss": loss})).iloc[0]
    counted = int((gray & np.isfinite(loss)).sum())
    return [
        Measure("gray", int(gray.sum())),
        Measure("grayscale_files", int(file.sum())),
        Measure("gray_rgb_files", int((gray & ~file).sum())),
        Measure("difference.gray.loss", row["inside"] - row["rest"], counted, row["low"], row["high"], "val"),
    ]


def profile_clusters(
    labels: np.ndarray,
    facts: pd.DataFrame,
    numbers: pd.DataFrame,
    scores: pd.DataFrame,
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
            compare(inside, numbers).assign(kind="metadata"),
            compare(inside, scores).assign(kind="performance"),
        ]
        tables.append(pd.concat(parts).assign(cluster=cluster, size=int(inside.sum())))
    if not tables:
        return pd.DataFrame(columns=CLUSTER_PROFILES.names)
    profiles = pd.concat(tables, ignore_index=True)
    profiles["p_value"] = profiles.groupby("kind")["p_value"].transform(corrected)
    names = {cluster: name_of(rows) for cluster, rows in profiles.groupby("cluster")}
    return profiles.assign(name=profiles["cluster"].map(names))


def enriched(profiles: pd.DataFrame) -> pd.DataFrame:
    """The rows of facts that are over-represented in their cluster, clearly and not by chance."""
    return profiles[(profiles["kind"] == "fact") & (profiles["p_value"] < SIGNIFICANT) & (profiles["lift"] >= MIN_LIFT)]


def recovery_measures(labels: np.ndarray, facts: pd.DataFrame, profiles: pd.DataFrame) -> list[Measure]:
    """Of each fact that any cluster is enriched in, how well these clusters together hold its images.

    precision.FACT: the share of their images with the fact. recovered.FACT: the share of the fact's images in them.
    share.FACT: the fact's own share of all images.
    """
    rows = []
    for name, enriched_in in enriched(profiles).groupby("feature"):
        inside, fact = np.isin(labels, enriched_in["cluster"]), facts[name].to_numpy()
        both = (inside & fact).sum()
        rows += [
            Measure(f"precision.{name}", both / inside.sum(), int(inside.sum())),
            Measure(f"recovered.{name}", both / fact.sum(), int(fact.sum())),
            Measure(f"share.{name}", float(fact.mean()), len(fact)),
        ]
    return rows


def cluster_measures(labels: np.ndarray, profiles: pd.DataFrame, stable: Mapping[str, float]) -> list[Measure]:
    """How many clusters, how many of them named, the share of images in none, and how stable they are."""
    names = profiles.drop_duplicates("cluster")["name"]
    return [
        Measure("clusters", int(labels.max() + 1)),
        Measure("named", int((names != MIXED).sum())),
        Measure("unclustered", float((labels == NOISE).mean()), len(labels)),
        *(Measure(f"stability.{name}", value) for name, value in stable.items()),
    ]


def name_of(profile: pd.DataFrame) -> str:
    """A cluster's name: its most significant over-represented facts, or MIXED."""
    facts = enriched(profile)
    best = facts.sort_values(["p_value", "lift"], ascending=[True, False])["feature"].head(NAME_PARTS)
    return ", ".join(best) or MIXED
