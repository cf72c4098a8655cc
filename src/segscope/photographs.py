"""A trained model on a user's own photographs, of any size. Letters: H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageOps
from scipy.special import softmax

from segscope.files import atomic_path
from segscope.images import open_image, resize_image, to_rgb
from segscope.overlays import class_color, class_overlay


def segment(model: keras.Model, picture: Image.Image) -> np.ndarray:
    """The most probable class of each of the picture's pixels, uint8 H × W.

    The model sees the picture at its own size, as in training; its probabilities are scaled up bilinearly.
    """
    size = model.input_shape[1]
    pixels = np.asarray(resize_image(picture, size), np.float32)[None]
    probabilities = softmax(model.predict_on_batch(pixels)[0], axis=-1)
    classes = np.zeros(picture.size[::-1], np.uint8)
    best = np.full(classes.shape, -1, np.float32)
    # Class by class: all at once would need K times the memory of a large photograph.
    for k in range(probabilities.shape[-1]):
        plane = Image.fromarray(np.ascontiguousarray(probabilities[..., k]))
        scaled = np.asarray(plane.resize(picture.size, Image.Resampling.BILINEAR))
        higher = scaled > best
        classes[higher] = k
        best = np.maximum(best, scaled)
    return classes


def segment_file(model: keras.Model, path: Path, folder: Path, stem: str, names: Sequence[str]) -> dict[str, float]:
    """Segment a photograph; write STEM-mask.png and STEM-overlay.jpg into the folder. Returns each class's share.

    The mask's pixels are class numbers, shown in colours by a palette. A photograph is turned as its EXIF orientation
    says. Raises SegscopeError if the file is not an image.
    """
    picture = to_rgb(ImageOps.exif_transpose(open_image(path)))
    classes = segment(model, picture)
    mask = Image.fromarray(classes)
    mask.putpalette([int(class_color(k)[i : i + 2], 16) for k in range(len(names)) for i in (1, 3, 5)])
    with atomic_path(folder / f"{stem}-mask.png") as temporary:
        mask.save(temporary)
    with atomic_path(folder / f"{stem}-overlay.jpg") as temporary:
        class_overlay(picture, classes).save(temporary, quality=90)
    share = np.bincount(classes.ravel(), minlength=len(names)) / classes.size
    return dict(zip(names, share.tolist(), strict=True))


def stems(paths: Sequence[Path]) -> list[str]:
    """A name for each file's results: its stem, with a number where several files have the same."""
    taken: set[str] = set()
    result = []
    for path in paths:
        stem, n = path.stem, 1
        while stem in taken:
            n += 1
            stem = f"{path.stem}-{n}"
        taken.add(stem)
        result.append(stem)
    return result
