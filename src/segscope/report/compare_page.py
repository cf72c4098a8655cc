"""The page that compares two sides: a folder that opens from disk, as the report does."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from segscope.artefacts.images import decode_png, open_image, to_rgb
from segscope.artefacts.overlays import class_overlay
from segscope.artefacts.revisions import read_file
from segscope.report.compare import Comparison, RunOf, Side, spread
from segscope.report.html import template, write_assets

SHOWN = 12
LONGEST = 240


def write_comparison(a: Side, b: Side, found: Comparison, folder: Path) -> None:
    """Write the page into `folder`. Raises SegscopeError if a photograph of the runs is nowhere to be had."""
    (folder / "images").mkdir(parents=True)
    same = set(a.first.index[["image_id", "sha256"]].merge(b.first.index)["image_id"])
    change = found.images["change"] * (-1 if found.score == "loss" else 1)
    page = template("compare_assets/compare.html.j2").render(
        a=a,
        b=b,
        found=found,
        spread=spread,
        improved=_cards(a, b, found.images[change > 0].head(SHOWN), folder),
        worse=_cards(a, b, found.images[change < 0].tail(SHOWN)[::-1], folder),
        data={name: _points(side.first, name, same) for name, side in (("a", a), ("b", b))},
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    write_assets(folder, "assets/style.css", "compare_assets/compare.js")


def _points(run: RunOf, side: str, same: Collection[int]) -> dict[str, list]:
    """The map's points; those of one key in both maps are the same image."""
    points = run.points[["image_id", "x", "y", "cluster"]].round({"x": 3, "y": 3})
    points = points.assign(key=[str(i) if i in same else f"{i} of {side}" for i in points["image_id"]])
    table = json.loads(points.rename(columns={"image_id": "ids"}).to_json(orient="split"))
    return dict(zip(table["columns"], map(list, zip(*table["data"], strict=True)), strict=True))


def _cards(a: Side, b: Side, rows: pd.DataFrame, folder: Path) -> Sequence[dict[str, Any]]:
    files = a.first.index.set_index("image_id")
    cards = []
    for row in rows.itertuples():
        picture = _photograph(a.first.name, *files.loc[row.image_id, ["path", "sha256", "exif"]])
        card = {"image_id": row.image_id, "score_a": row.a, "score_b": row.b}
        masks = [side.first.predictions.at[row.image_id, "mask"] for side in (a, b)]
        overlays = [class_overlay(picture, decode_png(mask)) for mask in masks]
        for key, image in zip(("photo", "a", "b"), (picture, *overlays), strict=True):
            card[key] = f"images/{row.image_id}-{key}.jpg"
            image.save(folder / card[key], quality=85)
        cards.append(card)
    return cards


def _photograph(revision: str, path: str, sha256: str, exif: str) -> Image.Image:
    """From where it lies, if these are its bytes, or else from the revision that made it."""
    file = Path(path)
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        content = read_file(path, revision)
    picture = to_rgb(open_image(io.BytesIO(content), exif=exif))
    picture.thumbnail((LONGEST, LONGEST))
    return picture
