"""What the report's views say, from a run's findings, as JSON has it.

An image is told by its place among the points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segscope.artefacts.overlays import class_color
from segscope.evaluation.bootstrap import TRUSTED
from segscope.evaluation.counts import confusion
from segscope.evaluation.loss import level_loss
from segscope.evaluation.per_image import pixel_counts
from segscope.latent.facts import STABLE, enriched
from segscope.params import Data
from segscope.report.findings import Findings
from segscope.report.objects import ERROR_KINDS, OUTCOMES, found_rows
from segscope.report.pictures import ERRORS
from segscope.sources.ids import own_id
from segscope.taxonomy import Taxonomy

MOST_LISTED = 200  # pairs of copies, those that are left out first, and groups of near ones, the largest first
_BRIGHT_LOSS = 4.0  # nats that are painted brightest
_OF_A_CELL = 24  # images with most pixels of a cell of the confusion
_LIKELY_FACTS = 8
_UNSURE = "The model is known by its classes alone, without probabilities: there is no loss and no calibration."
_MEMBERS = 8  # of a cluster without attention maps


def points_of(findings: Findings) -> pd.DataFrame:
    """One row an image, in the embeddings' order: its place on the map, its scores, all else that is known of it."""
    scores = findings.scores.assign(image_id=findings.predictions["image_id"].to_numpy())
    own = ["image_id", "pixel_accuracy", "confidence"]
    heavy = np.array([*(f"{name}-heavy" for name in reversed(findings.sides)), "neither"], object)[findings.heavy]
    samples = findings.samples.assign(heavy=heavy).drop(columns="split")
    sides = findings.index[["image_id", "width", "height"]]
    points = findings.embeddings[["image_id", "split", "x", "y"]]
    points = points.assign(group=points["image_id"].map(findings.groups).to_numpy())
    samples = samples.drop(columns=["width", "height"], errors="ignore")
    for table in (findings.clusters[["image_id", "cluster"]], scores, findings.predictions[own], sides, samples):
        points = points.merge(table, on="image_id", how="left")
    return points.assign(slot=_slots(points))


def _slots(points: pd.DataFrame) -> np.ndarray:
    """Each image's place among the thumbnails: those of a cluster, and near on the map, are together."""
    x, y = (points[axis].to_numpy(float) for axis in "xy")
    strip = np.floor(8 * (x - x.min()) / max(np.ptp(x), 1e-12))
    order = np.lexsort((y, strip, points["cluster"].to_numpy()))
    slots = np.empty(len(points), int)
    slots[order] = np.arange(len(points))
    return slots


def places(points: pd.DataFrame) -> dict[int, int]:
    """Each image's place among the points, by image_id."""
    return {i: n for n, i in enumerate(points["image_id"].tolist())}


def run_content(findings: Findings, points: pd.DataFrame, counts: pd.DataFrame) -> dict[str, Any]:
    """What is said of the run as a whole. points: of `points_of`. counts: of `objects.cells`."""
    at, params, taxonomy = places(points), findings.params, findings.taxonomy
    return {
        "title": params.report.title,
        "variant": params.variant,
        "source": params.data.source,
        "origin": params.data.origin,
        "folder": folder_of(params.data),
        "id": findings.run_id,
        "imageSize": params.data.image_size,
        "modelSource": params.model.source,
        "classes": [
            {"name": name, "of": list(of), "color": class_color(k), "category": _only_category(taxonomy, name)}
            for k, (name, of) in enumerate(taxonomy.classes.items(), start=1)
        ],
        "sides": findings.sides,
        "kind": findings.kind,
        "errors": ERRORS,
        "lossLevels": np.minimum(level_loss(np.arange(256)) / _BRIGHT_LOSS, 1).round(4),
        "scores": [name for name, values in findings.scores.items() if name != "loss" or values.notna().any()],
        "measures": _measures(findings),
        "trusted": TRUSTED,
        "few": params.insights.min_images,
        "stable": STABLE,
        "unit": _unit(findings),
        "produced": findings.produced,
        "insights": _insights(findings, at),
        "history": findings.history.to_dict("list"),
        "reliability": findings.reliability.to_dict("list"),
        "clusters": [_cluster(findings, c, at) for c in sorted(set(findings.profiles["cluster"])) if c >= 0],
        "heat": _heat_of(findings, at),
        "confusion": findings.confusion.to_dict("list"),
        "pairs": findings.pairs.to_dict("list"),
        "categoryClass": dict(
            zip(taxonomy.category_names, np.array(taxonomy.class_names)[taxonomy.class_of_position], strict=True)
        ),
        "taken": findings.confused,
        "cells": _cells(findings, at),
        "unseen": _unseen(findings),
        "explained": params.cluster.explained,
        "unsure": "" if findings.scores["loss"].notna().any() else _UNSURE,
        "supports": [
            {"sample": at[row["image_id"]], "class": row["class"], "pixels": row["pixels"], "on": list(row["on"])}
            for row in findings.supports.to_dict("records")
            if row["image_id"] in at
        ],
        "found": [_found(row) for row in found_rows(counts, taxonomy, findings.measures)],
        "errorKinds": {name: kind._asdict() for name, kind in ERROR_KINDS.items()},
        "outcomes": OUTCOMES,
        "suspects": {kind: int(n) for kind, n in findings.label_issues["kind"].value_counts().items()},
        "copies": _copies(findings, at),
        "skipped": findings.skipped.groupby(["split", "reason"]).size().rename("n").reset_index().to_dict("records"),
    }


