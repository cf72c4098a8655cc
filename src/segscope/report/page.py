"""The report: a folder with index.html that opens from disk, with no server and no network."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segscope.artefacts.images import decode_png
from segscope.artefacts.measures import Measure, Measures
from segscope.artefacts.overlays import class_color
from segscope.evaluation.bootstrap import TRUSTED
from segscope.labels.masks import compose_mask
from segscope.labels.metadata import describe
from segscope.latent.facts import STABLE, enriched
from segscope.report.findings import Findings
from segscope.report.html import template, write_assets
from segscope.report.objects import ERROR_KINDS, OUTCOMES, cells, described, found_rows, listed
from segscope.report.views import CHUNK, ERRORS, Job, crop, write_views
from segscope.suspects.find import KINDS
from segscope.suspects.ranking import first_of_groups

_FACTS_SHOWN = 6
_ISSUES_LISTED = 2000  # of a run, the highest scores: those that a sample's page names
_OBJECT = ["object_id", "class", "category", "size", "outcome", "became", "box"]  # what the script has of each
_HIDDEN = ("image_id", "width", "height", "is_colored")
HEAVY = {1: "person-heavy", 0: "vehicle-heavy", -1: "neither"}


def write_report(findings: Findings, folder: Path) -> list[Measure]:
    """Write the report into `folder`. Returns how much it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    options, labels, measures = findings.params.report, _Labels(findings), findings.measures
    objects = described(findings.objects, findings.index, findings.taxonomy)
    judged = objects[(objects["split"] == "val") & ~objects["crowd"]]
    counts = cells(judged)
    write_views(_jobs(findings, labels, objects), len(findings.embeddings), folder / "views", options.thumbnail)
    suspects = {kind: _suspect_cards(findings, labels, objects, kind, folder / "crops") for kind in KINDS}
    points = _points(findings)
    cards = [_cluster_card(findings, c) for c in sorted(set(findings.clusters["cluster"]) - {-1})]
    page = template("assets/index.html.j2").render(
        title=options.title,
        findings=findings,
        classes=findings.taxonomy.classes,
        source=findings.params.data.source,
        colors={name: class_color(k) for k, name in enumerate(findings.taxonomy.classes, start=1)},
        errors=ERRORS,
        error_kinds=ERROR_KINDS,
        outcomes=OUTCOMES,
        found=found_rows(counts, findings.taxonomy, measures),
        measures=measures,
        cards=cards,
        suspects=suspects,
        insights=_insights(findings),
        hard=_hard(measures),
        few=findings.params.insights.min_images,
        trusted=TRUSTED,
        stable=STABLE,
        unit=_unit(measures),
        data=json.loads(json.dumps(_data(findings, points, listed(judged), counts), default=_plain)),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    write_assets(folder, "assets/style.css", "assets/report.js")
    shown = {"images": len(points), "clusters": len(cards), "suspects": sum(map(len, suspects.values()))}
    return [Measure(name, n) for name, n in shown.items()]


def _unit(measures: Measures) -> str:
    """What is independent in val: images, or groups of near copies where there are any."""
    alone = measures.value("groups", "val") == measures.value("images", "val")
    return "images" if alone else "groups of images (near copies, or what data.group names)"


def _hard(measures: Measures) -> list[str]:
    """The names of the images known to be hard, of which val's loss is known."""
    names = measures.table.loc[measures.table["split"] == "val", "measure"]
    return names[names.str.match(r"inside\..*\.loss$")].str.slice(len("inside."), -len(".loss")).tolist()


def _plain(value: Any) -> Any:
    return value.item()


class _Labels:
    """The labels of images as class masks, at any size."""

    def __init__(self, findings: Findings):
        self._crowd, self._class_of = findings.params.masks.crowd, findings.taxonomy.class_of_id
        self._size = findings.index.set_index("image_id")[["height", "width"]]
        self._instances = dict(list(findings.instances.groupby("image_id")))
        self._none = findings.instances[:0]

    def classes(self, image_id: int, size: int | None = None) -> np.ndarray:
        """uint8 of the image's own height and width, or size × size."""
        height, width = self._size.loc[image_id]
        table = self._instances.get(image_id, self._none)
        return self._class_of[compose_mask(table, height, width, self._crowd, size)]


def _jobs(findings: Findings, labels: _Labels, objects: pd.DataFrame) -> Iterator[Job]:
    """The views' jobs, in the order of the embeddings. objects: of `described`."""
    names, size, exif = _cluster_names(findings), findings.params.data.image_size, findings.params.data.exif
    attention: dict[int, dict[str, np.ndarray]] = {}
    for row in findings.heatmaps.itertuples():
        caption = f"cluster {row.cluster}: {names[row.cluster]}"
        attention.setdefault(row.image_id, {})[caption] = _square(row.attention)
    supports = findings.supports
    for image_id, name, support in zip(supports["image_id"], supports["class"], supports["support"], strict=True):
        attention.setdefault(image_id, {})[f"support of wrong {name}"] = _square(support)
    paths = findings.index.set_index("image_id")["path"]
    predicted = findings.predictions.set_index("image_id")
    own = {i: rows[_OBJECT].to_dict("records") for i, rows in objects.groupby("image_id")}
    for i in findings.embeddings["image_id"].tolist():
        row = predicted.loc[i]
        shown = attention.get(i, {}), own.get(i, [])
        yield Job(i, paths[i], labels.classes(i, size), row["mask"], row["loss_map"], *shown, exif)


def _square(values: np.ndarray) -> np.ndarray:
    side = int(np.sqrt(len(values)))
    return np.asarray(values).reshape(side, side)


def _cluster_names(findings: Findings) -> pd.Series:
    """The clusters' names by their numbers."""
    return findings.profiles.drop_duplicates("cluster").set_index("cluster")["name"]


def _positions(findings: Findings) -> dict[int, int]:
    """Each image's position among the points, by image_id."""
    return {i: n for n, i in enumerate(findings.embeddings["image_id"].tolist())}


def _cluster_card(findings: Findings, cluster: int) -> dict[str, Any]:
    profile = findings.profiles[findings.profiles["cluster"] == cluster]
    maps = findings.heatmaps[findings.heatmaps["cluster"] == cluster]
    stability = profile[profile["kind"] == "stability"]
    return {
        "cluster": cluster,
        "name": profile["name"].iloc[0],
        "size": int(profile["size"].iloc[0]),
        "groups": int(profile["groups"].iloc[0]),
        "stability": float(stability["inside"].iloc[0]) if len(stability) else float("nan"),
        "facts": enriched(profile).head(_FACTS_SHOWN).to_dict("records"),
        "performance": profile[profile["kind"] == "performance"].to_dict("records"),
        "attention": profile[profile["kind"] == "attention"].nlargest(5, "inside").to_dict("records"),
        "images": maps["image_id"].tolist(),
    }


def _suspect_cards(
    findings: Findings, labels: _Labels, objects: pd.DataFrame, kind: str, folder: Path
) -> list[dict[str, Any]]:
    """The highest suspects of a kind, one of near copies, each with a picture of its surroundings.

    objects: of `described`.
    """
    folder.mkdir(exist_ok=True)
    issues, options, exif = findings.label_issues, findings.params.report, findings.params.data.exif
    fates = objects.set_index("object_id")[["outcome", "became"]].to_dict("index")
    chosen = first_of_groups(issues[issues["kind"] == kind], findings.groups).head(options.suspects)
    paths = findings.index.set_index("image_id")["path"]
    masks = findings.predictions.set_index("image_id")["mask"]
    names = findings.taxonomy.class_names
    cards = []
    for number, row in enumerate(chosen.itertuples()):
        own, suggested = names.index(row.labelled), names.index(row.suggested)
        labelled = labels.classes(row.image_id) == (own or suggested)
        predicted = decode_png(masks[row.image_id]) == (suggested or own)
        name = f"{kind}-{number}.jpg"
        picture = crop(paths[row.image_id], row.bbox, labelled, predicted, 2 * options.thumbnail, exif)
        picture.save(folder / name, quality=85)
        cards.append(
            {
                "image_id": row.image_id,
                "split": row.split,
                "annotation_id": None if pd.isna(row.annotation_id) else int(row.annotation_id),
                "score": row.score,
                "labelled": row.labelled,
                "suggested": row.suggested,
                "evidence": row.evidence,
                "object_id": None if pd.isna(row.object_id) else int(row.object_id),
                **fates.get(row.object_id, {}),
                "crop": f"{folder.name}/{name}",
            }
        )
    return cards


def _insights(findings: Findings) -> list[dict[str, Any]]:
    """Each insight with the positions of its images among the points."""
    position = _positions(findings)
    return [
        row | {"points": [position[i] for i in row.pop("image_ids").tolist() if i in position]}
        for row in findings.insights.to_dict("records")
    ]


def _points(findings: Findings) -> pd.DataFrame:
    """One row an image: what the map can be coloured by, and what a sample's page lists, in the embeddings' order."""
    scores = findings.scores.assign(image_id=findings.predictions["image_id"].to_numpy())
    confidence = findings.predictions[["image_id", "pixel_accuracy", "confidence"]]
    samples = findings.samples.assign(heavy=[HEAVY[g] for g in findings.heavy]).drop(columns="split")
    points = findings.embeddings[["image_id", "split", "x", "y"]]
    for table in (findings.clusters[["image_id", "cluster"]], scores, confidence, samples):
        points = points.merge(table, on="image_id", how="left")
    return points


def _shown(points: pd.DataFrame, scores: Collection[str]) -> list[str]:
    """The columns to show: the scores, and what is not constant and does not repeat an earlier one."""
    shown, seen = [], set()
    for name in points.columns.difference(["x", "y", *_HIDDEN], sort=False):
        content = points[name].astype(str).str.cat(sep="\n")
        if name in scores or (points[name].nunique() > 1 and content not in seen):
            shown.append(name)
            seen.add(content)
    return shown


def _data(findings: Findings, points: pd.DataFrame, objects: pd.DataFrame, counts: pd.DataFrame) -> dict[str, Any]:
    """What the page's script draws. objects: of `listed`. counts: of `cells`."""
    columns = {}
    for name in _shown(points, findings.scores.columns):
        values = points[name]
        kind = "name" if not pd.api.types.is_numeric_dtype(values) or name == "cluster" else "number"
        kind = "truth" if pd.api.types.is_bool_dtype(values) else kind
        label = f"IoU of {name.removeprefix('iou.')}" if name.startswith("iou.") else describe(name)
        columns[name] = {"label": label, "kind": kind, "values": _rounded(values)}
    position = _positions(findings)
    neighbors = findings.neighbors.groupby("image_id")["neighbor_id"].agg(list)
    issues = findings.label_issues.nlargest(_ISSUES_LISTED, "score")
    issues = issues[issues["image_id"].isin(position)]
    objects = objects[objects["image_id"].isin(position)]
    names = _cluster_names(findings)
    return {
        "chunk": CHUNK,
        "source": findings.params.data.origin,
        "ids": points["image_id"].tolist(),
        "x": _rounded(points["x"]),
        "y": _rounded(points["y"]),
        "columns": columns,
        "clusterNames": {str(cluster): name for cluster, name in names.items()},
        "neighbors": [[position[j] for j in neighbors.get(i, [])] for i in points["image_id"].tolist()],
        "issues": [
            {"sample": position[row.image_id]} | {key: getattr(row, key) for key in ("kind", "score", "evidence")}
            for row in issues.itertuples()
        ],
        "objects": _table(objects[_OBJECT].assign(sample=objects["image_id"].map(position))),
        "objectCounts": _table(counts),
        "bins": {f"{row.column}|{row.metric}": _clean(row.bins) for row in findings.associations.itertuples()},
        "history": _table(findings.history),
        "confusion": findings.confusion.to_dict("list"),
        "pairs": findings.pairs.to_dict("list"),
        "iou": {split: _ious(findings, split) for split in ("train", "val")},
        "classes": list(findings.taxonomy.classes),
    }


def _ious(findings: Findings, split: str) -> dict[str, list[float | None]]:
    """Each class's IoU, and the ends of its interval if enough groups carry it."""
    rows = {name: findings.measures.find(f"iou.{name}", split) for name in findings.taxonomy.classes}
    known = {"value": 0, "low": TRUSTED, "high": TRUSTED}
    return {
        key: [None if row is None or row.carriers < known[key] else _known(getattr(row, key)) for row in rows.values()]
        for key in ("value", "low", "high")
    }


def _known(value: float) -> float | None:
    return None if pd.isna(value) else value


def _rounded(values: pd.Series) -> list[Any]:
    if pd.api.types.is_float_dtype(values):
        values = values.map(lambda v: float(f"{v:.4g}"))
    return values.astype(object).where(values.notna(), None).tolist()


def _table(table: pd.DataFrame) -> dict[str, list[Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("list")


def _clean(bins: Sequence[Mapping[str, float]]) -> list[dict[str, float | None]]:
    return [{key: None if pd.isna(value) else value for key, value in each.items()} for each in bins]
