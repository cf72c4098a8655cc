"""Where images and annotations come from: one interface, three kinds.

A source names, for each split, an annotation file and where its images are; `fetch` makes sure that the chosen
images are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from segscope.artefacts import schemas
from segscope.artefacts.images import image_size
from segscope.artefacts.skipped import SPLITS
from segscope.artefacts.tables import parse_table
from segscope.errors import SegscopeError
from segscope.limits import MAX_TABLE_BYTES, read_within
from segscope.params import Data
from segscope.sources.categories import some
from segscope.sources.names import near_misses, path_below
from segscope.sources.subset import leave_out
from segscope.sources.web import CocoWeb

TRUTH = "truth.parquet"


class Source(Protocol):
    """What the download stage asks of a source; `split` is `train` or `val`.

    root: a directory of this machine that may say what was planted in it; None of the web's.
    """

    @property
    def root(self) -> Path | None: ...

    def annotation_file(self, split: str) -> Path:
        """The split's COCO instances file, fetched if need be."""

    def image_path(self, split: str, file_name: str) -> Path | None:
        """Where the image of that name is, or will be; None if a name leads elsewhere."""

    def fetch(self, images: pd.DataFrame, allowed: int) -> dict[str, str]:
        """Make sure that images (split, file_name, path, width, height) are on disk.

        Returns why not, by path, of each that cannot be had; after more than `allowed` of them it may stop early.
        """


@dataclass(frozen=True)
class Directory:
    """Annotation files and images below one directory of this machine, read in place.

    annotations, images: paths below `root` in which `{split}` stands for the split's own name in `names`.
    """

    root: Path
    names: dict[str, str]
    annotations: str
    images: str

    def labels(self, split: str) -> Path:
        """The split's annotation file, or folder of masks or labels, whether it is there or not."""
        return self.root / self.annotations.replace("{split}", self.names[split])

    def image_folder(self, split: str) -> Path:
        """What file names are relative to."""
        return self.root / self.images.replace("{split}", self.names[split])

    def annotation_file(self, split: str) -> Path:
        file = self.labels(split)
        if not file.is_file():
            there = [path.relative_to(self.root).as_posix() for path in sorted(self.root.glob("**/*.json"))]
            raise SegscopeError(
                f"there is no {file}: look at data.root, data.splits and data.annotations; of JSON there is "
                f"{some(there) or 'nothing'}"
            )
        return file

    def image_path(self, split: str, file_name: str) -> Path | None:
        return path_below(self.root, self.image_folder(split), file_name)

    def fetch(self, images: pd.DataFrame, allowed: int) -> dict[str, str]:
        del allowed
        missing = [path for path in images["path"] if not Path(path).is_file()]
        near = near_misses(missing, self.root)
        return {
            path: "; ".join(
                ["it is a folder" if Path(path).is_dir() else f"not in {Path(path).parent}", *near.get(path, [])]
            )
            for path in missing
        }


def fetch_images(source: Source, images: pd.DataFrame, max_missing: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that are on disk, and the rest as rows of skipped.parquet."""
    why = source.fetch(images, int(max_missing * len(images)))
    return leave_out(images, images["path"].isin(why), "missing_file", images["path"].map(why))


def require_images(found: pd.DataFrame, missing: pd.DataFrame, max_missing: float) -> None:
    """Raise SegscopeError, naming them, if of the images more than a share of `max_missing` is missing."""
    n = len(found) + len(missing)
    if len(missing) > int(max_missing * n):
        named = "\n  ".join(f"{row.file_name}: {row.detail}" for row in missing.head(20).itertuples())
        raise SegscopeError(
            f"of {n} images {len(missing)} are missing, more than data.max_missing ({max_missing:.2%}) allows:"
            f"\n  {named}" + ("\n  …" if len(missing) > 20 else "")
        )


def known_sizes(images: pd.DataFrame, exif: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images with the width and height of their files where the annotation file has none; unreadable ones apart.

    exif: as of `open_image`.
    """
    sizes, why = images[["width", "height"]].copy(), {}
    for row in images[images["width"] == 0].itertuples():
        try:
            sizes.loc[row.Index] = image_size(row.path, exif)
        except SegscopeError as error:
            why[row.Index] = str(error)
    detail = pd.Series(why, dtype="str").reindex(images.index)
    return leave_out(images.assign(**sizes), detail.notna(), "unreadable_image", detail)


def read_truth(root: Path | None) -> tuple[pd.DataFrame, str | None]:
    """The faults planted in a directory's annotations, of its truth.parquet, none where there is no such file.

    And what to say of a file of that name that is another: it is the user's own, and not read.
    """
    file, none = root / TRUTH if root else None, schemas.TRUTH.empty_table().to_pandas()
    if file is None or not file.is_file():
        return none, None
    try:
        return parse_table(read_within(file, MAX_TABLE_BYTES), str(file), schemas.TRUTH).to_pandas(), None
    except SegscopeError as error:
        return none, f"{file} is not read: `segscope corrupt-labels` writes the faults it planted there ({error})"


def open_source(data: Data, sample_root: Path) -> Source:
    """The source that `data.source` names; the sample is to be drawn below `sample_root`."""
    if data.source == "sample":
        return Directory(sample_root, {s: s for s in SPLITS}, "annotations/instances_{split}.json", "{split}")
    if data.source == "directory":
        if not Path(data.root).is_dir():
            advice = ": photographs are read from a disk, copy them there first (`dvc get-url`)" * ("://" in data.root)
            raise SegscopeError(f"data.root: {data.root!r} is not a directory{advice}")
        return Directory(Path(data.root), data.splits.model_dump(), data.annotations, data.images)
    return CocoWeb(
        data.source.removeprefix("coco"),
        Path(data.cache_dir) / data.source,
        data.annotations_url.rstrip("/"),
        data.images_url.rstrip("/"),
        data.archive_sha256,
    )
