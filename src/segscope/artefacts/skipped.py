"""Rows of the skipped tables: what was left out, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from segscope.artefacts.schemas import SKIPPED
from segscope.artefacts.segmentation import KINDS
from segscope.artefacts.tables import write_parquet
from segscope.errors import SegscopeError

SPLITS = ("train", "val")
# An annotation of these is an object that is not known; others are repeated, left out on purpose, or of no image.
UNUSABLE = ("malformed", "unknown_category", "bad_segmentation", "no_pixels")
# An image of these is lost; others are bounded by themselves, or left out for what they are.
UNUSABLE_IMAGES = ("malformed", "unsafe_file_name", "bad_label", "unreadable_image", "size_mismatch")
# What comes of what, by the kind of a row or its reason.
ADVICE = KINDS | {
    "no_pixels": "it lies outside the frame, or is thinner than a pixel: its coordinates are of another size or crop "
    "of the image",
    "unknown_image": "annotations of images that were deleted, or of another file's",
    "missing_label": "images that nobody has labelled, or whose labels are named otherwise than they are",
    "unknown_category": "annotations of categories that were deleted or renamed, or of another file's",
    "unsafe_file_name": "names as another machine has them: make them relative to data.images",
    "size_mismatch": "labels of pictures as they are shown, not as they are stored: set data.exif: apply; or of other "
    "files of these names",
    "unreadable_image": "files that are damaged or of another format: put whole ones in their place",
    "duplicate_id": "files were joined, and each numbers from 1",
    "copy_in_earlier_split": "the same pictures are in both splits: split them anew; `data.copies: keep` measures what "
    "was learned",
}


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


@contextmanager
def listing(path: Path) -> Iterator[list[pd.DataFrame]]:
    """A list to add tables of what is left out to: they are written there, also if an error ends the block."""
    tables = [skipped_table([]).assign(split=pd.Series(dtype="str"))]
    try:
        yield tables
    except SegscopeError as error:
        raise SegscopeError(f"{error}; see {path}" if any(map(len, tables)) else str(error)) from error
    finally:
        write_parquet(path, pd.concat(tables), SKIPPED)


def require_splits(images: pd.DataFrame, skipped: pd.DataFrame) -> None:
    """Raise SegscopeError, saying why images were left out, if a split has none."""
    for split in SPLITS:
        if split not in set(images["split"]):
            raise SegscopeError(f"no image of split {split} is left: {explain(skipped[skipped['split'] == split])}")


def require_usable(skipped: pd.DataFrame, images: int, annotations: int, max_unusable: float, split: str) -> None:
    """Raise SegscopeError if of a split's images or annotations more than a share of `max_unusable` cannot be used.

    What such annotations label would be learned and measured as background. skipped: rows of a skipped table. images,
    annotations: those that can be used.
    """
    of_annotation = skipped["annotation_id"].notna() | skipped["detail"].str.startswith("annotations[")
    odd = {
        "images": (images, skipped[~of_annotation & skipped["reason"].isin(UNUSABLE_IMAGES)], ""),
        "annotations": (
            annotations,
            skipped[of_annotation & skipped["reason"].isin(UNUSABLE)],
            ", and what they label would count as background",
        ),
    }
    for kind, (usable, unusable, harm) in odd.items():
        n = usable + len(unusable)
        if len(unusable) > max_unusable * n:
            raise SegscopeError(
                f"of {n} {kind} of split {split} {len(unusable)} cannot be used, more than data.max_unusable "
                f"({max_unusable:.2%}) allows{harm}: {explain(unusable)}"
            )


def explain(skipped: pd.DataFrame) -> str:
    """How many rows there are for each reason, and what is wrong with most of them, how that comes and an example."""
    if skipped.empty:
        return "nothing was left out"
    reasons = ", ".join(f"{n} {reason}" for reason, n in count_skipped(skipped).items())
    kind = pd.Series(map(_kind, skipped["reason"], skipped["detail"]), skipped.index)
    often, some = max(skipped.groupby([skipped["reason"], kind]), key=lambda group: len(group[1]))
    first = some.iloc[0]
    named = first[["image_id", "annotation_id", "file_name"]].dropna().items()
    about = "".join(f", {name} {value}" for name, value in named if str(value) not in first["detail"])
    advice = ADVICE.get(often[1]) or ADVICE.get(often[0])
    return f"{reasons}; {len(some)} like this{about}: {first['detail']}" + (f" ({advice})" if advice else "")


def _kind(reason: str, detail: str) -> str:
    """What the details of rows with the same fault have in common."""
    if reason == "malformed":
        return re.sub(r"\[\d+\]", "[]", detail.rpartition(": ")[0] or detail)
    return detail.partition(": ")[0] if reason == "bad_segmentation" else ""


def count_skipped(skipped: pd.DataFrame) -> dict[str, int]:
    """How many rows of a skipped table there are for each reason."""
    return skipped["reason"].value_counts().sort_index().to_dict()


def summary(skipped: pd.DataFrame, listed_in: Path) -> str | None:
    """What was left out, and where it is listed, in a line; None if nothing was."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in count_skipped(skipped).items())
    return f"left out: {reasons}; see {listed_in}" if reasons else None
