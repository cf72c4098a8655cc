"""embed: a latent vector for every image, their map, and each image's neighbours."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

from segscope import latent, latent_map, schemas, separation, stage
from segscope.dataset import read_examples, shards
from segscope.files import write_json
from segscope.model import activations
from segscope.neighbors import Neighbors, nearest, neighbor_table
from segscope.params import Embed, Params
from segscope.prediction import load_model, predict_batches
from segscope.revisions import read_columns

ARTIFACTS = Path("artifacts")


def main(params: Params) -> None:
    options = params.embed
    keras.utils.set_random_seed(options.seed)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    samples = schemas.read_parquet(ARTIFACTS / "samples.parquet", schemas.samples_schema(categories))
    ids, pooled = pooled_activations(params, samples)
    samples = samples.set_index("image_id").loc[ids]
    space = latent.fit_latent_space(pooled, options.layers, options.dimensions)
    vectors = space.transform(pooled)
    neighbors = nearest(vectors, max(options.neighbors, options.umap_neighbors - 1), options.seed)
    xy, aligned = draw_map(options, ids, vectors, neighbors)
    table = pd.DataFrame(
        {"image_id": ids, "split": samples["split"].to_numpy(), "latent": list(vectors), "x": xy[:, 0], "y": xy[:, 1]}
    )
    latent.save_latent_space(ARTIFACTS / "latent_space.npz", space)
    schemas.write_parquet(ARTIFACTS / "embeddings.parquet", table, schemas.embeddings_schema(options.dimensions))
    similar = neighbor_table(neighbors, ids, options.neighbors)
    schemas.write_parquet(ARTIFACTS / "neighbors.parquet", similar, schemas.NEIGHBORS)
    metrics = {
        "channels": pooled.shape[1],
        "trustworthiness": latent_map.trustworthiness(vectors, xy, options.umap_neighbors, options.seed),
        "neighbor_recall": neighbors.recall,
        **({"aligned": aligned} if aligned else {}),
        **separation.by_split(vectors, neighbors.index[:, : options.neighbors], samples, options.seed),
    }
    write_json("metrics/embed.json", metrics)


def pooled_activations(params: Params, samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """image_id int64[N] and the layers' spatial means float64 N × C of all images of the splits."""
    size = params.data.image_size
    model = load_model(ARTIFACTS / "model.keras", len(params.variants[params.variant]) + 1, size)
    probe = activations(model, tuple(params.embed.layers))
    ids, pooled = [], []
    for split in params.embed.splits:
        examples = read_examples(shards(ARTIFACTS / "dataset", split), size)
        n = int((samples["split"] == split).sum())
        for image_ids, _, (*outputs, _) in predict_batches(probe, examples, n, f"embed {split}"):
            ids.append(image_ids)
            pooled.append(latent.pool(outputs))
    return np.concatenate(ids), np.concatenate(pooled)


def draw_map(
    options: Embed, ids: np.ndarray, vectors: np.ndarray, neighbors: Neighbors
) -> tuple[np.ndarray, dict[str, float]]:
    """The map, and, if it is to lie on another revision's, how well it does."""
    settings = options.umap_neighbors, options.umap_min_dist, options.seed
    if options.align_to is None:
        return latent_map.fit_map(vectors, neighbors, *settings), {}
    other = read_columns("artifacts/embeddings.parquet", options.align_to, ["image_id", "x", "y"])
    known = other["image_id"].to_numpy(), other[["x", "y"]].to_numpy()
    start = latent_map.start_from(ids, neighbors, *known)
    xy = latent_map.fit_map(vectors, neighbors, *settings, start=start)
    return latent_map.lay_over(ids, xy, *known)


if __name__ == "__main__":
    stage.run(main)