def _only_category(taxonomy: Taxonomy, name: str) -> dict[str, Any] | None:
    """The source's own id and the name of the category that a class is, None of a class of several."""
    ids = taxonomy.category_ids[name]
    if len(ids) != 1:
        return None
    row = taxonomy.categories.set_index("category_id").loc[ids[0]]
    return {"id": own_id(row["source_id"]), "name": row["name"]}


def folder_of(data: Data) -> str:
    """What the images are called by: their folder's name, or their source's."""
    return Path(data.root).name if data.source == "directory" else data.source


def _unseen(findings: Findings) -> str:
    """Why there is no attention, or nothing."""
    if findings.params.model.source != "predictions":
        return ""
    return (
        "The model is known by its predictions alone: what it attends to is not. The map is of the pretrained encoder."
    )


def _measures(findings: Findings) -> dict[str, dict[str, list[float]]]:
    """Each split's measures: value, low, high, images, carriers."""
    rows: dict[str, dict[str, list[float]]] = {}
    for row in findings.measures.table.itertuples():
        known = [row.value, row.low, row.high, None if pd.isna(row.images) else int(row.images), row.carriers]
        rows.setdefault(row.split, {})[row.measure] = known
    return rows


def _unit(findings: Findings) -> str:
    """What is independent in val: images, or groups of near copies where there are any."""
    measures = findings.measures
    alone = measures.value("groups", "val") == measures.value("images", "val")
    return "images" if alone else "groups of images (near copies, or what data.group names)"


def _insights(findings: Findings, at: Mapping[int, int]) -> list[dict[str, Any]]:
    return [
        row | {"points": [at[i] for i in row.pop("image_ids").tolist() if i in at]}
        for row in findings.insights.to_dict("records")
    ]


def _cluster(findings: Findings, cluster: int, at: Mapping[int, int]) -> dict[str, Any]:
    profile = findings.profiles[findings.profiles["cluster"] == cluster]
    maps = findings.heatmaps[findings.heatmaps["cluster"] == cluster]
    stability = profile[profile["kind"] == "stability"]
    # Nothing is said of a score that no val image of the cluster has: of a class that none of them shows, say.
    measured = (profile["kind"] == "performance") & profile["inside"].notna()
    told = ["feature", "inside", "rest", "recall", "low", "high", "p_value"]
    under = [*told, "inside_low", "inside_high"]
    return {
        "cluster": cluster,
        "name": profile["name"].iloc[0],
        "size": profile["size"].iloc[0],
        "groups": profile["groups"].iloc[0],
        "stability": stability["inside"].iloc[0] if len(stability) else None,
        "facts": enriched(profile)[told].head(_LIKELY_FACTS).to_dict("records"),
        "performance": profile.loc[measured, told].to_dict("records"),
        "attention": profile.loc[profile["kind"] == "attention", under].nlargest(8, "inside").to_dict("records"),
        "images": [at[i] for i in (maps["image_id"] if len(maps) else _surest(findings, cluster)).tolist() if i in at],
    }


