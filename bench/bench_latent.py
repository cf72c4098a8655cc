"""Latent space, neighbours and map of synthetic activations, against umap-learn's own fit of the same vectors.

python bench/bench_latent.py [IMAGES ...]   # default: 5000 40000
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import psutil
import umap
from results import record, spread

from segscope.latent.neighbors import nearest
from segscope.latent.projection import fit_map, trustworthiness
from segscope.latent.space import fit_latent_space
from segscope.params_file import load_params

SIZES = (5_000, 40_000)
CHANNELS = 864  # of the default layers
KINDS = 60
REPEATS = 3


def activations(n: int) -> np.ndarray:
    """Spatial means as of KINDS kinds of images: n × CHANNELS, of few directions and some noise, as real ones are."""
    draw = np.random.default_rng(0)
    mixture = draw.normal(size=(40, CHANNELS))
    kinds = 2 * draw.normal(size=(KINDS, 40))
    hidden = kinds[draw.integers(0, KINDS, n)] + draw.normal(size=(n, 40))
    return np.maximum(hidden @ mixture + draw.normal(size=(n, CHANNELS)), 0)


def main() -> None:
    options = load_params().embed
    settings = options.umap_neighbors, options.umap_min_dist, options.seed
    nearby = max(options.neighbors, options.umap_neighbors - 1)
    warnings.filterwarnings("ignore", message="n_jobs value")
    warm = activations(300)[:, :32].astype(np.float32)
    fit_map(warm, nearest(warm, nearby, 0), *settings)  # compiled before anything is measured
    found = {}
    for n in [int(argument) for argument in sys.argv[1:]] or SIZES:
        pooled, ratios = activations(n), []
        for _ in range(REPEATS):
            marks = [time.perf_counter()]
            vectors = fit_latent_space(pooled, ["all"], options.dimensions).transform(pooled).astype(np.float32)
            marks.append(time.perf_counter())
            neighbors = nearest(vectors, nearby, options.seed)
            marks.append(time.perf_counter())
            xy = fit_map(vectors, neighbors, *settings)
            marks.append(time.perf_counter())
            umap.UMAP(
                n_neighbors=options.umap_neighbors, min_dist=options.umap_min_dist, random_state=options.seed, n_jobs=1
            ).fit(vectors)
            marks.append(time.perf_counter())
            space, near, drawn, own = np.diff(marks)
            ratios.append((space + near + drawn) / own)
        trust = trustworthiness(vectors, xy, options.umap_neighbors, options.seed)
        print(f"{n} images, s: umap's own fit {own:.1f}; space {space:.1f}, neighbours {near:.1f}, map {drawn:.1f}")
        found[str(n)] = spread(ratios)
        between = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        quality = f"recall {neighbors.recall:.3f}, trustworthiness {trust:.3f}"
        print(f"  together {between} times umap's own, median of {REPEATS}; {quality}")
    record("latent", found)
    print(f"peak memory {psutil.Process().memory_info().rss >> 20} MiB at the end")


if __name__ == "__main__":
    main()
