"""The report's pictures: thumbnails in sheets, photographs, the layers laid over them, surroundings of suspects.

A page opened from disk may show files and load scripts, but read neither: what its script has to look into (labels,
predictions, losses, attention: it paints them itself) is kept as data URLs in scripts, what it only shows as files.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import delayed
from PIL import Image
from scipy.ndimage import binary_dilation
from tqdm import tqdm

from segscope.artefacts.images import encode_png, image_size
from segscope.artefacts.overlays import thumbnail
from segscope.artefacts.parallel import workers
from segscope.report.html import write_script

SIDE = 8  # thumbnails of a sheet's side
SHEET = SIDE**2  # images of a sheet, and of a script with layers
ERRORS = {"extra": "#0072b2", "missed": "#d55e00", "confused": "#cc79a7"}
_OUTLINE = 0.004  # an outline's width beside the picture's longer side


class Job(NamedTuple):
    """An image to show. labels: uint8 H × W classes (or 255). predicted, loss: PNG bytes, as predictions.parquet has.

    objects: what the page tells of each, as JSON has it. photograph: whether one is kept. exif: as of `open_image`.
    """

    image_id: int
    path: str
    labels: np.ndarray
    predicted: bytes
    loss: bytes
    objects: Sequence[Mapping[str, Any]] = ()
    photograph: bool = True
    exif: str = "ignore"


class Sizes(NamedTuple):
    """Of the pictures: the longer sides in pixels, and WebP's quality."""

    thumbnail: int
    photograph: int
    quality: int


def write_pictures(jobs: Iterable[Job], n: int, folder: Path, sizes: Sizes) -> None:
    """Write `thumbs/NNNNN.webp` and `layers/NNNNN.js` for every SHEET images, and `photos/ID.webp` of each.

    On all cores, with a progress bar. n: the number of jobs.
    """
    for name in ("thumbs", "layers", "photos"):
        (folder / name).mkdir(parents=True)
    made = workers()(delayed(_pictures)(job, sizes) for job in jobs)
    shown = tqdm(made, total=n, desc="pictures", unit="image", disable=None)
    for number, sheet in enumerate(_sheets(shown)):
        thumbs = Image.new("RGB", (SIDE * sizes.thumbnail, SIDE * sizes.thumbnail))
        for k, each in enumerate(sheet):
            thumbs.paste(each["thumb"], (k % SIDE * sizes.thumbnail, k // SIDE * sizes.thumbnail))
            if each["photograph"]:
                (folder / photograph_of(each["image_id"])).write_bytes(each["photograph"])
        thumbs.save(folder / "thumbs" / f"{number:05d}.webp", quality=sizes.quality)
        write_script(folder, f"layers/{number:05d}", [each["layers"] for each in sheet])


def photograph_of(image_id: int) -> str:
    """An image's photograph, in the report's folder."""
    return f"photos/{image_id}.webp"


def _sheets(made: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    sheet: list[Mapping[str, Any]] = []
    for each in made:
        sheet.append(each)
        if len(sheet) == SHEET:
            yield sheet
            sheet = []
    if sheet:
        yield sheet


def _pictures(job: Job, sizes: Sizes) -> dict[str, Any]:
    picture = thumbnail(job.path, max(sizes.photograph, sizes.thumbnail), job.exif)
    photograph = webp(picture, sizes.quality) if job.photograph else b""
    picture.thumbnail((sizes.thumbnail, sizes.thumbnail))
    return {"image_id": job.image_id, "thumb": picture, "photograph": photograph, "layers": layers(job)}


def layers(job: Job) -> dict[str, Any]:
    """What is laid over one image, as grey PNGs whose levels the page's script paints; and its objects."""
    return {
        "labels": data_url(encode_png(job.labels)),
        "predicted": data_url(job.predicted),
        "loss": data_url(job.loss),
        "objects": list(job.objects),
    }


def heat(values: np.ndarray) -> str:
    """The positive part of a square map (float[H·W]) as a grey PNG, the greatest white."""
    side = int(np.sqrt(len(values)))
    positive = np.maximum(np.asarray(values, float).reshape(side, side), 0)
    return data_url(encode_png((255 * positive / max(positive.max(), 1e-12)).round().astype(np.uint8)))


def data_url(png: bytes) -> str:
    """A PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def webp(picture: Image.Image, quality: int) -> bytes:
    """A picture as WebP; by a method that takes half the time of the usual one, and 2 % more room."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()


def frame_around(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box's surroundings in an image. box: left, top, width, height, in pixels."""
    left, top, wide, tall = box
    margin = 0.35 * max(wide, tall) + 8
    return (
        max(0, int(left - margin)),
        max(0, int(top - margin)),
        min(width, int(left + wide + margin) + 1),
        min(height, int(top + tall + margin) + 1),
    )


def crop(
    path: str, box: Sequence[float], labelled: np.ndarray, predicted: np.ndarray, longest: int, exif: str = "ignore"
) -> tuple[Image.Image, Image.Image]:
    """The surroundings of a box, and a picture of two outlines to lay over it: labelled white, predicted cyan.

    box: left, top, width, height in the photograph's pixels. labelled, predicted: bool masks of any size. exif: as of
    `open_image`.
    """
    width, height = image_size(path, exif)
    frame = frame_around(box, width, height)
    picture = thumbnail(path, max(width, height), exif).crop(frame)
    scale = longest / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    thick = max(1, round(_OUTLINE * longest))
    levels = np.zeros(size[::-1], np.uint8)
    for level, mask in ((1, labelled), (2, predicted)):
        part = np.asarray(Image.fromarray(mask).resize((width, height)).crop(frame).resize(size))
        outer = binary_dilation(part, iterations=thick)
        levels[binary_dilation(outer) & ~outer & (levels == 0)] = 3
        levels[outer & ~part] = level
    outlines = Image.fromarray(levels, "P")
    outlines.putpalette([0, 0, 0, 255, 255, 255, 0, 229, 255, 0, 0, 0])
    outlines.info["transparency"] = bytes([0, 255, 255, 150])
    picture.thumbnail((longest, longest))
    return picture, outlines
