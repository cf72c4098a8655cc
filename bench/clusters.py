"""What clusters, their stability and their names are where there is nothing to find: docs/statistics.md, Clusters.

python bench/clusters.py noise [FOLDER ...]  # how well clusters in Gaussian noise are found again
python bench/clusters.py names FOLDER ...    # names in finished runs, and with facts shuffled over the groups
python bench/clusters.py planted [N ...]     # planted groups among noise, found again: docs/statistics.md
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from segscope.latent.clusters import (
    STABLE,
    binary_features,
    cluster_purity,
    cluster_sizes,
    cluster_vectors,
    group_points,
    is_named,
    profile_clusters,
    stability,
)
from segscope.params import Cluster
from segscope.run import Run

DRAWS = {120: 16, 400: 12, 2000: 4}  # sets of vectors of each number of groups
RUNS = 3
NEIGHBORS = 15
DIMENSIONS = 32
PERMUTATIONS = 20
BOUNDS = (0.6, STABLE)
PLANTED = 12
NOWHERE = 0.2  # of the vectors are in no planted group
WITHIN = 0.4  # a group's deviations beside the whole's
SIZES = (200, 1_000, 5_000, 20_000, 120_000)
MOST_AGAIN = 20_000  # vectors, to be clustered six times more


def noise_jaccard(groups: int, deviations: np.ndarray, draws: int) -> tuple[float, np.ndarray]:
    """Clusters a draw, and how well each of them was found again, of normal vectors G × D of these deviations."""
    options, found = Cluster(), []
    for seed in range(draws):
        vectors = np.random.default_rng((seed, groups)).normal(size=(groups, len(deviations))) * deviations
        labels = cluster_vectors(vectors, options, NEIGHBORS, seed)[0]

        def again(chosen: np.ndarray, run: int, vectors: np.ndarray = vectors) -> np.ndarray:
            return cluster_vectors(vectors[chosen], options, NEIGHBORS, run)[0]

        found.append(stability(labels, again, RUNS, seed).jaccard.mean(0))
    return float(np.mean([len(each) for each in found])), np.concatenate(found)


def noise(folders: list[Path]) -> None:
    """Of vectors with equal deviations, with falling ones, and with those of each run's latent vectors."""
    spreads = {"equal": np.ones(DIMENSIONS), "falling": np.arange(1, DIMENSIONS + 1) ** -0.5}
    for folder in folders:
        spreads[str(folder)] = np.stack(Run(folder=folder).table("embeddings")["latent"]).astype(float).std(0)
    print("| deviations | groups | clusters a draw | Jaccard: median | 95 % | highest |", end="")
    print("".join(f" {bound} or more |" for bound in BOUNDS))
    print("| --- " * (6 + len(BOUNDS)) + "|")
    for title, deviations in spreads.items():
        for groups, draws in DRAWS.items():
            clusters, jaccard = noise_jaccard(groups, deviations, draws)
            middle, upper, highest = np.quantile(jaccard, (0.5, 0.95, 1))
            figures = f"{clusters:.1f} | {middle:.2f} | {upper:.2f} | {highest:.2f}"
            shares = "".join(f" {(jaccard >= bound).mean():.2f} |" for bound in BOUNDS)
            print(f"| {title} | {groups} | {figures} |{shares}", flush=True)


