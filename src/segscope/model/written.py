"""Predictions that any model wrote, one file an image: PNGs of class numbers, or NPZs of probabilities.

Letters: H × W pixels of a file, S × S of the data, O outputs of the model that wrote it, K classes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import IO

import numpy as np
from PIL import Image

from segscope.artefacts.images import open_image
from segscope.errors import SegscopeError
from segscope.limits import MAX_PREDICTION_BYTES

CLASSES, PROBABILITIES = ".png", ".npz"
SLACK = 2e-2  # of a sum of probabilities: they may be of 16 bits
_STRETCHED = 0.05  # so much a file's ratio of width to height may be off the image's
_PLAIN = ("L", "P", "1")


def find_predictions(folder: Path, images: Mapping[int, str]) -> dict[int, Path]:
    """Each image's file in the folder, of those that have one; images: paths by image_id.

    It is called as the image is, but for its ending, in folders called as the last of the image's are, or in none.
    Raises SegscopeError if there are files of both kinds, or one would be that of two images.
    """
    if not folder.is_dir():
        raise SegscopeError(f"model.path: {folder} is no folder; it must hold a PNG or NPZ for each image")
    files = {each.relative_to(folder) for each in folder.rglob("*") if each.suffix in (CLASSES, PROBABILITIES)}
    kinds = {each.suffix for each in files}
    if len(kinds) > 1:
        raise SegscopeError(f"{folder} holds PNGs and NPZs: class numbers and probabilities; keep those of one kind")
    named = {each.with_suffix("").parts: folder / each for each in files}
    found: dict[int, Path] = {}
    taken: dict[Path, int] = {}
    for image_id, path in images.items():
        parts = PurePath(path).with_suffix("").parts
        file = next((named[parts[k:]] for k in range(len(parts)) if parts[k:] in named), None)
        if file is None:
            continue
        if file in taken:
            raise SegscopeError(
                f"{file} would be the prediction of {images[taken[file]]} and of {path}: put predictions into folders "
                f"called as the images' are, as {'/'.join(parts[-2:])}{file.suffix}"
            )
        found[image_id], taken[file] = file, image_id
    return found


def read_probabilities(
    file: Path, image_size: tuple[int, int], size: int, outputs: Sequence[Sequence[int]] | None, classes: int
) -> np.ndarray:
    """A prediction at the data's resolution: float32 S × S × K; of class numbers 0 and 1 alone.

    image_size: the image's width and height, or any two of their ratio. size: S. outputs: of each of the K classes but
    background the numbers that are of it; all others are background. None: number k is class k. Class numbers are
    resized by nearest neighbour, probabilities by the mean over a pixel's area, or linearly between pixels. Raises
    SegscopeError if the file is not such a prediction.
    """
    try:
        if file.suffix == CLASSES:
            numbers = _read_numbers(file)
            _check_ratio(numbers.shape, image_size)
            of = _class_of(int(numbers.max()) + 1, outputs, classes)[numbers].astype(np.uint8)
            return np.eye(classes, dtype=np.float32)[np.asarray(_scaled(of, size, Image.Resampling.NEAREST))]
        made = _read_outputs(file)
        _check_ratio(made.shape[:2], image_size)
        of = _class_of(made.shape[-1], outputs, classes)
        if outputs is None and made.shape[-1] != classes:
            raise SegscopeError(
                f"it has {made.shape[-1]} outputs for {classes} classes: model.outputs says which are whose"
            )
        return _averaged(np.stack([made[..., of == k].sum(-1) for k in range(classes)], -1), size)
    except SegscopeError as error:
        raise SegscopeError(f"prediction {file}: {error}") from error


def _read_numbers(file: Path) -> np.ndarray:
    """The class numbers of a PNG: uint8 H × W."""
    image = open_image(file)
    if image.mode not in _PLAIN:
        raise SegscopeError(f"its pixels are {image.mode}; they must be class numbers, in one channel or a palette")
    if image.info.get("largest", 0) > 255:
        raise SegscopeError("its class numbers are beyond 255")
    return np.asarray(image).astype(np.uint8)


def _read_outputs(file: Path) -> np.ndarray:
    """The probabilities of an NPZ's only array: float32 H × W × O, of a model of one output those of not and of it."""
    try:
        with zipfile.ZipFile(file) as archive:
            (member,) = archive.infolist()
            with archive.open(member) as opened:
                shape, dtype = _header(opened)
            values = int(np.prod(shape, dtype=object)) if shape else 1
            if dtype.kind != "f" or len(shape) not in (2, 3):
                raise SegscopeError(f"its array is {dtype} of {shape}; it must be floating, height × width × outputs")
            if max(values * max(dtype.itemsize, 4), member.file_size) > MAX_PREDICTION_BYTES:
                raise SegscopeError(f"it unpacks to more than {MAX_PREDICTION_BYTES / 1e6:.0f} MB")
            if values == 0 or values * dtype.itemsize > member.file_size:
                raise SegscopeError("its array is larger than the file, or empty")
        with np.load(file, allow_pickle=False) as arrays:
            made = next(iter(arrays.values())).astype(np.float32)
    except SegscopeError:
        raise
    except Exception as error:  # whatever a broken or hostile file provokes in zipfile and NumPy
        raise SegscopeError(f"it is not an NPZ of one array ({error})") from error
    if made.ndim == 2 or made.shape[-1] == 1:
        made = made.reshape(*made.shape[:2], 1)
        made = np.concatenate([1 - made, made], -1)
    total = made.sum(-1)
    if not (made.min() >= -SLACK and np.abs(total - 1).max() <= SLACK):  # also of NaN
        raise SegscopeError(
            f"its values are {made.min():.3g} to {made.max():.3g} and add up to {total.min():.3g} to {total.max():.3g} "
            "at a pixel; they must be probabilities over the last axis (the softmax of logits)"
        )
    return np.maximum(made, 0)


def _header(opened: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(opened)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(opened)
    return shape, dtype


def _class_of(n: int, outputs: Sequence[Sequence[int]] | None, classes: int) -> np.ndarray:
    """The class of each of n numbers, int[n]."""
    if outputs is None:
        if n > classes:
            raise SegscopeError(
                f"it has class {n - 1}, and there are {classes} (0 is background): model.outputs says which are whose"
            )
        return np.arange(n)
    of = np.zeros(max(n, 1 + max(max(numbers) for numbers in outputs)), int)
    for k, numbers in enumerate(outputs, start=1):
        of[list(numbers)] = k
    return of[:n]


def _check_ratio(shape: Sequence[int], image_size: tuple[int, int]) -> None:
    (height, width), (wide, high) = shape, image_size
    if height != width and abs(width * high / (height * wide) - 1) > _STRETCHED:
        raise SegscopeError(
            f"it is {width}×{height}, the image {wide}×{high}: a prediction has the image's ratio of width to height, "
            "or is square as what a model is given; height comes first in an array"
        )


def _scaled(plane: np.ndarray, size: int, how: Image.Resampling) -> Image.Image:
    return Image.fromarray(plane).resize((size, size), how)


def _averaged(p: np.ndarray, size: int) -> np.ndarray:
    how = Image.Resampling.BOX if min(p.shape[:2]) >= size else Image.Resampling.BILINEAR
    planes = [np.asarray(_scaled(np.ascontiguousarray(plane), size, how)) for plane in np.moveaxis(p, -1, 0)]
    scaled = np.stack(planes, -1)
    return scaled / scaled.sum(-1, keepdims=True)
