"""The report: a folder with index.html that opens from disk, with no server and no network."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs

from segscope.images import decode_png
from segscope.insights import Insights
from segscope.labels import KINDS
from segscope.masks import compose_mask
from segscope.metadata import describe
from segscope.overlays import class_color
from segscope.params import Report
from segscope.report_samples import CHUNK, ERRORS, Job, crop, write_views

_ASSETS = resources.files("segscope") / "report_assets"
_FACTS_SHOWN = 6
_ISSUES_LISTED = 2000  # of a run, the highest scores: those that a sample's page names
_HIDDEN = ("image_id", "width", "height", "is_colored")
HEAVY = {1: "person-heavy", 0: "vehicle-heavy", -1: "neither"}


@dataclass(frozen=True)
class Findings:
    """Everything the report shows. Tables as their artefacts' schemas say; metrics: one mapping a stage.

    scores: `evaluation.image_scores` of the predictions' images, in their order. heavy: `separation.heavy_groups` of
    the samples. confused: `confusions.findings` of the val split. pairs: `confusions.category_table` of it. produced:
    how the run was made, in a line.
    """

    variant: str
    classes: Mapping[str, Sequence[str]]
    class_of: np.ndarray
    source: str
    produced: str
    samples: pd.DataFrame
    heavy: np.ndarray
    index: pd.DataFrame
    instances: pd.DataFrame
    predictions: pd.DataFrame
    scores: pd.DataFrame
    label_issues: pd.DataFrame
    embeddings: pd.DataFrame
    neighbors: pd.DataFrame
    clusters: pd.DataFrame
    profiles: pd.DataFrame
    heatmaps: pd.DataFrame
    supports: pd.DataFrame
    insights: Insights
    history: pd.DataFrame
    confusion: pd.DataFrame
    confused: Mapping[str, Any]
    pairs: pd.DataFrame
    metrics: Mapping[str, Any]


def write_report(findings: Findings, folder: Path, options: Report, crowd: str, image_size: int) -> dict[str, int]:
    """Write the report into `folder`. Returns how much it shows.

    crowd: as `masks.compose_mask`. image_size: of the model, in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = _Labels(findings, crowd)
    write_views(_jobs(findings, labels, image_size), len(findings.embeddings), folder / "views", options.thumbnail)
    suspects = {kind: _suspect_cards(findings, labels, kind, options, folder / "crops") for kind in KINDS}
    points = _points(findings)
    cards = [_cluster_card(findings, c, options.gallery) for c in sorted(set(findings.clusters["cluster"]) - {-1})]
    page = template("index.html.j2").render(
        title=options.title,
        findings=findings,
        colors={name: class_color(k) for k, name in enumerate(findings.classes, start=1)},
        errors=ERRORS,
        metrics=findings.metrics,
        cards=cards,
        suspects=suspects,
        insights=_insights(findings),
        data=json.loads(json.dumps(_data(findings, points), default=_plain)),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    write_assets(folder, ("style.css", "report.js"))
    return {
        "samples": len(points),
        "clusters": len(cards),
        "suspects": sum(map(len, suspects.values())),
    }


def template(name: str) -> jinja2.Template:
    """A page's template; everything from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (_ASSETS / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def write_assets(folder: Path, names: Sequence[str]) -> None:
    """Put styles and scripts beside a page, and Plotly."""
    for name in names:
        (folder / name).write_text((_ASSETS / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.item()


class _Labels:
    """The labels of images as class masks, at any size."""

    def __init__(self, findings: Findings, crowd: str):
        self._crowd, self._class_of = crowd, findings.class_of
        self._size = findings.index.set_index("image_id")[["height", "width"]]
        self._instances = dict(list(findings.instances.groupby("image_id")))
        self._none = findings.instances[:0]

    def classes(self, image_id: int, size: int | None = None) -> np.ndarray:
        """uint8 of the image's own height and width, or size × size."""
        height, width = self._size.loc[image_id]
        table = self._instances.get(image_id, self._none)
        return self._class_of[compose_mask(table, height, width, self._crowd, size)]


def _jobs(findings: Findings, labels: _Labels, size: int) -> Iterator[Job]:
    """The views' jobs, in the order of the embeddings."""
    names = _cluster_names(findings)
    attention: dict[int, dict[str, np.ndarray]] = {}
    for row in findings.heatmaps.itertuples():
        caption = f"cluster {row.cluster}: {names[row.cluster]}"
        attention.setdefault(row.image_id, {})[caption] = _square(row.attention)
    supports = findings.supports
    for image_id, name, support in zip(supports["image_id"], supports["class"], supports["support"], strict=True):
        attention.setdefault(image_id, {})[f"support of wrong {name}"] = _square(support)
    paths = findings.index.set_index("image_id")["path"]
    predicted = findings.predictions.set_index("image_id")
    for i in findings.embeddings["image_id"].tolist():
        row = predicted.loc[i]
        yield Job(i, paths[i], labels.classes(i, size), row["mask"], row["loss_map"], attention.get(i, {}))


def _square(values: np.ndarray) -> np.ndarray:
    side = int(np.sqrt(len(values)))
    return np.asarray(values).reshape(side, side)


def _cluster_names(findings: Findings) -> pd.Series:
    """The clusters' names by their numbers."""
    return findings.profiles.drop_duplicates("cluster").set_index("cluster")["name"]


def _positions(findings: Findings) -> dict[int, int]:
    """Each image's position among the points, by image_id."""
    return {i: n for n, i in enumerate(findings.embeddings["image_id"].tolist())}


def _cluster_card(findings: Findings, cluster: int, gallery: int) -> dict[str, Any]:
    profile = findings.profiles[findings.profiles["cluster"] == cluster]
    maps = findings.heatmaps[findings.heatmaps["cluster"] == cluster].head(gallery)
    facts = profile[(profile["kind"] == "fact") & (profile["p_value"] < 0.05) & (profile["lift"] > 1)]
    return {
        "cluster": cluster,
        "name": profile["name"].iloc[0],
        "size": int(profile["size"].iloc[0]),
        "facts": facts.sort_values("p_value").head(_FACTS_SHOWN).to_dict("records"),
        "performance": profile[profile["kind"] == "performance"].to_dict("records"),
        "attention": profile[profile["kind"] == "attention"].nlargest(5, "inside").to_dict("records"),
        "images": maps["image_id"].tolist(),
    }


def _suspect_cards(
    findings: Findings, labels: _Labels, kind: str, options: Report, folder: Path
) -> list[dict[str, Any]]:
    """The highest suspects of a kind, each with a picture of its surroundings."""
    folder.mkdir(exist_ok=True)
    issues = findings.label_issues
    chosen = issues[issues["kind"] == kind].nlargest(options.suspects, "score")
    paths = findings.index.set_index("image_id")["path"]
    masks = findings.predictions.set_index("image_id")["mask"]
    names = ["background", *findings.classes]
    cards = []
    for number, row in enumerate(chosen.itertuples()):
        own, suggested = names.index(row.labelled), names.index(row.suggested)
        labelled = labels.classes(row.image_id) == (own or suggested)
        predicted = decode_png(masks[row.image_id]) == (suggested or own)
        name = f"{kind}-{number}.jpg"
        crop(paths[row.image_id], row.bbox, labelled, predicted, 2 * options.thumbnail).save(folder / name, quality=85)
        cards.append(
            {
                "image_id": row.image_id,
                "split": row.split,
                "annotation_id": None if pd.isna(row.annotation_id) else int(row.annotation_id),
                "score": row.score,
                "labelled": row.labelled,
                "suggested": row.suggested,
                "evidence": row.evidence,
                "crop": f"{folder.name}/{name}",
            }
        )
    return cards


def _insights(findings: Findings) -> list[dict[str, Any]]:
    """Each insight with the positions of its images among the points."""
    position = _positions(findings)
    return [
        row | {"points": [position[i] for i in ids.tolist() if i in position]}
        for row, ids in zip(findings.insights.insights.to_dict("records"), findings.insights.image_ids, strict=True)
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


def _data(findings: Findings, points: pd.DataFrame) -> dict[str, Any]:
    """What the page's script draws."""
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
    names = _cluster_names(findings)
    associations = findings.insights.associations
    return {
        "chunk": CHUNK,
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
        "bins": {f"{row.column}|{row.metric}": _clean(row.bins) for row in associations.itertuples()},
        "history": _table(findings.history),
        "confusion": findings.confusion.to_dict("list"),
        "pairs": findings.pairs.to_dict("list"),
        "iou": {split: findings.metrics["predict"][split]["iou"] for split in ("train", "val")},
        "classes": list(findings.classes),
    }


def _rounded(values: pd.Series) -> list[Any]:
    if pd.api.types.is_float_dtype(values):
        values = values.map(lambda v: float(f"{v:.4g}"))
    return values.astype(object).where(values.notna(), None).tolist()


def _table(table: pd.DataFrame) -> dict[str, list[Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("list")


def _clean(bins: Sequence[Mapping[str, float]]) -> list[dict[str, float | None]]:
    return [{key: None if pd.isna(value) else value for key, value in each.items()} for each in bins]
