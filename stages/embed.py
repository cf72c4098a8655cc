"""embed: a latent vector for every image, their map, and each image's neighbours."""

from functools import partial

import pandas as pd

from segscope import stage
from segscope.artefacts.measures import Measure, measure_table
from segscope.artefacts.revisions import read_file
from segscope.latent.neighbors import nearest, neighbor_table
from segscope.latent.projection import align_map, fit_map, trustworthiness
from segscope.latent.separability import separation_measures
from segscope.latent.space import embedding_table, fit_latent_space, means_of, save_latent_space
from segscope.run import Run


def main(run: Run) -> None:
    options = run.params.embed
    other = map_of(options.align_to, run.table("index")) if options.align_to else None
    samples, groups = run.table("samples"), run.table("groups").set_index("image_id")["group"]
    ids, means, layers = means_of(run.table("activations"), options.splits)
    samples = samples.set_index("image_id").loc[ids]
    space = fit_latent_space(means, layers, options.dimensions)
    vectors = space.transform(means)
    neighbors = nearest(vectors, max(options.neighbors, options.umap_neighbors), options.seed)
    settings = options.umap_neighbors, options.umap_min_dist, options.seed
    rows = [
        Measure("channels", means.shape[1]),
        Measure("neighbor_recall", neighbors.recall),
        *separation_measures(vectors, samples, run.taxonomy, groups[ids].to_numpy(), options.neighbors, options.seed),
    ]
    if other is None:
        xy = fit_map(vectors, neighbors, *settings)
    else:
        xy, aligned = align_map(ids, vectors, neighbors, other, *settings)
        rows += aligned
    rows.append(Measure("trustworthiness", trustworthiness(vectors, xy, options.umap_neighbors, options.seed)))
    save_latent_space(run.path("latent_space"), space)
    run.write("embeddings", embedding_table(ids, samples["split"].to_numpy(), vectors, xy))
    run.write("neighbors", neighbor_table(neighbors, ids, options.neighbors))
    run.write_measures("embed", measure_table(rows))


def map_of(revision: str, index: pd.DataFrame) -> pd.DataFrame:
    """image_id, x, y of the images that a revision's or experiment's map has in common with an index."""
    run = Run(read=partial(read_file, revision=revision), revision=revision)
    same = run.table("index", ["image_id", "sha256"]).merge(index[["image_id", "sha256"]])
    return run.table("embeddings", ["image_id", "x", "y"]).merge(same[["image_id"]])


if __name__ == "__main__":
    stage.main(main)
