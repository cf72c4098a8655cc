"""Where a folder's images and labels are, found by looking: the layouts of exporters."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
import numpy as np

from segscope.errors import SegscopeError
from segscope.limits import MAX_ANNOTATION_BYTES, read_within
from segscope.sources.beside import PICTURES, key_of
from segscope.sources.categories import some
from segscope.sources.class_masks import class_values, split_masks
from segscope.sources.json_text import decode, utf8
from segscope.sources.label_files import LOSSLESS, read_text
from segscope.sources.yolo import label_files

MAX_FOLDERS = 20_000
MAX_LABELLED = 200  # folders of labels: of more, such as one a video, some say where all are
SOME = 200  # images of a file, whose folder is looked for
MAX_KINDS = 64  # values of a mask; a grey photograph has more
FORMATS = {
    "coco": "COCO instances",
    "panoptic": "COCO panoptic",
    "yolo": "YOLO segmentation",
    "masks": "masks of class numbers",
}
# `annot`: CamVid's folders trainannot and valannot.
_SPLIT = re.compile(r"(?<![a-z])(training|train|validation|valid|val|testing|test)(\d{4})?(?=[^a-z]|annot|$)", re.I)


class _Image(msgspec.Struct):
    file_name: str


class _Images(msgspec.Struct):
    images: list[msgspec.Raw] | dict[str, msgspec.Raw]


class Layout(NamedTuple):
    """Where a data set's parts are: values of data.format, data.splits, data.annotations and data.images.

    splits: None where all is one.
    """

    format: str
    splits: tuple[str, str] | None
    annotations: str
    images: str


def find_layouts(root: Path) -> list[Layout]:
    """The layouts of a folder, the best first. Raises SegscopeError if it holds none that can be read."""
    tree = walk(root)
    for find in (_json_layouts, _label_layouts):
        layouts = sorted(find(root, tree), key=lambda found: (found.splits is None, _rank(found)))
        if layouts:
            return layouts
    coloured = next(_coloured_folders(root, tree), None)
    if coloured:
        raise SegscopeError(
            f"{root / coloured} holds pictures called like those of another folder; if they are masks, they are of "
            "colours, not of class numbers: export class indices, or map the colours"
        )
    files = Counter(PurePosixPath(name).suffix.lower() or "no ending" for names in tree.values() for name in names)
    raise SegscopeError(
        f"{root} holds neither COCO files, YOLO labels nor masks of class numbers beside images; of files there are "
        f"{some([f'{n} {ending}' for ending, n in files.most_common()]) or 'none'}"
    )


def walk(root: Path) -> dict[str, list[str]]:
    """The names of the files of each folder below `root`, by its path there; hidden ones apart.

    A folder may be a link, but not to one above it, or to one that was seen before.
    """
    tree: dict[str, list[str]] = {}
    seen: set[str] = set()
    for where, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        tree[Path(where).relative_to(root).as_posix()] = sorted(name for name in names if not name.startswith("."))
        if len(tree) > MAX_FOLDERS:
            raise SegscopeError(f"{root} holds more than {MAX_FOLDERS} folders: name the data set's own")
    return tree


def _rank(layout: Layout) -> tuple:
    return (
        list(FORMATS).index(layout.format),
        "instances" not in layout.annotations,
        layout.annotations.count("/"),
        layout.annotations,
    )


def split_of(path: str) -> tuple[str, str, str] | None:
    """Of a path that names a split: which (train, val or test), its name there, and the path with {split} for it."""
    found = list(_SPLIT.finditer(path))
    if not found:
        return None
    name, kind = found[-1][0], found[-1][1].lower()
    role = "train" if kind.startswith("train") else "test" if kind.startswith("test") else "val"
    return role, name, _SPLIT.sub(lambda match: "{split}" if match[0] == name else match[0], path)


def group_splits(paths: Iterable[tuple[str, ...]]) -> Iterator[tuple[tuple[str, str] | None, tuple[str, ...]]]:
    """Tuples of paths that differ in the split's name alone, as the names of train and val and the paths' patterns.

    Of one that has no counterpart there are no names, and its paths are its patterns; test stands for val where there
    is none.
    """
    groups: dict[tuple[str, ...], dict[str, tuple[str, tuple[str, ...]]]] = {}
    for each in paths:
        found = [split_of(path) for path in each]
        named = {(one[0], one[1]) for one in found if one}
        role, name = named.pop() if len(named) == 1 else ("", "")
        pattern = tuple(one[2] if one and role else path for one, path in zip(found, each, strict=True))
        groups.setdefault(pattern, {})[role] = name, each
    for pattern, of in groups.items():
        val = of.get("val") or of.get("test")
        if "train" in of and val:
            yield (of["train"][0], val[0]), pattern
        else:
            yield from ((None, each) for _, each in of.values())


def _json_layouts(root: Path, tree: Mapping[str, Sequence[str]]) -> Iterator[Layout]:
    """COCO's files, by what their text holds: the first stage says what is wrong with it."""
    kinds = {}
    for folder, names in tree.items():
        for name in names:
            if name.lower().endswith(".json"):
                path = PurePosixPath(folder, name).as_posix()
                kind = _kind(root / path)
                if kind:
                    kinds[path] = kind
    where = _where(tree)
    for kind in ("coco", "panoptic"):
        for splits, (pattern,) in group_splits((path,) for path in kinds if kinds[path] == kind):
            files = [pattern.replace("{split}", name) for name in splits or ("",)]
            folders = [_image_folder(root, file, tree, where) for file in files]
            images = folders[0]
            if splits and folders[0] != folders[1]:
                images = folders[0].replace(splits[0], "{split}")
            yield Layout(kind, splits, pattern, images)


