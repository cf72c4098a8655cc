"""A trained model on a user's own photographs, of any size. Letters: H × W pixels, K classes."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import keras
import numpy as np
from PIL import Image, ImageOps
from scipy.special import softmax
from tqdm import tqdm

from segscope.artefacts.files import MARKER, atomic_path
from segscope.artefacts.images import open_image, resize_image, to_rgb
from segscope.artefacts.overlays import BAND, class_color, class_overlay
from segscope.artefacts.tables import for_spreadsheet
from segscope.errors import SegscopeError, printable

SHARES, SKIPPED = "shares.csv", "skipped.csv"
MASK, OVERLAY = "-mask.png", "-overlay.jpg"
LONGEST = 100  # bytes of a part of a result's name: `atomic_path` may more than double a name, and 255 are allowed


class Candidate(NamedTuple):
    """A file that may be a photograph.

    path: as given. below: its path from the folder that all arguments share. named: by the user, not found in a folder
    or by a pattern.
    """

    path: Path
    below: PurePath
    named: bool


class Found(NamedTuple):
    """What arguments name. skipped: paths, and why. errors: arguments that name nothing."""

    candidates: list[Candidate]
    skipped: dict[Path, str]
    errors: list[str]


def find_candidates(arguments: Sequence[str], out: Path) -> Found:
    """The files that the arguments name, each once: files, folders with all that is below them, and glob patterns.

    What is hidden, or lies in a folder that segscope made, is not searched for; nothing in `out` is ever taken. A path
    that names nothing is a candidate, too: it fails when it is opened, and the others' names are the same without it.
    """
    split = [_split(argument) for argument in arguments]
    bases = [_absolute(base) for base, _ in split]
    shared = len(set.intersection(*({base, *base.parents} for base in bases)))  # path parts that all begin with
    results = Path(os.path.realpath(out))
    found: dict[str, Candidate] = {}
    skipped: dict[Path, str] = {}
    errors = []
    for argument, (base, pattern) in zip(arguments, split, strict=True):
        path, is_folder, named = Path(argument), os.path.isdir(argument), not pattern
        if is_folder and _made(path):
            skipped[path] = "segscope made this folder: name files, folders or a pattern in it"
            continue
        paths = [path] if named else _search(base, pattern)
        if not paths and not is_folder:
            errors.append(f"the pattern {argument!r} matches no file")
        for path in paths:
            real = os.path.realpath(path)
            if Path(real).is_relative_to(results):
                skipped[path] = "it lies in the folder of the results"
            elif real not in found:
                found[real] = Candidate(path, PurePath(*_absolute(path).parts[shared:]), named)
            elif named:
                found[real] = found[real]._replace(named=True)
    return Found(list(found.values()), skipped, errors)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # without `..`, links not followed


def _made(folder: Path) -> bool:
    return os.path.isfile(folder / MARKER)


def _split(argument: str) -> tuple[Path, tuple[str, ...]]:
    """The folder that an argument is about, and the parts of the pattern to search for there; none for a file."""
    path = Path(argument)
    if os.path.isdir(argument):
        return path, ("**",)
    wild = [i for i, part in enumerate(path.parts) if any(c in part for c in "*?[")]
    if os.path.exists(argument) or not wild:
        return path.parent, ()
    return Path(*path.parts[: wild[0]]), path.parts[wild[0] :]


def _search(base: Path, pattern: tuple[str, ...]) -> list[Path]:
    """The files below a folder that the parts of a pattern match, and all below the folders that it matches, sorted."""
    found = set()
    todo = [(base, pattern)] if os.path.isdir(base) else []
    done = set()  # links may lead to what was searched already, or round in circles
    while todo:
        folder, pattern = todo.pop()
        key = (os.path.realpath(folder), pattern)
        if key in done:
            continue
        done.add(key)
        head, rest = pattern[0], pattern[1:]
        if head == "**" and rest:
            todo.append((folder, rest))
        try:
            names = sorted(os.listdir(folder), reverse=True)
        except OSError:
            found.add(folder)  # opened as an image, it says why it cannot be read
            continue
        for name in names:
            path = folder / name
            if not fnmatch(name, head) or (name.startswith(".") and not head.startswith(".")):
                continue
            if os.path.isdir(path):
                if not _made(path):
                    todo.append((path, pattern if head == "**" else rest or ("**",)))
            elif not rest and (os.path.isfile(path) or not os.path.exists(path)):  # no pipe, which would be waited for
                found.add(path)
    return sorted(found, key=lambda path: path.parts)


def result_names(paths: Sequence[PurePath]) -> list[str]:
    """A name for each file's results, FOLDER/STEM: a relative path without `..` that any file system takes.

    They are distinct where case does not count, too: of equal ones all but the first get a number. Files with an
    image's ending go first, so that one of another kind beside a photograph does not take its name.
    """
    names = ["/".join([*map(_safe_folder, path.parts[:-1]), _safe(path.stem)]) for path in paths]
    endings = Image.registered_extensions()
    result = list(names)
    taken: set[str] = set()
    used: Counter[str] = Counter()
    for i in sorted(range(len(paths)), key=lambda i: paths[i].suffix.lower() not in endings):
        same = _caseless(names[i])
        while _caseless(result[i]) in taken:
            used[same] += 1
            result[i] = f"{names[i]}-{used[same] + 1}"
        taken.add(_caseless(result[i]))
    return result


def _safe(part: str) -> str:
    kept = "".join(c if c.isprintable() and c not in '<>:"/\\|?*' else "_" for c in part)
    return kept.encode()[:LONGEST].decode(errors="ignore").strip(". ") or "_"


def _safe_folder(part: str) -> str:
    part = _safe(part)
    return f"{part}_" if part.lower().endswith((MASK, OVERLAY, SHARES, SKIPPED)) else part  # never a result's own name


def _caseless(name: str) -> str:
    return unicodedata.normalize("NFKC", name.casefold())


def open_upright(path: Path) -> Image.Image:
    """The photograph as RGB, turned as its EXIF orientation says. Raises SegscopeError if the file is not an image."""
    image = open_image(path)
    try:
        return to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # whatever damaged EXIF data provoke in Pillow
        raise SegscopeError(f"image {path} cannot be turned as its EXIF data say: {error}") from error


def class_probabilities(model: keras.Model, picture: Image.Image) -> np.ndarray:
    """The model's probabilities, float32 S × S × K; it sees the RGB picture at its own size S, as in training."""
    pixels = np.asarray(resize_image(picture, model.input_shape[1]), np.float32)[None]
    return softmax(model.predict_on_batch(pixels)[0], axis=-1)