def mixture(n: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of PLANTED groups of unequal sizes, n × DIMENSIONS, a fifth of them in none; and the groups, -1 of none.

    Deviations fall as those of latent vectors do. A group's are WITHIN of the whole's.
    """
    deviations = np.arange(1, DIMENSIONS + 1) ** -0.5
    share = draw.dirichlet(np.full(PLANTED, 4.0)) * (1 - NOWHERE)
    group = draw.choice(np.arange(-1, PLANTED), n, p=[NOWHERE, *share])
    centres = draw.normal(size=(PLANTED, DIMENSIONS)) * deviations
    around = draw.normal(size=(n, DIMENSIONS)) * deviations
    return np.where(group[:, None] < 0, around, centres[group] + WITHIN * around), group


def planted(sizes: list[int]) -> None:
    """How well the groups are recovered: adjusted Rand index over their members, clusters found, noise clustered."""
    print(
        f"| vectors | smallest cluster | clusters of {PLANTED} | adjusted Rand index | of noise in a cluster "
        "| not found again | s |"
    )
    print("| --- " * 7 + "|")
    for n in sizes or SIZES:
        vectors, group = mixture(n, np.random.default_rng(n))
        start = time.perf_counter()
        labels, _ = cluster_vectors(vectors, Cluster(), NEIGHBORS, 0)
        seconds = time.perf_counter() - start
        members, smallest = group >= 0, cluster_sizes(n, None, None)[0]
        again = partial(_again, vectors)
        jaccard = stability(labels, again, RUNS, 0).jaccard.mean(0) if n <= MOST_AGAIN else np.array([])
        lost = f"{(jaccard < STABLE).sum()} of {len(jaccard)}" if len(jaccard) else "-"
        score = adjusted_rand_score(group[members], labels[members])
        noisy = (labels[~members] >= 0).mean()
        print(
            f"| {n:,} | {smallest} | {labels.max() + 1} | {score:.2f} | {noisy:.2f} | {lost} | {seconds:.0f} |",
            flush=True,
        )


def _again(vectors: np.ndarray, chosen: np.ndarray, seed: int) -> np.ndarray:
    return cluster_vectors(vectors[chosen], Cluster(), NEIGHBORS, seed)[0]


def names(folders: list[Path]) -> None:
    """Clusters of each run's groups and of its images, and how many have a name when the facts are shuffled."""
    for folder in folders:
        run = Run(folder=folder)
        embeddings = run.table("embeddings")
        ids, vectors = embeddings["image_id"].to_numpy(), np.stack(embeddings["latent"]).astype(float)
        samples = run.table("samples").set_index("image_id").loc[ids].reset_index()
        facts = binary_features(samples, run.categories)
        photographs = run.table("groups").set_index("image_id").loc[ids, "group"].to_numpy()
        for title, group in (("groups", photographs), ("images", np.arange(len(ids)))):
            named_and_shuffled(f"{folder}, {title}", vectors, facts, samples["dominant"].to_numpy(), group, photographs)


def named_and_shuffled(
    title: str,
    vectors: np.ndarray,
    facts: pd.DataFrame,
    dominant: np.ndarray,
    group: np.ndarray,
    photographs: np.ndarray,
) -> None:
    """group: the unit of the clusters and of the tests. photographs: what the facts are shuffled over. int[N] each."""
    means, of = group_points(vectors, group)
    found = cluster_vectors(means, Cluster(), NEIGHBORS, 0)[0]
    labels = found[of]
    stable = stability(found, lambda chosen, s: cluster_vectors(means[chosen], Cluster(), NEIGHBORS, s)[0], RUNS, 0)
    none = pd.DataFrame({"nothing": np.zeros(len(labels))})
    profiles = profile_clusters(labels, facts, none, none, group, stable.jaccard)
    shown = profiles[profiles["kind"] == "stability"]
    purity = cluster_purity(labels, dominant, group)
    print(f"{title}: {len(means)} units, {len(shown)} clusters, {is_named(shown['name']).sum()} named, {purity}")
    for row in shown.itertuples():
        print(f"  {row.cluster}: {row.name} ({row.size} images, {row.groups} units, found again by {row.inside:.2f})")
    draw, unknown = np.random.default_rng(0), stable.jaccard[:0]  # so that names are given whatever the stability
    number = np.unique(photographs, return_inverse=True)[1]
    first = np.unique(number, return_index=True)[1]
    shuffled = [facts.iloc[draw.permutation(first)[number]] for _ in range(PERMUTATIONS)]
    counts = [
        is_named(profile_clusters(labels, each, none, none, group, unknown).drop_duplicates("cluster")["name"]).sum()
        for each in shuffled
    ]
    print(f"  with the facts shuffled over the groups {PERMUTATIONS} times, named: {np.mean(counts):.2f} on average")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("noise", "names", "planted"))
    parser.add_argument("of", nargs="*", help="folders of runs, or numbers of vectors")
    options = parser.parse_args()
    if options.what == "planted":
        planted([int(each) for each in options.of])
    else:
        {"noise": noise, "names": names}[options.what]([Path(each) for each in options.of])


if __name__ == "__main__":
    main()
