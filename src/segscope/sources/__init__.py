"""Where images and annotations come from: one interface, three kinds.

A source names, for each split, an annotation file and the folder its file names are relative to; `fetch` makes
sure that the chosen images are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segscope.errors import SegscopeError
from segscope.params import Data, Splits
from segscope.sources.sample import draw_sample
from segscope.sources.web import CocoMirror

SPLITS = ("train", "val")


class Source(Protocol):
    """What the download stage asks of a source; `split` is `train` or `val`."""

    def annotation_file(self, split: str) -> Path:
        """The split's COCO instances file, fetched if need be."""

    def image_folder(self, split: str) -> Path:
        """The folder that the split's file names are relative to."""

    def fetch(self, split: str, file_names: Iterable[str]) -> None:
        """Make sure that these images are on disk. Raises SegscopeError if one cannot be had."""


@dataclass(frozen=True)
class Directory:
    """A COCO-layout directory on this machine: annotations/instances_NAME.json and NAME/*.jpg for each split."""

    root: Path
    splits: Splits

    def annotation_file(self, split: str) -> Path:
        return self.root / "annotations" / f"instances_{getattr(self.splits, split)}.json"

    def image_folder(self, split: str) -> Path:
        return self.root / getattr(self.splits, split)

    def fetch(self, split: str, file_names: Iterable[str]) -> None:
        folder = self.image_folder(split)
        missing = [name for name in file_names if not (folder / name).is_file()]
        if missing:
            raise SegscopeError(
                f"{len(missing)} images that {self.annotation_file(split)} lists are not in {folder}, "
                f"among them {', '.join(missing[:5])}"
            )


def open_source(data: Data, sample_root: Path) -> Source:
    """The source that `data.source` names; the sample is drawn below `sample_root`, without its truth."""
    if data.source == "directory":
        root = Path(data.root)
        if not root.is_dir():
            raise SegscopeError(f"data.root: {data.root!r} is not a directory")
        return Directory(root, data.splits)
    if data.source == "sample":
        return Directory(sample_root, Splits(train="train", val="val"))
    return CocoMirror(data.base_url, data.source.removeprefix("coco"), Path(data.cache_dir) / data.source)


__all__ = ["SPLITS", "CocoMirror", "Directory", "Source", "draw_sample", "open_source"]