def _surest(findings: Findings, cluster: int) -> pd.Series:
    """The image_ids of a cluster's images that are of it most certainly."""
    own = findings.clusters[findings.clusters["cluster"] == cluster]
    most = own.sort_values("probability", ascending=False, kind="stable")
    return most["image_id"].head(_MEMBERS)


def cluster_map(cluster: int) -> str:
    """The script with a cluster's attention maps."""
    return f"attention/cluster-{cluster}"


def support_map(number: int) -> str:
    """The script with the maps of what supports wrong pixels of a class, the first being 1."""
    return f"attention/support-{number}"


def _heat_of(findings: Findings, at: Mapping[int, int]) -> dict[int, list[tuple[str, str]]]:
    """By an image's place: the scripts with maps of it, and what each map is of."""
    names = findings.profiles.drop_duplicates("cluster").set_index("cluster")["name"]
    found: dict[int, list[tuple[str, str]]] = {}
    for row in findings.heatmaps.itertuples():
        if row.image_id in at:
            caption = f"attention of cluster {row.cluster}: {names[row.cluster]}"
            found.setdefault(at[row.image_id], []).append((cluster_map(row.cluster), caption))
    classes = findings.taxonomy.class_names
    for image_id, name in zip(findings.supports["image_id"], findings.supports["class"], strict=True):
        if image_id in at:
            found.setdefault(at[image_id], []).append((support_map(classes.index(name)), f"support of wrong {name}"))
    return found


def _cells(findings: Findings, at: Mapping[int, int]) -> dict[str, list[int]]:
    """Of each pair of a predicted class and another true class or category: the val images with most such pixels."""
    val = findings.predictions[findings.predictions["split"] == "val"]
    if val.empty:
        return {}
    taxonomy = findings.taxonomy
    counts = pixel_counts(val, taxonomy)
    ids = val["image_id"].to_numpy()
    found = {}
    for kind, table, names in (
        ("class", confusion(counts, taxonomy.class_of_position), taxonomy.class_names),
        ("category", counts, taxonomy.category_names),
    ):
        total = table.sum(0)
        for k, c in zip(*np.nonzero(total), strict=True):
            pixels = table[:, k, c]
            most = np.argsort(-pixels, kind="stable")[:_OF_A_CELL]
            chosen = [at[i] for i in ids[most[pixels[most] > 0]].tolist() if i in at]
            found[f"{kind}|{taxonomy.class_names[k]}|{names[c]}"] = chosen
    return found


def _found(row: Mapping[str, Any]) -> dict[str, Any]:
    m = row["measure"]
    return dict(row) | {"measure": None if m is None else [m.value, m.low, m.high, None, m.carriers]}


def _copies(findings: Findings, at: Mapping[int, int]) -> dict[str, Any]:
    """The copies that were found, those that were left out, and which images count as one."""
    groups = findings.groups[findings.groups.index.isin(list(at))]
    several = groups[groups.duplicated(keep=False)]
    members = [[at[i] for i in rows.index.tolist()] for _, rows in several.groupby(several)]
    members.sort(key=len, reverse=True)
    files = {i: Path(path).name for i, path in findings.copies[["image_id", "path"]].itertuples(index=False)}
    pairs = findings.duplicates.assign(left_out=findings.duplicates["image_id"].isin(list(files)))
    listed = pairs.sort_values("left_out", ascending=False, kind="stable").head(MOST_LISTED)
    return {
        "pairs": [
            {
                "a": at.get(row.image_id),
                "b": at.get(row.other_id),
                "ids": [row.image_id, row.other_id],
                "splits": [row.split, row.other_split],
                "kind": row.kind,
                "distance": row.distance,
                "left_out": row.left_out,
                "file": files.get(row.image_id),
            }
            for row in listed.itertuples()
        ],
        "found": len(pairs),
        "left_out": len(findings.copies),
        "groups": members[:MOST_LISTED],
        "grouped": len(members),
        "images": len(several),
    }


def listing(table: pd.DataFrame) -> dict[str, Sequence[Any]]:
    """A table's columns, what is unknown as None."""
    return {str(name): column.astype(object).where(column.notna(), None).tolist() for name, column in table.items()}
