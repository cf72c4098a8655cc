"""Folders of labels, one file an image, found beside the images by their names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from segscope.artefacts.skipped import skip
from segscope.sources.ids import id_text

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
# What exporters put behind an image's name to call its mask, and Cityscapes behind that of an image.
MASK_ENDINGS = re.compile(r"(_mask|_masks|_label|_labels|_seg|_gt|_P|_L|_gtFine_label(Train)?Ids|_leftImg8bit)$")
_IMAGE_ENDING = re.compile(r"_leftImg8bit$")


def files_below(folder: Path, endings: Collection[str], apart: Path | None = None) -> list[str]:
    """Paths of files below a folder by their ending, in order, without those below `apart`, if that lies in it."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and Path(where, name) != apart]
        of = Path(where).relative_to(folder)
        found += [(of / name).as_posix() for name in names if Path(name).suffix.lower() in endings and name[0] != "."]
    return sorted(found)


def key_of(name: str) -> str:
    """What the names of an image and of its labels have in common."""
    return MASK_ENDINGS.sub("", _stem(name))


def _stem(name: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(name).with_suffix("").as_posix())


def pair(images: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Each image's label file: the one that is called as it is, but for the ending; else one of its name as a mask's.

    Of several the shortest; none where two images without labels have one name but for Cityscapes' ending. Other
    endings are part of an image's name: `s_P.txt` is not of `s_L.jpg`.
    """
    named = {_stem(label): label for label in labels}
    of = {image: named[_stem(image)] for image in images if _stem(image) in named}
    taken, best = set(of.values()), dict[str, str]()
    for label in sorted(set(labels) - taken, key=lambda name: (len(name), name), reverse=True):
        best[key_of(label)] = label
    own = {image: _IMAGE_ENDING.sub("", _stem(image)) for image in images if image not in of}
    times = Counter(name for _, name in {(_stem(image), name) for image, name in own.items()})
    return of | {image: best[name] for image, name in own.items() if name in best and times[name] == 1}


def image_rows(images: Sequence[str]) -> list[dict[str, Any]]:
    """COCO's rows of images; an id is the name without its ending, or with it where several share that."""
    stems = [id_text(PurePosixPath(name).with_suffix("").name) or name for name in images]
    times = Counter(stems)
    return [
        {"id": stem if times[stem] == 1 else name, "file_name": name} for stem, name in zip(stems, images, strict=True)
    ]


def writable(names: Iterable[str], skipped: list[dict[str, Any]]) -> list[str]:
    """The names that are text; others, of bytes of another encoding than the disk's, are listed."""
    good = []
    for name in names:
        if any("\ud800" <= c <= "\udfff" for c in name):
            detail = "its name is not in UTF-8, as this machine's are: rename it"
            skipped.append(skip("unsafe_file_name", detail, file_name=ascii(name)))
        else:
            good.append(name)
    return good
