"""The page that compares two runs: a folder that opens from disk, as the report does."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from segscope.artefacts.images import decode_png, to_rgb
from segscope.artefacts.overlays import class_overlay
from segscope.artefacts.revisions import read_file
from segscope.report.compare import Comparison, RunOf
from segscope.report.html import template, write_assets

SHOWN = 12
LONGEST = 240


def write_comparison(a: RunOf, b: RunOf, found: Comparison, folder: Path) -> None:
    """Write the page into `folder`. Raises SegscopeError if a photograph of the runs is nowhere to be had."""
    (folder / "images").mkdir(parents=True)
    better, worse = found.images[found.images["change"] < 0], found.images[found.images["change"] > 0]
    page = template("compare_assets/compare.html.j2").render(
        a=a,
        b=b,
        found=found,
        improved=_cards(a, b, better.head(SHOWN), folder),
        worse=_cards(a, b, worse.tail(SHOWN)[::-1], folder),
        data={"a": _points(a), "b": _points(b)},
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    write_assets(folder, "assets/style.css", "compare_assets/compare.js")


def _points(run: RunOf) -> dict[str, list]:
    points = run.points[["image_id", "x", "y", "cluster"]].round({"x": 3, "y": 3})
    table = json.loads(points.rename(columns={"image_id": "ids"}).to_json(orient="split"))
    return dict(zip(table["columns"], map(list, zip(*table["data"], strict=True)), strict=True))


def _cards(a: RunOf, b: RunOf, rows: pd.DataFrame, folder: Path) -> Sequence[dict[str, Any]]:
    masks = [run.predictions.set_index("image_id")["mask"] for run in (a, b)]
    cards = []
    for row in rows.itertuples():
        picture = _photograph(a, row.image_id)
        card = {"image_id": row.image_id, "loss_a": row.loss_a, "loss_b": row.loss_b}
        overlays = [class_overlay(picture, decode_png(mask[row.image_id])) for mask in masks]
        for key, image in zip(("photo", "a", "b"), (picture, *overlays), strict=True):
            card[key] = f"images/{row.image_id}-{key}.jpg"
            image.save(folder / card[key], quality=85)
        cards.append(card)
    return cards


def _photograph(run: RunOf, image_id: int) -> Image.Image:
    """From where it lies, or else from the revision that made it."""
    path = Path(run.paths[image_id])
    content = path.read_bytes() if path.is_file() else read_file(str(path), run.name)
    picture = to_rgb(Image.open(io.BytesIO(content)))
    picture.thumbnail((LONGEST, LONGEST))
    return picture
