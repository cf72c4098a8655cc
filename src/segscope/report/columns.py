"""What is known of each image, as the page's script loads it: a small packed array a column."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segscope.labels.metadata import describe
from segscope.report.html import write_script
from segscope.report.pictures import SHEET

EXACT = 2**24  # whole numbers that float32 holds
CORE = ("split", "cluster", "loss")  # and each IoU: loaded with the page, the others when they are asked for
_HIDDEN = ("image_id", "x", "y", "slot", "group", "width", "height", "is_colored")
_GROUPS = {"count": "Contents", "crowd": "Contents", "share": "Share of pixels", "size": "Size of objects"}
_CONTENTS = ("n_instances", "n_crowds", "n_categories", "dominant", "heavy")
_SIZES = ("average_size", "smallest_size")


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array as the page's script reads it: the type of its numbers, and they deflated, in base64.

    Whole numbers take as few bytes as hold them; others are float32, unless they are of float64 and large.
    """
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype.kind in "iu":
        span = (int(values.min(initial=0)), int(values.max(initial=0)))
        kinds = [
            t for t in (np.uint8, np.uint16, np.int32) if np.iinfo(t).min <= span[0] and span[1] <= np.iinfo(t).max
        ]
        values = values.astype(kinds[0] if kinds else np.float64)
    elif values.dtype != np.float64:
        values = values.astype(np.float32)
    little = values.astype(values.dtype.newbyteorder("<"))
    return {"type": little.dtype.str[1:], "data": base64.b64encode(zlib.compress(little.tobytes(), 6)).decode()}


def write_columns(
    points: pd.DataFrame, scores: Collection[str], samples: Collection[str], folder: Path
) -> list[dict[str, Any]]:
    """Write `data/base.js` and `data/columns/N.js`. Returns what the page has to know of each column that it shows.

    points: one row an image: image_id, x, y, slot (among the thumbnails), group, width, height and what is shown.
    scores: the columns that tell how well the model does. samples: those of samples.parquet.
    """
    groups = np.unique(points["group"], return_inverse=True)[1]
    base = {name: packed(points[name].to_numpy()) for name in ("x", "y", "slot", "width", "height")}
    base |= {"image_id": packed(points["image_id"].to_numpy(np.float64)), "group": packed(groups)}
    columns = []
    for number, name in enumerate(_shown(points, scores)):
        kind, values, levels = _values(name, points[name])
        own, dated = name in CORE or name in scores, pd.api.types.is_datetime64_any_dtype(points[name])
        content = packed(values) | ({"levels": levels} if levels else {})
        if own:
            base[name] = content
        else:
            write_script(folder, f"data/columns/{number}", content)
        columns.append(
            {
                "name": name,
                "label": label_of(name) + " (year)" * dated,
                "kind": kind,
                "group": _group(name, scores),
                "sample": name in samples and not dated,
                "file": None if own else f"data/columns/{number}",
            }
        )
    write_script(folder, "data/base", base)
    return columns


def write_rows(points: pd.DataFrame, names: Collection[str], folder: Path) -> None:
    """Write `data/rows/NNNNN.js` for every SHEET images by their slots: what is known of each, whatever their number.

    names: the columns. numbers: SHEET × columns, row by row, a name or an unknown value being NaN; percent: the share
    of the known values that are less, in hundredths; words: of the columns of names, one text an image.
    """
    kinds = {name: _values(name, points[name]) for name in names}
    words = {name: np.array(levels, object)[codes] for name, (_, codes, levels) in kinds.items() if levels}
    unknown = np.full(len(points), np.nan, np.float32)
    numbers = [unknown if name in words else kinds[name][1] for name in names]
    table = _floats(np.stack(numbers, axis=1)) if numbers else np.empty((len(points), 0), np.float32)
    percent = np.stack([_percent(column) for column in table.T], axis=1) if numbers else table.astype(np.uint8)
    order = np.argsort(points["slot"].to_numpy())
    for number, start in enumerate(range(0, len(points), SHEET)):
        own = order[start : start + SHEET]
        content = {
            "numbers": packed(table[own].ravel()),
            "percent": packed(percent[own].ravel()),
            "words": {name: texts[own].tolist() for name, texts in words.items()},
        }
        write_script(folder, f"data/rows/{number:05d}", content)


