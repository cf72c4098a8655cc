"""The page that compares two sides: a folder that opens from disk, as the report does."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from segscope.artefacts.files import sha256_of
from segscope.artefacts.images import decode_png, open_image, to_rgb
from segscope.artefacts.overlays import class_color, class_overlay
from segscope.artefacts.revisions import read_file
from segscope.evaluation.per_image import pixel_counts
from segscope.report.columns import packed
from segscope.report.compare import Comparison, RunOf, Side
from segscope.report.html import template, write_assets, write_script
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
        "sides": {name: _side(side, same) for name, side in (("a", a), ("b", b))},
        "notes": found.notes,
        "score": found.score,
        "sameQuestion": found.same_question,
        "yardsticks": list(found.yardsticks),
        "by": {name: list(of) for name, of in found.by.items()},
        "metrics": found.metrics.to_dict("records"),
        "apart": found.apart.to_dict("records"),
        "common": len(found.images),
        "improved": _cards(a, b, found.images[change > 0].head(SHOWN), folder),
        "worse": _cards(a, b, found.images[change < 0].tail(SHOWN)[::-1], folder),
    }
    write_script(folder, "data/compare", content)
    page = template("compare_assets/compare.html.j2").render(a=a.name, b=b.name)
    (folder / "index.html").write_text(page, encoding="utf-8")
    write_assets(folder, "compare_assets/compare.js")


def _side(side: Side, same: Collection[int]) -> dict[str, Any]:
    """What is said of a side, and the points of its map; those of one id that are `same` are the same image in both."""
    run = side.first
    points = run.points
    return {
        "name": side.name,
        "shown": run.name,
        "runs": len(side.runs),
        "trainings": len(side.trainings),
        "variant": run.variant,
        "classes": [{"name": name, "color": class_color(k)} for k, name in enumerate(run.taxonomy.classes, start=1)],
        "images": len(run.images),
        "clusters": int((np.unique(points["cluster"]) >= 0).sum()),
        "ids": packed(points["image_id"].to_numpy(np.float64)),
        "same": packed(points["image_id"].isin(same).to_numpy()),
        **{axis: packed(points[axis].to_numpy(np.float32)) for axis in ("x", "y")},
        "cluster": packed(points["cluster"].to_numpy()),
    }


def _cards(a: Side, b: Side, rows: pd.DataFrame, folder: Path) -> Sequence[dict[str, Any]]:
    files = a.first.index.set_index("image_id")
    shown = _categories(a.first, rows["image_id"])
    cards = []
    for row, categories in zip(rows.itertuples(), shown, strict=True):
        picture = _photograph(a.first.name, *files.loc[row.image_id, ["path", "sha256", "exif"]])
        card = {"image_id": row.image_id, "a": row.a, "b": row.b, "change": row.change, "categories": categories}
        masks = [side.first.predictions.at[row.image_id, "mask"] for side in (a, b)]
        overlays = [class_overlay(picture, decode_png(mask)) for mask in masks]
        for key, image in zip(("photo", "a", "b"), (picture, *overlays), strict=True):
            image.save(folder / f"images/{row.image_id}-{key}.webp", quality=_QUALITY)
        cards.append(card)
    return cards


def _categories(run: RunOf, image_ids: pd.Series) -> list[list[str]]:
    """The categories that each image shows."""
    if image_ids.empty:
        return []
    counts = pixel_counts(run.predictions.loc[image_ids], run.taxonomy).sum(1)
    names = np.array(run.taxonomy.category_names[1:], dtype=object)
    return [names[row].tolist() for row in counts[:, 1:] > 0]


def _photograph(revision: str, path: str, sha256: str, exif: str) -> Image.Image:
    """From where it lies, if these are its bytes, or else from the revision that made it."""
    Run().require_own(path)
    file = Path(path)
    here = file.is_file() and sha256_of(file) == sha256
    picture = to_rgb(open_image(file if here else io.BytesIO(read_file(path, revision)), exif=exif))
    picture.thumbnail((LONGEST, LONGEST))
    return picture
