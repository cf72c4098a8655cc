"""cluster: groups of images, what defines each, and where in the images the model sees it."""

import numpy as np
import pandas as pd

from segscope import stage
from segscope.artefacts.measures import measure_table
from segscope.evaluation.per_image import image_scores
from segscope.latent.attend import attend
from segscope.latent.attention import Points, attention_rows, plan_attention
from segscope.latent.clusters import (
    binary_features,
    cluster_measures,
    cluster_vectors,
    gray_measures,
    group_points,
    numeric_columns,
    profile_clusters,
    recovery_measures,
    stability,
)
from segscope.latent.sides import kinds
from segscope.latent.space import load_latent_space
from segscope.latent.support import explain_errors, most_wrong, supporter_of
from segscope.model.dataset import split_records
from segscope.model.inference import set_seeds
from segscope.model.source import open_model
from segscope.run import Run


def main(run: Run) -> None:
    options, embed = run.params.cluster, run.params.embed
    set_seeds(embed.seed)
    taxonomy, embeddings = run.taxonomy, run.table("embeddings")
    embeddings = embeddings[embeddings["image_id"].isin(run.table("predictions", ["image_id"])["image_id"])]
    ids = embeddings["image_id"].to_numpy()
    samples, predictions = (
        run.table(name).set_index("image_id").loc[ids].reset_index() for name in ("samples", "predictions")
    )
    group = run.table("groups").set_index("image_id").loc[ids, "group"].to_numpy()
    vectors = np.stack(embeddings["latent"]).astype(float)
    means, of = group_points(vectors, group)
    found, probability = cluster_vectors(means, options, embed.umap_neighbors, embed.seed)
    labels = found[of]
    stable = stability(
        found,
        lambda chosen, seed: cluster_vectors(means[chosen], options, embed.umap_neighbors, seed)[0],
        options.stability_runs,
        embed.seed,
    )
    facts = binary_features(samples, run.categories)
    # Of the val split's images only: the train split's flatter the model.
    scores = image_scores(predictions, taxonomy).where(predictions["split"] == "val")
    profiles = profile_clusters(labels, facts, numeric_columns(samples), scores, group, stable.jaccard)
    model = open_model(run.params, taxonomy, run.path("model"))
    space = load_latent_space(run.path("latent_space"))
    records = split_records(run.path("dataset"), run.params.data.image_size, "train", "val")
    attention = plan_attention(space, Points(ids, vectors, labels, group), taxonomy, options.exemplars)
    maps, under = attend(attention, model, records)
    val = predictions[predictions["split"] == "val"]
    worst = most_wrong(val, taxonomy, options.explained) if len(val) else {}
    supports = explain_errors(supporter_of(model.network), records, worst, taxonomy)
    run.write("clusters", pd.DataFrame({"image_id": ids, "cluster": labels, "probability": probability[of]}))
    run.write("cluster_profiles", attention_rows(under, profiles, taxonomy))
    run.write("heatmaps", maps)
    run.write("supports", supports)
    rows = [
        *cluster_measures(labels, kinds(samples, run.categories)[0], group, profiles, stable.rand),
        *recovery_measures(labels, facts, profiles, group),
        *gray_measures(samples, scores["loss"].to_numpy(), group),
    ]
    run.write_measures("cluster", measure_table(rows))


if __name__ == "__main__":
    stage.main(main)
