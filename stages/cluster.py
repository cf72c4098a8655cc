"""cluster: groups of images, what defines each, and where in the images the model sees it."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

from segscope import clustering, latent, schemas, stage
from segscope.dataset import read_examples, shards
from segscope.evaluation import category_index
from segscope.files import write_json
from segscope.masks import IGNORE
from segscope.model import activations
from segscope.params import Params
from segscope.prediction import load_model, predict_batches

ARTIFACTS = Path("artifacts")
BOOTSTRAP = 1000


def main(params: Params) -> None:
    keras.utils.set_random_seed(params.cluster.seed)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    classes = list(params.variants[params.variant])
    schema = schemas.embeddings_schema(params.embed.dimensions)
    embeddings = schemas.read_parquet(ARTIFACTS / "embeddings.parquet", schema)
    ids = embeddings["image_id"]
    samples = schemas.read_parquet(ARTIFACTS / "samples.parquet", schemas.samples_schema(categories))
    predictions = schemas.read_parquet(
        ARTIFACTS / "predictions.parquet", schemas.predictions_schema(classes, len(categories))
    )
    samples = samples.set_index("image_id").loc[ids].reset_index()
    predictions = predictions.set_index("image_id").loc[ids].reset_index()
    # On the map: HDBSCAN finds few groups in the latent space itself, where a few hundred images lie thin.
    labels, probability = clustering.find_clusters(
        embeddings[["x", "y"]].to_numpy(), params.cluster.min_cluster_size, params.cluster.min_samples
    )
    profiles = clustering.profile_clusters(
        labels,
        clustering.binary_features(samples, categories),
        samples[list(clustering.NUMERIC)],
        val_scores(predictions, classes),
        BOOTSTRAP,
        params.cluster.seed,
    )
    maps, attention = attend(params, labels, embeddings, categories)
    profiles = pd.concat([profiles, *name_attention(attention, profiles)], ignore_index=True)
    clusters = pd.DataFrame({"image_id": ids, "cluster": labels, "probability": probability})
    schemas.write_parquet(ARTIFACTS / "clusters.parquet", clusters, schemas.CLUSTERS)
    schemas.write_parquet(ARTIFACTS / "cluster_profiles.parquet", profiles, schemas.CLUSTER_PROFILES)
    schemas.write_parquet(ARTIFACTS / "heatmaps.parquet", maps, schemas.heatmaps_schema(params.data.image_size))
    write_json("metrics/cluster.json", metrics(labels, profiles))


def val_scores(predictions: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Loss and IoU of the val split's images only: the train split's flatter the model."""
    scores = predictions[["loss", *(f"iou.{name}" for name in classes)]]
    return scores.where(predictions["split"] == "val")


def attend(
    params: Params, labels: np.ndarray, embeddings: pd.DataFrame, categories: pd.DataFrame
) -> tuple[pd.DataFrame, dict[int, pd.DataFrame]]:
    """Attention maps of each cluster's exemplars, and what lies under the attention of all its images."""
    space = latent.load_latent_space(ARTIFACTS / "latent_space.npz")
    size = params.data.image_size
    vectors = np.stack(embeddings["latent"]).astype(float)
    cluster_of = dict(zip(embeddings["image_id"], labels, strict=True))
    directions = {c: clustering.cluster_direction(vectors, labels == c) for c in range(labels.max() + 1)}
    exemplars = choose_exemplars(
        embeddings["image_id"].to_numpy(), vectors, labels, directions, params.cluster.exemplars
    )
    position = category_index(categories["category_id"])
    n_categories = len(categories) + 1
    positive = {c: np.zeros(n_categories) for c in directions}
    pixels = {c: np.zeros(n_categories) for c in directions}
    rows = []
    model = load_model(ARTIFACTS / "model.keras", len(params.variants[params.variant]) + 1, size)
    probe = activations(model, space.layers)
    for split in embeddings["split"].unique():
        examples = read_examples(shards(ARTIFACTS / "dataset", split), size)
        n = int((embeddings["split"] == split).sum())
        for ids, masks, (*outputs, _) in predict_batches(probe, examples, n, f"attention {split}"):
            batch_clusters = np.array([cluster_of[i] for i in ids])
            for c in np.unique(batch_clusters[batch_clusters >= 0]):
                chosen = batch_clusters == c
                maps = space.write_back(directions[c], [layer[chosen] for layer in outputs], size)
                where = position[masks[chosen]]
                known = where != IGNORE
                positive[c] += np.bincount(where[known], np.maximum(maps, 0)[known], n_categories)
                pixels[c] += np.bincount(where[known], minlength=n_categories)
                rows += [
                    {"cluster": c, "image_id": i, "score": m.sum(), "attention": m.ravel()}
                    for i, m in zip(ids[chosen], maps, strict=True)
                    if i in exemplars[c]
                ]
    names = ["unlabelled", *categories["name"]]
    under = {c: clustering.attention_profile(positive[c], pixels[c], names) for c in directions}
    columns = ["cluster", "image_id", "score", "attention"]
    return pd.DataFrame(rows, columns=columns).sort_values(["cluster", "score"], ascending=[True, False]), under


def choose_exemplars(
    ids: np.ndarray, vectors: np.ndarray, labels: np.ndarray, directions: dict[int, np.ndarray], most: int
) -> dict[int, set[int]]:
    """The images of each cluster that score highest on its direction."""
    chosen = {}
    for c, direction in directions.items():
        members = np.flatnonzero(labels == c)
        order = np.argsort(-(vectors[members] @ direction), kind="stable")
        chosen[c] = set(ids[members[order[:most]]].tolist())
    return chosen


def name_attention(attention: dict[int, pd.DataFrame], profiles: pd.DataFrame) -> list[pd.DataFrame]:
    known = profiles.drop_duplicates("cluster").set_index("cluster")
    return [
        table.assign(cluster=c, name=known.loc[c, "name"], size=known.loc[c, "size"]) for c, table in attention.items()
    ]


def metrics(labels: np.ndarray, profiles: pd.DataFrame) -> dict:
    names = profiles.drop_duplicates("cluster")["name"]
    return {
        "clusters": int(labels.max() + 1),
        "named": int((names != "mixed").sum()),
        "unclustered_share": float((labels == clustering.NOISE).mean()),
    }


if __name__ == "__main__":
    stage.run(main)
