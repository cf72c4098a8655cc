"""Everything the report shows, read from a run's artefacts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd

from segscope.artefacts import schemas
from segscope.artefacts.measures import Measures
from segscope.errors import reading
from segscope.evaluation.per_image import image_scores
from segscope.latent.sides import heavy_groups, kinds, sides
from segscope.model.card import read_facts
from segscope.params import Params
from segscope.run import Run, anew
from segscope.taxonomy import Taxonomy


@dataclass(frozen=True)
class Findings:
    """Tables as their artefacts' schemas say.

    groups: by image_id. scores: `image_scores` of the predictions' images, in their order. sides: the names of the two
    that images are heavy in, or none. heavy: `heavy_groups` of the samples. kind: what `kinds` are of. confused:
    `confusions.findings` of the val split. pairs: `confusions.category_table` of it. reliability: val's rows of the
    curve. produced: how the run was made. run_id: the same for runs that show the same.
    """

    params: Params
    taxonomy: Taxonomy
    produced: Mapping[str, str]
    run_id: str
    samples: pd.DataFrame
    sides: Sequence[str]
    heavy: np.ndarray
    kind: str
    index: pd.DataFrame
    instances: pd.DataFrame
    predictions: pd.DataFrame
    scores: pd.DataFrame
    objects: pd.DataFrame
    label_issues: pd.DataFrame
    embeddings: pd.DataFrame
    neighbors: pd.DataFrame
    clusters: pd.DataFrame
    profiles: pd.DataFrame
    heatmaps: pd.DataFrame
    supports: pd.DataFrame
    groups: pd.Series
    associations: pd.DataFrame
    insights: pd.DataFrame
    history: pd.DataFrame
    confusion: pd.DataFrame
    confused: Mapping[str, Any]
    pairs: pd.DataFrame
    reliability: pd.DataFrame
    duplicates: pd.DataFrame
    copies: pd.DataFrame
    skipped: pd.DataFrame
    measures: Measures


def read_findings(run: Run) -> Findings:
    """Read what the earlier stages found. Raises SegscopeError if an artefact is missing, or a picture foreign."""
    samples, predictions = run.table("samples"), run.table("predictions")
    tables = (
        "index",
        "instances",
        "objects",
        "label_issues",
        "embeddings",
        "neighbors",
        "clusters",
        "heatmaps",
        "supports",
        "associations",
        "insights",
        "duplicates",
        "copies",
        "skipped",
    )
    made = produced(run)
    seen = predictions["image_id"]  # a model that was not run here may have predicted nothing of some images
    read = {name: run.table(name) for name in tables}
    run.require_own(read["index"]["path"])
    embeddings, neighbors = read["embeddings"], read["neighbors"]
    read["embeddings"] = embeddings[embeddings["image_id"].isin(seen)]
    read["neighbors"] = neighbors[neighbors["image_id"].isin(seen) & neighbors["neighbor_id"].isin(seen)]
    read["skipped"] = pd.concat([read["skipped"], run.table("unpredicted")], ignore_index=True)
    embedded = samples[samples["image_id"].isin(embeddings["image_id"])]  # of which embed chose the sides
    two = sides(embedded, run.taxonomy)
    return Findings(
        params=run.params,
        taxonomy=run.taxonomy,
        produced=made,
        run_id=f"{run.params.variant}-{made['model'][:12]}-{made['images'][:12]}",
        samples=samples,
        sides=[side.name for side in two],
        heavy=heavy_groups(samples, two),
        kind=kinds(embedded, run.categories)[1],
        predictions=predictions,
        scores=image_scores(predictions, run.taxonomy),
        profiles=run.table("cluster_profiles"),
        history=run.rows("training", "history"),
        groups=run.table("groups").set_index("image_id")["group"],
        confusion=run.rows("plots", "confusion"),
        confused=run.json("confusions", schemas.Confusions)["val"],
        pairs=run.rows("plots", "categories").query("split == 'val'"),
        reliability=run.rows("plots", "reliability").query("split == 'val'"),
        measures=run.measures("train", "predict", "embed", "cluster"),
        **read,
    )


def produced(run: Run) -> dict[str, str]:
    """How the run was made: what decides most, and the MD5 sums by which dvc.lock knows its model and images.

    No revision: that would change when nothing else does. `git log -S SUM -- dvc.lock` finds it.
    """
    path = run.path("model_card")
    facts = read_facts(path)
    with reading(path, anew("model_card")):  # of another program's card, whatever it says
        training = how_made(facts)
    return {
        "variant": run.params.variant,
        "source": run.params.data.origin,
        "resolution": f"{run.params.data.image_size} × {run.params.data.image_size} pixels",
        "training": training,
        "model": _md5(run, "predictions" if facts.get("source") == "predictions" else "model"),
        "images": _md5(run, "index"),
    }


def how_made(facts: Mapping[str, Any]) -> str:
    """How a model came about, in a line. facts: of its card."""
    if "training" in facts:
        training = facts["training"]
        seeds = ", ".join(map(str, training["seeds"]))
        return f"{training['recipe']} recipe, {training['epochs']} epochs at most, seed {seeds}"
    what = {"keras": "the user's network", "predictions": "predictions of another model,"}[facts["source"]]
    return f"none here: {what} {facts['path']}"


def _md5(run: Run, name: str) -> str:
    path = run.path(name)
    with reading(path, anew(name)), path.open("rb") as file:
        if path.suffix == ".keras" and (odd := ZipFile(file).testzip()):
            raise ValueError(f"{odd} in it is damaged")
        file.seek(0)
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
