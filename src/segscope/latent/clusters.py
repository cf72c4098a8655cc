"""Clusters of groups of images, and what defines each. Letters: N images, G groups, D dimensions, C clusters, F facts.

The point that is clustered, and the unit that is counted, is the group: near copies of one picture count once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import hypergeom
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score
from tqdm import tqdm

from segscope.artefacts.measures import Measure
from segscope.artefacts.schemas import CLUSTER_PROFILES, USER
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.groups import SMALLEST_P, compare, corrected
from segscope.labels.metadata import describe, numbers
from segscope.latent.facts import STABLE, enriched
from segscope.latent.projection import map_of
from segscope.params import Cluster

NOISE = -1
HELD = 0.5  # of a cluster's groups, for a fact to be its name
NAME_PARTS = 3
OVERLAP = 0.9  # of two facts' groups, from which on they say the same
MIXED = "mixed"
UNSTABLE = "not stable"
SUBSAMPLE = 0.8
PERMUTATIONS = 200
MOST_VALUES = 20  # of one of the user's columns

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


def group_points(vectors: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each group's vectors, float64 G × D of N × D, and which of them each image is of, int[N]."""
    among = Bootstrap(group)
    return among.means(vectors), among.group


def cluster_sizes(n: int, min_cluster_size: int | None, min_samples: int | None) -> tuple[int, int]:
    """HDBSCAN's two sizes for n images, chosen where they are None.

    A smallest cluster of 0.75 √n images is 11 of 200 and 237 of 100,000: what a person would still call a group.
    """
    size = max(5, round(0.75 * n**0.5)) if min_cluster_size is None else min_cluster_size
    return size, max(1, size // 3) if min_samples is None else min_samples


class Stability(NamedTuple):
    """How alike clusters are when they are found again.

    rand: mean and lowest adjusted Rand index, 1 the same, 0 as by chance, of reruns with other seeds and of subsamples.
    jaccard: of each cluster in each subsample, float64 R × C, see `best_match`.
    """

    rand: dict[str, float]
    jaccard: np.ndarray


def stability(labels: np.ndarray, again: Callable[[np.ndarray, int], np.ndarray], runs: int, seed: int) -> Stability:
    """Cluster again, `runs` times all points and as many times 80 % of them, with other seeds.

    labels: int[G]. again: gives the labels of the points at the given positions with a seed. In the Rand indices the
    unclustered points count as one cluster. Clusters are compared in the subsamples alone: in the same points other
    seeds find the same accidents.
    """
    draw, everything = np.random.default_rng(seed), np.arange(len(labels))
    size = round(SUBSAMPLE * len(labels))
    chosen = {
        "seeds": [everything] * runs,
        "subsamples": [np.sort(draw.choice(everything, size, replace=False)) for _ in range(runs)],
    }
    rand: dict[str, float] = {}
    matches = []
    with tqdm(total=2 * runs, desc="stability", unit="run", disable=None) as bar:
        for name, positions in chosen.items():
            scores = []
            for run, part in enumerate(positions, start=1):
                found = again(part, seed + run)
                scores.append(adjusted_rand_score(labels[part], found))
                if name == "subsamples":
                    matches.append(best_match(labels[part], found, labels.max() + 1))
                bar.update()
            rand |= {name: float(np.mean(scores)), f"{name}_lowest": float(np.min(scores))} if scores else {}
    return Stability(rand, np.reshape(matches, (runs, labels.max() + 1)))


def best_match(labels: np.ndarray, found: np.ndarray, clusters: int) -> np.ndarray:
    """The Jaccard index of each cluster with the found one that is most like it: float64[C]; 0 where there is none.

    labels, found: of the same points, -1 in none; clusters: C. After Hennig 2007,
    https://doi.org/10.1016/j.csda.2006.11.025.
    """
    shared = np.zeros((clusters + 1, found.max() + 2))
    np.add.at(shared, (labels, found), 1)  # those in none come last
    either = shared.sum(1, keepdims=True) + shared.sum(0) - shared
    jaccard = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    return jaccard[:clusters, :-1].max(1, initial=0)


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
    for name, holds in _own_facts(samples):
        facts.setdefault(name, holds)
    return pd.DataFrame(facts).astype(bool)


def _own_facts(samples: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """Of the user's columns: those of truth values, and the most frequent values of those of names."""
    for name in [name for name in samples if name.startswith(USER)]:
        if pd.api.types.is_bool_dtype(samples[name]):
            yield describe(name), samples[name]
        elif not pd.api.types.is_numeric_dtype(numbers(samples[name])):
            for value in samples[name].value_counts().index[:MOST_VALUES]:
                yield f"{describe(name)} {value}", samples[name] == value


def numeric_columns(samples: pd.DataFrame) -> pd.DataFrame:
    """The numbers that clusters are compared by, float N × M: of metadata, and the user's own."""
    own = [name for name in samples if name.startswith(USER)]
    columns = {name: numbers(samples[name]) for name in (*NUMERIC, *own)}
    return pd.DataFrame({n: c.astype(float) for n, c in columns.items() if pd.api.types.is_numeric_dtype(c)})


def majority(flags: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Of each group, which flags hold for half of its images or more: bool G × F of N × F."""
    return Bootstrap(group).means(flags) >= 0.5


def enrichment(inside: np.ndarray, facts: pd.DataFrame) -> pd.DataFrame:
    """Over-representation of each fact in a cluster: hypergeometric upper tail. inside: bool[G], facts: bool G × F.

    recall: of the groups with the fact, the share that the cluster holds.
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
            "p_value": np.maximum(hypergeom.sf(hits - 1, n, with_fact, k), SMALLEST_P),
            "units": k,
        }
    )


def profile_clusters(
    labels: np.ndarray,
    facts: pd.DataFrame,
    numbers: pd.DataFrame,
    scores: pd.DataFrame,
    group: np.ndarray,
    jaccard: np.ndarray,
) -> pd.DataFrame:
    """What defines each cluster, as rows of cluster_profiles.parquet; one cluster against all other images.

    labels: int[N]. facts: bool, numbers: float, scores: float, N rows each. group: int[N]. jaccard: R × C, how well
    each cluster was found again, see `Stability`. A group has a fact, and is in a cluster, if half of its images or
    more do. Within each kind the p-values of all clusters together are corrected for multiplicity (Benjamini and
    Hochberg 1995).
    """
    of_groups = pd.DataFrame(majority(facts.to_numpy(), group), columns=facts.columns)
    tables = []
    for cluster, found in enumerate(jaccard.T):
        inside = labels == cluster
        groups = majority(inside[:, None], group)[:, 0]
        parts = [
            enrichment(groups, of_groups),
            compare(inside, numbers, group).assign(kind="metadata"),
            compare(inside, scores, group).assign(kind="performance"),
            stability_row(found),
        ]
        sizes = {"size": int(inside.sum()), "groups": int(groups.sum())}
        tables.append(pd.concat(parts).drop(columns="rest_units").assign(cluster=cluster, **sizes))
    if not tables:
        return pd.DataFrame(columns=CLUSTER_PROFILES.names)
    profiles = pd.concat(tables, ignore_index=True)
    profiles["p_value"] = profiles.groupby("kind")["p_value"].transform(corrected)
    names = {cluster: name_of(rows, of_groups) for cluster, rows in profiles.groupby("cluster")}
    return profiles.assign(name=profiles["cluster"].map(names)).reindex(columns=CLUSTER_PROFILES.names)


def stability_row(jaccard: np.ndarray) -> pd.DataFrame:
    """How well a cluster was found again in each subsample, float64[R], as a profile row.

    inside, low, high: the mean, the lowest and the highest. rest: below it, a cluster is not stable.
    """
    known = {"inside": jaccard.mean(), "low": jaccard.min(), "high": jaccard.max()} if len(jaccard) else {}
    return pd.DataFrame([{"kind": "stability", "feature": "jaccard", "inside": np.nan, "rest": STABLE, **known}])


def name_of(profile: pd.DataFrame, facts: pd.DataFrame) -> str:
    """A cluster's name: its most certain over-represented facts that hold for half of it or more.

    profile: the cluster's rows. facts: bool G × F; of two that hold for nearly the same groups, or of which nearly
    always one implies the other, only the first counts. A cluster that is not found again has no name, nor has one of
    which no such fact holds.
    """
    found = profile.loc[profile["kind"] == "stability", "inside"].iloc[0]
    if found < STABLE:
        return UNSTABLE
    best = enriched(profile)
    parts: list[str] = []
    for fact in best.loc[best["inside"] >= HELD, "feature"]:
        if all(overlap(facts[fact].to_numpy(), facts[part].to_numpy()) < OVERLAP for part in parts):
            parts.append(fact)
    if parts:
        return ", ".join(parts[:NAME_PARTS])
    if len(best):
        fact = best.iloc[0]
        return f"{MIXED}, more often {fact['feature']} ({fact['inside']:.0%} against {fact['rest']:.0%})".replace(
            "%", " %"
        )
    return MIXED


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The overlap coefficient (Szymkiewicz and Simpson) of two sets that are not empty, bool[G] each."""
    return float((a & b).sum() / min(a.sum(), b.sum()))


def is_named(names: pd.Series) -> pd.Series:
    """Which of the names say what the cluster is."""
    return (names != UNSTABLE) & ~names.str.startswith(MIXED)


class Purity(NamedTuple):
    """purity: the share whose kind is its cluster's most common. chance: its mean where kinds are shuffled.

    above: how far purity is above chance, 1 where it is 1; NaN where chance is 1. All are NaN where no cluster holds
    anything, or all that they hold is of one kind.
    """

    purity: float
    chance: float
    above: float


def cluster_purity(labels: np.ndarray, kinds: np.ndarray, group: np.ndarray, seed: int = 0) -> Purity:
    """How far the clusters are of one kind each, counted over clustered groups, beside what shuffled kinds give.

    labels: int[N], -1 in none. kinds: object[N]; a group's is its most common, the first by name
    of several. group: int[N].
    """
    images = pd.DataFrame({"group": group, "label": labels, "kind": kinds})[labels != NOISE]
    counts = images.groupby(["group", "label", "kind"]).size().reset_index(name="images")
    groups = counts.sort_values("images", ascending=False, kind="stable").drop_duplicates("group")
    if groups["kind"].nunique() < 2:
        return Purity(np.nan, np.nan, np.nan)
    kind, names = pd.factorize(groups["kind"])
    start = groups["label"].to_numpy() * len(names)

    def pure(of: np.ndarray) -> float:
        table = np.bincount(start + of, minlength=(labels.max() + 1) * len(names))
        return float(table.reshape(-1, len(names)).max(1).sum() / len(groups))

    draw = np.random.default_rng(seed)
    found, chance = pure(kind), float(np.mean([pure(draw.permutation(kind)) for _ in range(PERMUTATIONS)]))
    return Purity(found, chance, (found - chance) / (1 - chance) if chance < 1 else np.nan)


def cluster_measures(
    labels: np.ndarray, kinds: np.ndarray, group: np.ndarray, profiles: pd.DataFrame, rand: Mapping[str, float]
) -> list[Measure]:
    """How many clusters, how many of them named, the share of groups in none, how stable they are, and how pure.

    labels, kinds, group: as in `cluster_purity`. rand: of `Stability`.
    """
    clusters = profiles.drop_duplicates("cluster")
    outside = majority((labels == NOISE)[:, None], group)
    purity = cluster_purity(labels, kinds, group)
    clustered = int((labels != NOISE).sum())
    return [
        Measure("clusters", int(labels.max() + 1)),
        Measure("named", int(is_named(clusters["name"]).sum())),
        Measure("unstable", int((clusters["name"] == UNSTABLE).sum())),
        Measure("unclustered", float(outside.mean()), len(labels), carriers=len(outside)),
        *(Measure(f"stability.{name}", value) for name, value in rand.items()),
        Measure("purity", purity.purity, clustered),
        Measure("chance.purity", purity.chance, clustered),
        Measure("above_chance.purity", purity.above, clustered),
    ]


def recovery_measures(
    labels: np.ndarray, facts: pd.DataFrame, profiles: pd.DataFrame, group: np.ndarray
) -> list[Measure]:
    """Of each fact that any cluster is enriched in, how well these clusters together hold its groups.

    precision.FACT: the share of their groups with the fact. recovered.FACT: the share of the fact's groups in them.
    share.FACT: the fact's own share of all groups. carriers: the groups that each is a share of.
    """
    rows = []
    for name, enriched_in in enriched(profiles).groupby("feature"):
        images = np.stack([np.isin(labels, enriched_in["cluster"]), facts[name]], axis=1)
        inside, fact = majority(images, group).T
        both, (n_inside, n_fact) = (inside & fact).sum(), images.sum(0).tolist()
        rows += [
            Measure(f"precision.{name}", both / inside.sum(), n_inside, carriers=int(inside.sum())),
            Measure(f"recovered.{name}", both / fact.sum(), n_fact, carriers=int(fact.sum())),
            Measure(f"share.{name}", float(fact.mean()), len(facts), carriers=len(fact)),
        ]
    return rows


def gray_measures(samples: pd.DataFrame, loss: np.ndarray, group: np.ndarray) -> list[Measure]:
    """Gray images by kind of file; difference.gray.loss: of gray pictures of either file less that of coloured ones.

    loss: float[N], NaN for images that do not count. group: int[N]. carriers: groups of gray pictures.
    """
    gray, file = samples["is_gray"].to_numpy(), samples["is_grayscale_file"].to_numpy()
    row = compare(gray, pd.DataFrame({"loss": loss}), group).iloc[0]
    counted = gray & np.isfinite(loss)
    carriers = float(Bootstrap(group).carriers(counted[:, None])[0])
    difference = row["inside"] - row["rest"], int(counted.sum()), row["low"], row["high"], "val", carriers
    return [
        Measure("gray", int(gray.sum())),
        Measure("grayscale_files", int(file.sum())),
        Measure("gray_rgb_files", int((gray & ~file).sum())),
        Measure("difference.gray.loss", *difference),
    ]
