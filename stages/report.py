"""report: one folder that shows what the earlier stages found."""

import json
from pathlib import Path

import pandas as pd

from segscope import schemas, stage
from segscope.evaluation import class_of_positions, image_scores
from segscope.files import atomic_folder, write_json
from segscope.insights import find_insights, insight_metrics
from segscope.masks import variant_classes
from segscope.model_card import git_revision
from segscope.params import Params
from segscope.report import Findings, write_report
from segscope.separation import heavy_groups

ARTIFACTS = Path("artifacts")


def main(params: Params) -> None:
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    classes = params.variants[params.variant]

    def table(name: str, schema) -> pd.DataFrame:
        return schemas.read_parquet(ARTIFACTS / f"{name}.parquet", schema)

    samples = table("samples", schemas.samples_schema(categories))
    predictions = table("predictions", schemas.predictions_schema(list(classes), len(categories)))
    class_of = variant_classes(classes, categories)
    scores = image_scores(predictions, list(classes), class_of_positions(class_of, categories))
    val = predictions["split"] == "val"
    found = find_insights(
        samples.set_index("image_id").loc[predictions.loc[val, "image_id"]].reset_index(),
        scores[val].reset_index(drop=True),
        params.insights.min_images,
        params.insights.permutations,
        params.insights.bootstrap,
        params.insights.seed,
    )
    schemas.write_parquet(ARTIFACTS / "associations.parquet", found.associations, schemas.ASSOCIATIONS)
    schemas.write_parquet(ARTIFACTS / "insights.parquet", found.insights, schemas.INSIGHTS)
    findings = Findings(
        variant=params.variant,
        classes=classes,
        class_of=class_of,
        source=params.data.source,
        produced=produced(params),
        samples=samples,
        heavy=heavy_groups(samples),
        index=schemas.read_parquet("data/index.parquet", schemas.INDEX),
        instances=table("instances", schemas.INSTANCES),
        predictions=predictions,
        scores=scores,
        label_issues=table("label_issues", schemas.LABEL_ISSUES),
        embeddings=table("embeddings", schemas.embeddings_schema(params.embed.dimensions)),
        neighbors=table("neighbors", schemas.NEIGHBORS),
        clusters=table("clusters", schemas.CLUSTERS),
        profiles=table("cluster_profiles", schemas.CLUSTER_PROFILES),
        heatmaps=table("heatmaps", schemas.heatmaps_schema(params.data.image_size)),
        supports=table("supports", schemas.supports_schema(params.data.image_size)),
        insights=found,
        history=pd.read_csv(ARTIFACTS / "training" / "history.csv"),
        confusion=pd.read_csv(ARTIFACTS / "plots" / "confusion.csv"),
        confused=json.loads((ARTIFACTS / "confusions.json").read_text())["val"],
        pairs=pd.read_csv(ARTIFACTS / "plots" / "categories.csv").query("split == 'val'"),
        metrics={
            name: json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("predict", "embed", "cluster")
        },
    )
    with atomic_folder("reports") as folder:
        shown = write_report(findings, folder, params.report, params.masks.crowd, params.data.image_size)
    write_json("metrics/report.json", {"report": shown, **insight_metrics(found)})
    for statement in found.insights["statement"].head(5):
        print(statement)
    size = sum(path.stat().st_size for path in Path("reports").rglob("*") if path.is_file())
    print(f"the report is in reports/index.html ({size / 1e6:.1f} MB in all)")


def produced(params: Params) -> str:
    """How the report was made: the revision checked out, and the params that decide most."""
    train = params.train.applied()
    return (
        f"revision {git_revision()}, variant {params.variant}, source {params.data.source}, "
        f"{params.data.image_size} pixels, {train.recipe} recipe, {train.epochs} epochs at most, seed {train.seed}"
    )


if __name__ == "__main__":
    stage.run(main)
