"""Rows of the skipped tables: what was left out, and why."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from segscope.errors import SegscopeError

SPLITS = ("train", "val")


def skip(
    reason: str,
    detail: str,
    image_id: int | None = None,
    annotation_id: int | None = None,
    file_name: str | None = None,
) -> dict[str, Any]:
    """A row of the skipped tables: an image (no annotation id) or an annotation that is left out, and why."""
    return {
        "image_id": image_id,
        "annotation_id": annotation_id,
        "file_name": file_name,
        "reason": reason,
        "detail": detail,
    }


def skipped_table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """The rows of `skip` as a table; ids are nullable integers."""
    table = pd.DataFrame(rows, columns=["image_id", "annotation_id", "file_name", "reason", "detail"])
    return table.astype({"image_id": "Int64", "annotation_id": "Int64"})


def require_splits(images: pd.DataFrame, skipped: pd.DataFrame) -> None:
    """Raise SegscopeError, saying why images were left out, if a split has none."""
    for split in SPLITS:
        if split not in set(images["split"]):
            raise SegscopeError(
                f"no image of split {split} is left: {count_skipped(skipped[skipped['split'] == split])}"
            )


def count_skipped(skipped: pd.DataFrame) -> dict[str, int]:
    """How many rows of a skipped table there are for each reason."""
    return skipped["reason"].value_counts().sort_index().to_dict()


def summary(skipped: pd.DataFrame, listed_in: Path) -> str | None:
    """What was left out, and where it is listed, in a line; None if nothing was."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in count_skipped(skipped).items())
    return f"left out: {reasons}; see {listed_in}" if reasons else None
