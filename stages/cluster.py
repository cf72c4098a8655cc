"""cluster: groups of images, what defines each, and where in the images the model sees it."""

from itertools import chain
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from segscope import attention, clustering, evaluation, latent, latent_map, schemas, stage
from segscope.dataset import read_examples, shards
from segscope.files import write_json
from segscope.masks import variant_classes
from segscope.model import activations
from segscope.params import Params
from segscope.prediction import load_model, predict_batches

ARTIFACTS = Path("artifacts")
BOOTSTRAP = 1000


def main(params: Params) -> None:
    keras.utils.set_random_seed(params.cluster.seed)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    classes = params.variants[params.variant]
    schema = schemas.embeddings_schema(params.embed.dimensions)
    embeddings = schemas.read_parquet(ARTIFACTS / "embeddings.parquet", schema)
    ids = embeddings["image_id"]
    samples = schemas.read_parquet(ARTIFACTS / "samples.parquet", schemas.samples_schema(categories))
    predictions = schemas.read_parquet(
        ARTIFACTS / "predictions.parquet", schemas.predictions_schema(classes, len(categories))
    )
    samples = samples.set_index("image_id").loc[ids].reset_index()
    predictions = predictions.set_index("image_id").loc[ids].reset_index()
    vectors = np.stack(embeddings["latent"]).astype(float)
    labels, probability = find_clusters(params, vectors, params.cluster.seed)
    facts = clustering.binary_features(samples, categories)
    # Of the val split's images only: the train split's flatter the model.
    class_of = evaluation.class_of_positions(variant_classes(classes, categories), categories)
    scores = evaluation.image_scores(predictions, list(classes), class_of).where(predictions["split"] == "val")
    draws = BOOTSTRAP, params.cluster.seed
    profiles = clustering.profile_clusters(labels, facts, samples[list(clustering.NUMERIC)], scores, *draws)
    model = load_model(ARTIFACTS / "model.keras", len(classes) + 1, params.data.image_size)
    maps, under = attend(params, model, embeddings, labels, categories)
    profiles = pd.concat([profiles, *attention_rows(under, profiles, categories)], ignore_index=True)
    supports = support(params, model, predictions, categories)
    clusters = pd.DataFrame({"image_id": ids, "cluster": labels, "probability": probability})
    schemas.write_parquet(ARTIFACTS / "clusters.parquet", clusters, schemas.CLUSTERS)
    schemas.write_parquet(ARTIFACTS / "cluster_profiles.parquet", profiles, schemas.CLUSTER_PROFILES)
    schemas.write_parquet(ARTIFACTS / "heatmaps.parquet", maps, schemas.heatmaps_schema(params.data.image_size))
    schemas.write_parquet(ARTIFACTS / "supports.parquet", supports, schemas.supports_schema(params.data.image_size))
    metrics = {
        "clusters": int(labels.max() + 1),
        "named": int((profiles.drop_duplicates("cluster")["name"] != "mixed").sum()),
        "unclustered_share": float((labels == clustering.NOISE).mean()),
        "stability": clustering.stability(
            labels,
            lambda chosen, seed: find_clusters(params, vectors[chosen], seed)[0],
            params.cluster.stability_runs,
            params.cluster.seed,
        ),
        "groups": clustering.recovery(labels, facts, profiles),
        "gray": clustering.gray_images(samples, scores["loss"].to_numpy(), *draws),
    }
    write_json("metrics/cluster.json", metrics)


def find_clusters(params: Params, vectors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of the clusters in a map of few dimensions.

    HDBSCAN finds few groups in the latent space itself, where a few hundred images lie thin.
    """
    options = params.cluster
    points = latent_map.map_of(vectors, params.embed.umap_neighbors, 0.0, seed, options.dimensions)
    sizes = clustering.cluster_sizes(len(vectors), options.min_cluster_size, options.min_samples)
    return clustering.find_clusters(points, *sizes)


def attend(
    params: Params, model: keras.Model, embeddings: pd.DataFrame, labels: np.ndarray, categories: pd.DataFrame
) -> tuple[pd.DataFrame, attention.Under]:
    """`attention.attend` over all embedded images."""
    space = latent.load_latent_space(ARTIFACTS / "latent_space.npz")
    size = params.data.image_size
    probe = activations(model, space.layers)
    batches = chain.from_iterable(
        predict_batches(probe, read_examples(shards(ARTIFACTS / "dataset", split), size), n, f"attention {split}")
        for split, n in embeddings["split"].value_counts(sort=False).items()
    )
    return attention.attend(
        ((ids, masks, outputs[:-1]) for ids, masks, outputs in batches),
        space,
        embeddings["image_id"].to_numpy(),
        np.stack(embeddings["latent"]).astype(float),
        labels,
        evaluation.category_index(categories["category_id"]),
        size,
        params.cluster.exemplars,
    )


def attention_rows(under: attention.Under, profiles: pd.DataFrame, categories: pd.DataFrame) -> list[pd.DataFrame]:
    """The profile rows of what lies under each cluster's attention."""
    known = profiles.drop_duplicates("cluster").set_index("cluster")
    names = ["unlabelled", *categories["name"]]
    return [
        attention.attention_profile(*sums, names).assign(
            cluster=c, name=known.loc[c, "name"], size=known.loc[c, "size"]
        )
        for c, sums in under.items()
    ]


def support(params: Params, model: keras.Model, predictions: pd.DataFrame, categories: pd.DataFrame) -> pd.DataFrame:
    """`attention.explain_errors` of the val images with most wrongly predicted pixels of each class."""
    classes = params.variants[params.variant]
    class_of = variant_classes(classes, categories)
    val = predictions[predictions["split"] == "val"]
    worst = attention.most_wrong(
        val, evaluation.class_of_positions(class_of, categories), classes, params.cluster.explained
    )
    examples = read_examples(shards(ARTIFACTS / "dataset", "val"), params.data.image_size)
    position = evaluation.category_index(categories["category_id"])
    return attention.explain_errors(
        attention.Supporter(model),
        examples,
        worst,
        list(classes),
        class_of,
        position,
        ["unlabelled", *categories["name"]],
    )


if __name__ == "__main__":
    stage.run(main)