def _percent(values: np.ndarray) -> np.ndarray:
    """uint8: of each value the share of the known ones that are less."""
    known = np.sort(values[~np.isnan(values)])
    return np.floor(100 * np.searchsorted(known, values) / max(len(known), 1)).clip(0, 100).astype(np.uint8)


def write_names(index: pd.DataFrame, image_ids: pd.Series, root: str, folder: Path) -> None:
    """Write `data/names.js`: of each image its path below `root` and the source's own id, null where it is the same.

    index: rows of data/index.parquet. root: the source's folder, no part of a name.
    """
    own = index.set_index("image_id").loc[image_ids]
    paths = [path.removeprefix(root.rstrip("/") + "/") for path in own["path"]]
    ids = own["source_id"].tolist()
    same = ids == [str(i) for i in own.index]
    write_script(folder, "data/names", {"paths": packed_texts(paths), "ids": None if same else packed_texts(ids)})


def packed_texts(texts: list[str]) -> str:
    """Texts as the page's script reads them: JSON, deflated, in base64."""
    return base64.b64encode(zlib.compress(json.dumps(texts).encode(), 6)).decode()


def label_of(name: str) -> str:
    """A column in words."""
    prefix, _, rest = name.partition(".")
    return {"iou": f"IoU of {rest}", "confidence": f"confidence of {rest}"}.get(prefix if rest else "", describe(name))


def _group(name: str, scores: Collection[str]) -> str:
    prefix, _, rest = name.partition(".")
    if name in scores or name in ("pixel_accuracy", "confidence") or prefix == "confidence":
        return "Scores"
    if name in ("split", "cluster"):
        return "Place"
    if prefix == "user" and rest:
        return "Your own"
    if name in _CONTENTS:
        return "Contents"
    return _GROUPS.get(prefix, "Size of objects" if name in _SIZES else "Photography")


def _shown(points: pd.DataFrame, scores: Collection[str]) -> list[str]:
    """The columns to show: the scores, and what is not constant and does not repeat an earlier one."""
    shown, seen = [], set()
    for name in points.columns.difference(_HIDDEN, sort=False):
        content = pd.util.hash_pandas_object(points[name], index=False).to_numpy().tobytes()
        if name in (*CORE, *scores) or (points[name].nunique() > 1 and content not in seen):
            shown.append(name)
            seen.add(content)
    return shown


def _values(name: str, column: pd.Series) -> tuple[str, np.ndarray, list[str]]:
    """Its kind (number, truth or name), its values, and what they stand for if they are places among names."""
    if name == "cluster":
        return "name", column.to_numpy(), []
    if pd.api.types.is_bool_dtype(column) and not column.isna().any():
        return "truth", column.to_numpy(bool), []
    if pd.api.types.is_datetime64_any_dtype(column):
        return "number", _years(column), []
    if pd.api.types.is_numeric_dtype(column):
        whole = pd.api.types.is_integer_dtype(column) and not column.isna().any()
        if whole:
            return "number", column.to_numpy(), []
        return "number", _floats(column.to_numpy(np.float64, na_value=np.nan)), []
    text = column.astype(object).where(column.notna(), "–").astype(str)
    levels = sorted(text.unique())
    return "name", pd.Categorical(text, categories=levels).codes, levels


def _floats(values: np.ndarray) -> np.ndarray:
    """float32, or float64 of numbers so large that whole ones would be rounded."""
    large = np.abs(values).max(initial=0, where=np.isfinite(values)) > EXACT
    return values.astype(np.float64 if large else np.float32)


def _years(dates: pd.Series) -> np.ndarray:
    """Dates as years and parts of them, float64: an axis of them reads like any other."""
    year = dates.dt.year
    days = np.where(dates.dt.is_leap_year, 366, 365)
    return (year + (dates.dt.dayofyear - 1 + (dates - dates.dt.normalize()) / pd.Timedelta(days=1)) / days).to_numpy(
        float
    )
