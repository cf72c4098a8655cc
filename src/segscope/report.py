"""The report: a folder with index.html that opens from disk, with no server and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image
from plotly.offline import get_plotlyjs
from tqdm import tqdm

from segscope.images import decode_png
from segscope.insights import Insights
from segscope.labels import KINDS
from segscope.masks import compose_mask
from segscope.overlays import class_color, class_overlay, heat_overlay, thumbnail

_ASSETS = resources.files("segscope") / "report_assets"
_SUSPECTS_SHOWN = 6
_FACTS_SHOWN = 6


@dataclass(frozen=True)
class Findings:
    """Everything the report shows. Tables as their artefacts' schemas say; metrics: one mapping a stage.

    confused: `confusions.findings` of the val split.
    """

    title: str
    variant: str
    classes: Mapping[str, Sequence[str]]
    class_of: np.ndarray
    source: str
    samples: pd.DataFrame
    index: pd.DataFrame
    instances: pd.DataFrame
    predictions: pd.DataFrame
    label_issues: pd.DataFrame
    embeddings: pd.DataFrame
    clusters: pd.DataFrame
    profiles: pd.DataFrame
    heatmaps: pd.DataFrame
    supports: pd.DataFrame
    insights: Insights
    history: pd.DataFrame
    confusion: pd.DataFrame
    confused: Mapping[str, Any]
    metrics: Mapping[str, Any]


class _Pictures:
    """Makes pictures on demand, each once, and says where in the report they are."""

    def __init__(self, findings: Findings, folder: Path, longest: int, crowd: str):
        self._folder = folder
        self._crowd = crowd
        self._index = findings.index.set_index("image_id")
        self._instances = dict(list(findings.instances.groupby("image_id")))
        self._none = findings.instances[:0]
        self._predicted = findings.predictions.set_index("image_id")["mask"]
        self._class_of = findings.class_of
        self._classes = findings.classes
        # The views of one image are made one after the other: its file is decoded once for all of them.
        self._thumbnail = lru_cache(maxsize=8)(lambda image_id: thumbnail(self._index.loc[image_id, "path"], longest))
        folder.mkdir(parents=True)

    def photograph(self, image_id: int) -> str:
        return self._make(f"{image_id}.jpg", image_id, lambda picture: picture)

    def labelled(self, image_id: int) -> str:
        def draw(picture: Image.Image) -> Image.Image:
            row = self._index.loc[image_id]
            table = self._instances.get(image_id, self._none)
            mask = compose_mask(table, row["height"], row["width"], self._crowd)
            return class_overlay(picture, self._class_of[mask])

        return self._make(f"{image_id}-labelled.jpg", image_id, draw)

    def predicted(self, image_id: int) -> str:
        classes = decode_png(self._predicted[image_id])
        return self._make(f"{image_id}-predicted.jpg", image_id, lambda picture: class_overlay(picture, classes))

    def attention(self, image_id: int, cluster: int, attention: np.ndarray) -> str:
        side = int(np.sqrt(len(attention)))
        heat = attention.reshape(side, side)
        return self._make(f"{image_id}-attention-{cluster}.jpg", image_id, lambda p: heat_overlay(p, heat))

    def supported(self, image_id: int, name: str, support: np.ndarray) -> str:
        side = int(np.sqrt(len(support)))
        k = 1 + list(self._classes).index(name)
        heat = support.reshape(side, side)
        return self._make(f"{image_id}-support-{k}.jpg", image_id, lambda p: heat_overlay(p, heat))

    def wrong(self, image_id: int, name: str, region: bytes) -> str:
        k = 1 + list(self._classes).index(name)
        classes = decode_png(region) * k
        return self._make(f"{image_id}-wrong-{k}.jpg", image_id, lambda p: class_overlay(p, classes))

    def _make(self, name: str, image_id: int, draw: Any) -> str:
        target = self._folder / name
        if not target.exists():
            draw(self._thumbnail(image_id)).save(target, quality=85)
        return f"{self._folder.name}/{name}"


def write_report(
    findings: Findings, folder: Path, gallery: int, worst: int, longest: int, crowd: str
) -> dict[str, int]:
    """Write the report into `folder`. Returns how much it shows, and its size in bytes.

    gallery: images of each cluster. worst: images of highest val loss. longest: a picture's longer side, pixels.
    """
    pictures = _Pictures(findings, folder / "images", longest, crowd)
    cards = [
        _cluster_card(findings, pictures, cluster, gallery)
        for cluster in tqdm(sorted(set(findings.clusters["cluster"]) - {-1}), desc="clusters", disable=None)
    ]
    hardest = [_sample_card(findings, pictures, row) for row in _worst(findings, worst).to_dict("records")]
    supports = {name: _support_cards(findings, pictures, name) for name in findings.classes}
    suspects = {kind: _suspect_cards(findings, pictures, kind) for kind in KINDS}
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (_ASSETS / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("index.html.j2").render(
        findings=findings,
        colors={name: class_color(k) for k, name in enumerate(findings.classes, start=1)},
        metrics=findings.metrics,
        cards=cards,
        hardest=hardest,
        supports=supports,
        suspects=suspects,
        insights=findings.insights.insights.to_dict("records"),
        data=json.loads(json.dumps(_chart_data(findings), default=_plain)),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    for name in ("style.css", "report.js"):
        (folder / name).write_text((_ASSETS / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "samples": len(findings.samples),
        "clusters": len(cards),
        "worst_samples": len(hardest),
        "suspects": sum(map(len, suspects.values())),
        "pictures": sum(path.suffix == ".jpg" for path in files),
        "bytes": sum(path.stat().st_size for path in files),
    }


def _plain(value: Any) -> Any:
    return value.item()


def _worst(findings: Findings, n: int) -> pd.DataFrame:
    val = findings.predictions[findings.predictions["split"] == "val"]
    return val.nlargest(n, "loss")


def _sample_card(findings: Findings, pictures: _Pictures, row: dict[str, Any]) -> dict[str, Any]:
    image_id = row["image_id"]
    return {
        "image_id": image_id,
        "loss": row["loss"],
        "iou": {name: row[f"iou.{name}"] for name in findings.classes if pd.notna(row[f"iou.{name}"])},
        "photograph": pictures.photograph(image_id),
        "labelled": pictures.labelled(image_id),
        "predicted": pictures.predicted(image_id),
    }


def _cluster_card(findings: Findings, pictures: _Pictures, cluster: int, gallery: int) -> dict[str, Any]:
    profile = findings.profiles[findings.profiles["cluster"] == cluster]
    maps = findings.heatmaps[findings.heatmaps["cluster"] == cluster].head(gallery)
    facts = profile[(profile["kind"] == "fact") & (profile["p_value"] < 0.05) & (profile["lift"] > 1)]
    under = profile[profile["kind"] == "attention"].nlargest(5, "inside")
    return {
        "cluster": cluster,
        "name": profile["name"].iloc[0],
        "size": int(profile["size"].iloc[0]),
        "facts": facts.sort_values("p_value").head(_FACTS_SHOWN).to_dict("records"),
        "performance": profile[profile["kind"] == "performance"].to_dict("records"),
        "attention": under.to_dict("records"),
        "images": [
            {
                "image_id": row.image_id,
                "photograph": pictures.photograph(row.image_id),
                "attention": pictures.attention(row.image_id, cluster, np.asarray(row.attention)),
            }
            for row in maps.itertuples()
        ],
    }


def _support_cards(findings: Findings, pictures: _Pictures, name: str) -> list[dict[str, Any]]:
    supports = findings.supports
    return [
        {
            "image_id": row.image_id,
            "pixels": row.pixels,
            "on": dict(row.on),
            "photograph": pictures.photograph(row.image_id),
            "wrong": pictures.wrong(row.image_id, name, row.region),
            "support": pictures.supported(row.image_id, name, np.asarray(row.support)),
        }
        for row in supports[supports["class"] == name].itertuples()
    ]


def _suspect_cards(findings: Findings, pictures: _Pictures, kind: str) -> list[dict[str, Any]]:
    issues = findings.label_issues
    chosen = issues[(issues["kind"] == kind) & (issues["split"] == "val")].nlargest(_SUSPECTS_SHOWN, "score")
    size = findings.index.set_index("image_id")[["width", "height"]]
    cards = []
    for row in chosen.itertuples():
        width, height = size.loc[row.image_id]
        left, top, wide, tall = row.bbox
        cards.append(
            {
                "image_id": row.image_id,
                "annotation_id": None if pd.isna(row.annotation_id) else int(row.annotation_id),
                "score": row.score,
                "labelled": row.labelled,
                "evidence": row.evidence,
                "photograph": pictures.photograph(row.image_id),
                "overlay": pictures.labelled(row.image_id),
                "box": [100 * left / width, 100 * top / height, 100 * wide / width, 100 * tall / height],
            }
        )
    return cards


def _chart_data(findings: Findings) -> dict[str, Any]:
    names = findings.profiles.drop_duplicates("cluster").set_index("cluster")["name"].to_dict()
    columns = ["image_id", "loss", *(f"iou.{name}" for name in findings.classes)]
    points = findings.embeddings[["image_id", "split", "x", "y"]].merge(findings.predictions[columns], on="image_id")
    points = points.merge(findings.clusters[["image_id", "cluster"]], on="image_id")
    photography = ["image_id", "brightness", "share.background", "n_instances", "is_gray", "dominant"]
    points = points.merge(findings.samples[photography], on="image_id")
    rounded = points.round(4).astype(object).where(points.notna(), None)
    return {
        "points": {column: rounded[column].tolist() for column in rounded},
        "clusterNames": {str(cluster): name for cluster, name in names.items()},
        "history": findings.history.astype(object).where(findings.history.notna(), None).to_dict("list"),
        "confusion": findings.confusion.to_dict("list"),
        "iou": {split: findings.metrics["predict"][split]["iou"] for split in ("train", "val")},
        "classes": list(findings.classes),
    }
