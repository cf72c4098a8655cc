"""Every image's views for the report: the photograph, and what is laid over it (labels, errors, attention …).

They are kept as data URLs in small scripts, a few images each, which the page loads when it needs them: a page that is
opened from disk may load scripts, but not read pictures or JSON.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import delayed
from PIL import Image
from scipy.ndimage import binary_dilation
from tqdm import tqdm

from segscope.artefacts.images import decode_png, image_size
from segscope.artefacts.overlays import class_color, heat_ramp, thumbnail
from segscope.artefacts.parallel import workers
from segscope.evaluation.loss import level_loss
from segscope.taxonomy import IGNORE

CHUNK = 16  # images of a script
ERRORS = {"extra": "#0072b2", "missed": "#d55e00", "confused": "#cc79a7"}
_LABELLED, _PREDICTED = "#ffffff", "#00e5ff"


class Job(NamedTuple):
    """An image to show. labels: uint8 H × W classes (or 255). predicted, loss: PNG bytes. attention: by its caption.

    objects: what the page tells of each, as JSON has it. exif: as of `open_image`.
    """

    image_id: int
    path: str
    labels: np.ndarray
    predicted: bytes
    loss: bytes
    attention: Mapping[str, np.ndarray]
    objects: Sequence[Mapping[str, Any]] = ()
    exif: str = "ignore"


def write_views(jobs: Iterable[Job], n: int, folder: Path, longest: int) -> None:
    """Write `NNNN.js` for every CHUNK images, in the jobs' order; on all cores, with a progress bar.

    n: the number of jobs. longest: the photographs' longer side in pixels.
    """
    folder.mkdir(parents=True)
    made = workers()(delayed(views)(job, longest) for job in jobs)
    chunk: list[dict[str, Any]] = []
    number = 0
    for view in tqdm(made, total=n, desc="views", unit="image", disable=None):
        chunk.append(view)
        if len(chunk) == CHUNK:
            _write(folder, number, chunk)
            number, chunk = number + 1, []
    if chunk:
        _write(folder, number, chunk)


def _write(folder: Path, number: int, chunk: Sequence[Mapping[str, Any]]) -> None:
    # As for any script: no text of the data may end it.
    text = json.dumps(chunk, separators=(",", ":")).replace("<", "\\u003c")
    (folder / f"{number:05d}.js").write_text(f"segscopeViews({number},{text});\n", encoding="utf-8")


def views(job: Job, longest: int) -> dict[str, Any]:
    """The views of one image as data URLs, and its objects."""
    predicted = decode_png(job.predicted)
    found = {
        "photo": _jpeg(thumbnail(job.path, longest, job.exif)),
        "labels": _classes(job.labels),
        "predicted": _classes(predicted),
        "errors": _errors(job.labels, predicted),
        "loss": _heat(level_loss(decode_png(job.loss)) / 4),
    }
    attention = {caption: _heat(_scaled(heat)) for caption, heat in job.attention.items()}
    return {**found, "attention": attention, "objects": list(job.objects)}


def _scaled(heat: np.ndarray) -> np.ndarray:
    return np.maximum(heat, 0) / max(heat.max(), 1e-12)


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _png(levels: np.ndarray, colors: Sequence[tuple[int, ...]]) -> str:
    """A palette PNG: levels uint8 H × W of colours (red, green, blue, alpha)."""
    picture = Image.fromarray(levels, "P")
    picture.putpalette([channel for color in colors for channel in color[:3]])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=bytes(color[3] for color in colors), optimize=False)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _rgba(color: str, alpha: int = 255) -> tuple[int, ...]:
    return (*(int(color[i : i + 2], 16) for i in (1, 3, 5)), alpha)


def _classes(classes: np.ndarray) -> str:
    shown = int(classes[classes != IGNORE].max(initial=0))
    levels = np.where(classes == IGNORE, shown + 1, classes).astype(np.uint8)
    colors = [(0, 0, 0, 0), *(_rgba(class_color(k)) for k in range(1, shown + 1)), (128, 128, 128, 255)]
    return _png(levels, colors)


def _errors(labels: np.ndarray, predicted: np.ndarray) -> str:
    wrong = (labels != predicted) & (labels != IGNORE)
    levels = np.where(wrong, np.where(labels == 0, 1, np.where(predicted == 0, 2, 3)), 0).astype(np.uint8)
    return _png(levels, [(0, 0, 0, 0), *map(_rgba, ERRORS.values())])


def _heat(values: np.ndarray) -> str:
    """Values 0…1 (more is 1) as heat, the faint ones transparent."""
    levels = (31 * np.clip(values, 0, 1)).round().astype(np.uint8)
    ramp = heat_ramp(np.linspace(0, 1, 32))
    return _png(levels, [(*(int(c) for c in ramp[i]), min(255, 9 * i)) for i in range(32)])


def crop(
    path: str, box: Sequence[float], labelled: np.ndarray, predicted: np.ndarray, longest: int, exif: str = "ignore"
) -> Image.Image:
    """The surroundings of a box with two outlines: labelled white, predicted cyan.

    box: left, top, width, height in the photograph's pixels. labelled, predicted: bool masks of any size. exif: as of
    `open_image`.
    """
    width, height = image_size(path, exif)
    left, top, wide, tall = box
    margin = 0.35 * max(wide, tall) + 8
    frame = (
        max(0, int(left - margin)),
        max(0, int(top - margin)),
        min(width, int(left + wide + margin) + 1),
        min(height, int(top + tall + margin) + 1),
    )
    picture = thumbnail(path, max(width, height), exif).crop(frame)
    picture.thumbnail((longest, longest))
    pixels = np.asarray(picture).copy()
    for mask, color in ((labelled, _LABELLED), (predicted, _PREDICTED)):
        part = Image.fromarray(mask).resize((width, height)).crop(frame).resize(picture.size)
        inside = np.asarray(part)
        pixels[binary_dilation(inside) & ~inside] = _rgba(color)[:3]
    return Image.fromarray(pixels)