def segment(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The most probable class of each pixel, uint8 H × W, of float32 probabilities S × S × K scaled up bilinearly.

    size: (W, H).
    """
    width, height = size
    planes = [Image.fromarray(plane) for plane in np.ascontiguousarray(probabilities.transpose(2, 0, 1))]
    (tall, wide), rows = probabilities.shape[:2], max(1, BAND // width)
    classes = np.zeros((height, width), np.uint8)
    for top in range(0, height, rows):  # all at once would need many times the memory of a large photograph
        band = classes[top : top + rows]
        box = 0, top * tall / height, wide, (top + len(band)) * tall / height
        best = np.full(band.shape, -1, np.float32)
        for k, plane in enumerate(planes):
            scaled = np.asarray(plane.resize((width, len(band)), Image.Resampling.BILINEAR, box))
            band[scaled > best] = k
            np.maximum(best, scaled, out=best)
    return classes


def class_shares(classes: np.ndarray, n: int) -> list[float]:
    """The share of the pixels that each of the n classes has. classes: uint8 H × W."""
    return (np.bincount(classes.ravel(), minlength=n) / classes.size).tolist()


def predict_files(model: keras.Model, names: Sequence[str], found: Found, out: Path) -> tuple[list[str], int]:
    """Segment photographs, one by one, into the folder `out`: mask and overlay of each, shares.csv and skipped.csv.

    names: of the K classes. A mask's pixels are class numbers, shown in colours by a palette. Returns what failed, and
    how many files were skipped: one that is no image fails if the user named it, and is skipped if it was found.
    """
    errors, done, skipped = list(found.errors), 0, len(found.skipped)
    results = result_names([candidate.below for candidate in found.candidates])
    with (
        _open_csv(out / SHARES, ["image", "mask", "overlay", *names]) as write_shares,
        _open_csv(out / SKIPPED, ["path", "reason"]) as write_skipped,
    ):
        for path, reason in found.skipped.items():
            write_skipped([path, reason])
        for candidate, result in zip(tqdm(found.candidates, unit="image", disable=None), results, strict=True):
            path = candidate.path
            try:
                picture = open_upright(path)
            except SegscopeError as error:
                if candidate.named:
                    errors.append(str(error))
                else:
                    write_skipped([path, error])
                    skipped += 1
                continue
            classes = segment(class_probabilities(model, picture), picture.size)
            shares = class_shares(classes, len(names))
            try:
                if not Path(os.path.realpath(out / result)).is_relative_to(os.path.realpath(out)):
                    raise OSError("a folder of the results is a link to another")
                _write_results(out / result, picture, classes, len(names))
            except OSError as error:
                errors.append(f"the results of {path} cannot be written: {error.strerror or error}")
                continue
            done += 1
            write_shares([path, result + MASK, result + OVERLAY, *shares])
            said = ", ".join(f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True))
            tqdm.write(printable(f"{path}: {said}", keep=""))
    if not done and not errors:
        errors.append("there is no photograph in what was named")
    return errors, skipped


def _write_results(stem: Path, picture: Image.Image, classes: np.ndarray, n: int) -> None:
    mask = Image.fromarray(classes)
    mask.putpalette([int(class_color(k)[i : i + 2], 16) for k in range(n) for i in (1, 3, 5)])
    with atomic_path(f"{stem}{MASK}") as temporary:
        mask.save(temporary)
    with atomic_path(f"{stem}{OVERLAY}") as temporary:
        class_overlay(picture, classes).save(temporary, quality=90)


@contextmanager
def _open_csv(path: Path, header: Sequence[str]) -> Iterator[Callable[[Iterable[Any]], object]]:
    # A name that is not Unicode is still written, so that it can be told.
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as f,
    ):
        writer = csv.writer(f)

        def write(row: Iterable[Any]) -> None:
            writer.writerow([for_spreadsheet(str(each) if isinstance(each, PurePath) else each) for each in row])

        write(header)
        yield write
