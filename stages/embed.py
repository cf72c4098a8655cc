"""embed: a latent vector for every image, their map, and each image's neighbours."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import umap
from sklearn.manifold import trustworthiness

from segscope import latent, schemas, stage
from segscope.dataset import read_examples, shards
from segscope.files import write_json
from segscope.model import activations
from segscope.params import Params
from segscope.prediction import load_model, predict_batches

ARTIFACTS = Path("artifacts")


def main(params: Params) -> None:
    keras.utils.set_random_seed(params.embed.seed)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    samples = schemas.read_parquet(ARTIFACTS / "samples.parquet", schemas.samples_schema(categories))
    layers = tuple(params.embed.layers)
    size = params.data.image_size
    model = load_model(ARTIFACTS / "model.keras", len(params.variants[params.variant]) + 1, size)
    probe = activations(model, layers)
    ids, pooled = [], []
    for split, n in samples["split"].value_counts(sort=False).items():
        examples = read_examples(shards(ARTIFACTS / "dataset", split), size)
        for image_ids, _, (*outputs, _) in predict_batches(probe, examples, n, f"embed {split}"):
            ids.append(image_ids)
            pooled.append(latent.pool(outputs))
    ids, pooled = np.concatenate(ids), np.concatenate(pooled)
    space = latent.fit_latent_space(pooled, layers, params.embed.dimensions)
    vectors = space.transform(pooled)
    neighbors = min(params.embed.umap_neighbors, len(vectors) - 1)
    mapping = umap.UMAP(
        n_neighbors=neighbors, min_dist=params.embed.umap_min_dist, random_state=params.embed.seed, n_jobs=1
    )
    xy = mapping.fit_transform(vectors)
    split_of = samples.set_index("image_id")["split"]
    table = pd.DataFrame(
        {
            "image_id": ids,
            "split": split_of.loc[ids].to_numpy(),
            "latent": list(vectors),
            "x": xy[:, 0],
            "y": xy[:, 1],
        }
    )
    latent.save_latent_space(ARTIFACTS / "latent_space.npz", space)
    schemas.write_parquet(ARTIFACTS / "embeddings.parquet", table, schemas.embeddings_schema(params.embed.dimensions))
    similar = latent.nearest(vectors, ids, params.embed.neighbors)
    schemas.write_parquet(ARTIFACTS / "neighbors.parquet", similar, schemas.NEIGHBORS)
    group = latent.heavy_groups(samples.set_index("image_id").loc[ids])
    metrics = {
        "trustworthiness": float(trustworthiness(vectors, xy, n_neighbors=min(neighbors, len(vectors) // 2 - 1))),
        "channels": pooled.shape[1],
    }
    splits = {split: (table["split"] == split).to_numpy() for split in ("train", "val")}
    for name, chosen in {"all": np.ones(len(ids), bool), **splits}.items():
        metrics[name] = {
            "images": int(chosen.sum()),
            "person_heavy": int((group[chosen] == 1).sum()),
            "vehicle_heavy": int((group[chosen] == 0).sum()),
            "separability": latent.separability(vectors[chosen], group[chosen], params.embed.seed),
        }
    write_json("metrics/embed.json", metrics)


if __name__ == "__main__":
    stage.run(main)
