"""The page that compares two sides: a folder that opens from disk, as the report does."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from segscope.artefacts.files import sha256_of
from segscope.artefacts.images import decode_png, encode_png, open_image, to_rgb
from segscope.artefacts.overlays import class_color
from segscope.artefacts.revisions import read_file
from segscope.evaluation.per_image import pixel_counts
from segscope.labels.masks import compose_mask
from segscope.report.columns import packed, packed_texts
from segscope.report.compare import Comparison, RunOf, Side
from segscope.report.html import template, write_assets, write_script
from segscope.report.pictures import ERRORS, data_url
from segscope.run import Run

SHOWN = 24
LONGEST = 320
_QUALITY = 82


def write_comparison(a: Side, b: Side, found: Comparison, folder: Path) -> None:
    """Write the page into `folder`. Raises SegscopeError if a photograph of the runs is nowhere to be had."""
    (folder / "images").mkdir(parents=True)
    same = set(a.first.index[["image_id", "sha256"]].merge(b.first.index)["image_id"])
    change = found.images["change"] * (-1 if found.score == "loss" else 1)
    content = {
        "sides": {name: _side(side, n, same) for name, side, n in zip("ab", (a, b), found.trainings, strict=True)},
        "notes": found.notes,
        "score": found.score,
        "sameQuestion": found.same_question,
        "yardsticks": list(found.yardsticks),
        "by": {name: list(of) for name, of in found.by.items()},
        "metrics": found.metrics.to_dict("records"),
        "apart": found.apart.to_dict("records"),
        "common": len(found.images),
        "errors": ERRORS,
    }
    parts = {"improved": found.images[change > 0].head(SHOWN), "worse": found.images[change < 0].tail(SHOWN)[::-1]}
    layers: dict[int, dict[str, Any]] = {}
    for name, rows in parts.items():
        content[name] = _cards(a, b, rows, folder)
        layers |= {card["image_id"]: card.pop("layers") for card in content[name]}
    write_script(folder, "data/compare", content)
    write_script(folder, "data/layers", layers)
    page = template("compare_assets/compare.html.j2").render(a=a.name, b=b.name)
    (folder / "index.html").write_text(page, encoding="utf-8")
    write_assets(folder, "compare_assets/compare.js")


def _side(side: Side, trainings: int, same: Collection[int]) -> dict[str, Any]:
    """What is said of a side of so many trainings, and the points of its map.

    same: ids of images that are the same in both.
    """
    run = side.first
    points, files = run.points, run.index.set_index("image_id")["path"].to_dict()
    return {
        "name": side.name,
        "shown": run.name,
        "runs": len(side.runs),
        "trainings": trainings,
        "variant": run.variant,
        "classes": [{"name": name, "color": class_color(k)} for k, name in enumerate(run.taxonomy.classes, start=1)],
        "images": len(run.images),
        "clusters": int((np.unique(points["cluster"]) >= 0).sum()),
        "ids": packed(points["image_id"].to_numpy(np.float64)),
        "same": packed(points["image_id"].isin(same).to_numpy()),
        **{axis: packed(points[axis].to_numpy(np.float32)) for axis in ("x", "y")},
        "cluster": packed(points["cluster"].to_numpy()),
        "files": packed_texts([Path(files[i]).name for i in points["image_id"].tolist()]),
    }


def _cards(a: Side, b: Side, rows: pd.DataFrame, folder: Path) -> list[dict[str, Any]]:
    """What is said of images, with a photograph of each in `folder`, and what is laid over it as the page paints it."""
    files = a.first.index.set_index("image_id")
    shown = _categories(a.first, rows["image_id"])
    cards = []
    for row, categories in zip(rows.itertuples(), shown, strict=True):
        file = files.loc[row.image_id]
        picture = _photograph(a.first.name, file["path"], file["sha256"], file["exif"])
        picture.save(folder / f"images/{row.image_id}.webp", quality=_QUALITY)
        cards.append(
            {
                "image_id": row.image_id,
                "source_id": file["source_id"],
                "file": Path(file["path"]).name,
                "a": row.a,
                "b": row.b,
                "change": row.change,
                "categories": categories,
                "size": picture.size,
                "layers": {name: _layers(side.first, row.image_id) for name, side in (("a", a), ("b", b))},
            }
        )
    return cards


def _layers(run: RunOf, image_id: int) -> dict[str, str]:
    """Labels and prediction of an image as grey PNGs of the run's classes."""
    mask = run.predictions.at[image_id, "mask"]
    size = decode_png(mask).shape[0]
    own = run.instances[run.instances["image_id"] == image_id]
    labels = np.zeros((size, size), np.uint8)
    if len(own):
        height, width = own.iloc[0][["height", "width"]]
        labels = run.taxonomy.class_of_id[compose_mask(own, height, width, run.crowd, size)]
    return {"labels": data_url(encode_png(labels)), "predicted": data_url(mask)}


def _categories(run: RunOf, image_ids: pd.Series) -> list[list[str]]:
    """The categories that each image shows."""
    if image_ids.empty:
        return []
    counts = pixel_counts(run.predictions.loc[image_ids], run.taxonomy).sum(1)
    names = np.array(run.taxonomy.category_names[1:], dtype=object)
    return [names[row].tolist() for row in counts[:, 1:] > 0]


def _photograph(revision: str, path: str, sha256: str, exif: str) -> Image.Image:
    """From where it lies, if these are its bytes, or else from the revision that made it."""
    Run().require_own([path])
    file = Path(path)
    here = file.is_file() and sha256_of(file) == sha256
    picture = to_rgb(open_image(file if here else io.BytesIO(read_file(path, revision)), exif=exif))
    picture.thumbnail((LONGEST, LONGEST))
    return picture