def _kind(path: Path) -> str | None:
    try:
        text = utf8(read_within(path, MAX_ANNOTATION_BYTES))
    except (OSError, UnicodeDecodeError):
        return None
    if b'"images"' not in text or b'"annotations"' not in text or b'"caption"' in text:
        return None
    return "panoptic" if b'"segments_info"' in text else "coco"


def _where(tree: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The folders of each file name."""
    where: dict[str, list[str]] = {}
    for folder, names in tree.items():
        for name in names:
            where.setdefault(name, []).append(folder)
    return where


def _image_folder(root: Path, file: str, tree: Mapping[str, Sequence[str]], where: Mapping[str, Sequence[str]]) -> str:
    """The folder that most of a file's images are found from; where none is found, one that holds most pictures."""
    votes = Counter[str]()
    for path in (PurePosixPath(os.path.normpath(name.replace("\\", "/"))) for name in _image_names(root / file)):
        for folder in where.get(path.name, ()):
            full = PurePosixPath(folder, path.name)
            if full.parts[-len(path.parts) :] == path.parts:
                votes[PurePosixPath(*full.parts[: -len(path.parts)]).as_posix()] += 1
    split, own = (split_of(file) or ("", "", ""))[1], PurePosixPath(file).parent.as_posix()
    if votes:
        return max(votes, key=lambda folder: (votes[folder], split in folder.split("/"), folder == own, folder))
    pictures = {folder: n for folder, there in tree.items() if (n := sum(map(_is_picture, there)))}
    return max(pictures, key=lambda folder: (split in folder.split("/"), pictures[folder], folder), default=own)


def _image_names(path: Path) -> list[str]:
    """The names of some images of a file; none where the first stage will say what is wrong with it."""
    try:
        document, _ = decode(read_within(path, MAX_ANNOTATION_BYTES), _Images | list[_Images], path)  # type: ignore[arg-type]
        images = (document if isinstance(document, _Images) else document[0]).images
        rows = islice(images if isinstance(images, list) else images.values(), SOME)
        return [msgspec.json.decode(row, type=_Image).file_name for row in rows]
    except (OSError, SegscopeError, msgspec.DecodeError, LookupError):
        return []


def _label_layouts(root: Path, tree: Mapping[str, Sequence[str]]) -> Iterator[Layout]:
    """Folders of masks or of YOLO's labels, each with the folder whose images are called like them."""
    for kind, labels in (("yolo", _yolo_folders(root, tree)), ("masks", _mask_folders(root, tree))):
        apart = labels if kind == "masks" else {}
        pictures = {folder: set(map(key_of, _images(names, folder in apart))) for folder, names in tree.items()}
        pairs = []
        for folder, keys in list(labels.items())[:: len(labels) // MAX_LABELLED + 1]:
            scores = {
                other: (len(keys & there), _alike(folder, other)) for other, there in pictures.items() if keys & there
            }
            if scores:
                pairs.append(_without_common_end(folder, max(scores, key=lambda other: scores[other])))
        for names, (at, images) in group_splits(dict.fromkeys(pairs)):
            yield Layout(kind, names, at, images)


def _images(names: Sequence[str], beside_masks: bool) -> Sequence[str]:
    """The names of the images of a folder, which may hold masks, too, or nothing else."""
    pictures = [name for name in names if _is_picture(name)]
    if not beside_masks:
        return pictures
    images, masks = split_masks(pictures)
    return images if masks else ()


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURES


def _alike(one: str, other: str) -> tuple[bool, int, bool]:
    """Whether two folders are of one split, how many folders they share, and whether the second is called images."""
    splits = [(split_of(path) or ("",))[0] for path in (one, other)]
    both = zip(PurePosixPath(one).parts, PurePosixPath(other).parts, strict=False)
    shared = len(list(takewhile(lambda parts: parts[0] == parts[1], both)))
    return splits[0] == splits[1], shared, "image" in other.lower()


def _without_common_end(labels: str, images: str) -> tuple[str, str]:
    """Both folders without sub-folders of the split that both have, such as one a city."""
    one, other = PurePosixPath(labels), PurePosixPath(images)
    while one != other and one.name == other.name and not _SPLIT.fullmatch(one.name) and one.name:
        one, other = one.parent, other.parent
    return one.as_posix(), other.as_posix()


def _yolo_folders(root: Path, tree: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """The keys of the label files of each folder that holds such."""
    found = {}
    for folder, names in tree.items():
        texts = [name for name in names if name.endswith(".txt")]
        labels = set(label_files(root / folder)) if texts else set()
        texts = [name for name in texts if name in labels]
        if any(_is_yolo(root / folder / name) for name in texts[:20]):
            found[folder] = {key_of(name) for name in texts}
    return found


def _is_yolo(path: Path) -> bool:
    try:
        words = read_text(path).strip().partition("\n")[0].split()
        return len(words) >= 5 and all(np.isfinite(float(word)) for word in words[:5])
    except (SegscopeError, ValueError):
        return False


def _mask_folders(root: Path, tree: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """The keys of the masks of each folder that holds such, alone or beside images."""
    found = {}
    for folder, names in tree.items():
        beside = split_masks([name for name in names if _is_picture(name)])[1]
        alone = [name for name in names if PurePosixPath(name).suffix.lower() in LOSSLESS]
        masks = beside or alone
        if masks and all(_is_mask(root / folder / name) for name in {masks[0], masks[len(masks) // 2], masks[-1]}):
            found[folder] = {key_of(name) for name in masks}
    return found


def _coloured_folders(root: Path, tree: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Folders of lossless pictures, no masks, that are called like the pictures of other folders."""
    keys = {folder: {key_of(name) for name in names if _is_picture(name)} for folder, names in tree.items()}
    times = Counter(key for each in keys.values() for key in each)
    for folder, names in tree.items():
        lossless = [name for name in names if PurePosixPath(name).suffix.lower() in LOSSLESS]
        if lossless and times[key_of(lossless[0])] > 1 and not _is_mask(root / folder / lossless[0]):
            yield folder


def _is_mask(path: Path) -> bool:
    try:
        return len(np.unique(class_values(path))) <= MAX_KINDS
    except SegscopeError:
        return False
