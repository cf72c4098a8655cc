"""From an image file and its annotations to a training record and all that is known of the image, in parallel.

What cannot be used is left out and listed, never an exception in the middle of a run: an annotation without the
image losing its others, an image without the run losing the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from joblib import delayed
from PIL import Image
from pycocotools import mask as rle_api

from segscope.artefacts.images import SizeMismatchError, encode_png, open_image, orientation, resize_image
from segscope.artefacts.parallel import workers
from segscope.artefacts.records import example
from segscope.artefacts.schemas import INSTANCES
from segscope.artefacts.segmentation import decode_segmentation
from segscope.artefacts.skipped import skip, skipped_table
from segscope.errors import SegscopeError
from segscope.labels.masks import compose_mask, visible_pixels
from segscope.labels.metadata import PHOTOGRAPHY, content, photography

NARROW = 1 << 14  # of the values of 16 bits: what stays below shows a quarter of the brightness, or less
TURNED, DIM = "turned", "dim"
_SAID = {
    TURNED: "images have an EXIF orientation, which is ignored: if their annotations are of the pictures as they are "
    "shown, not as they are stored, `data.exif: apply` turns them",
    DIM: f"images have values below {NARROW} of the 65536 of 16 bits, such as the 10 or 12 bits of a camera, and look "
    "dark or black: scale them first",
}


class Job(NamedTuple):
    """An image to convert; annotations are rows of annotation_id, category_id, iscrowd, segmentation (JSON)."""

    image_id: int
    path: str
    width: int
    height: int
    annotations: list[dict[str, Any]]


class Reading(NamedTuple):
    """How images and annotations are to be read: params data.image_size, masks.crowd and data.exif."""

    size: int
    crowd: str
    exif: str


class Converted(NamedTuple):
    """What came of an image. record: a serialised tf.train.Example; None if the image cannot be used.

    skipped: rows of `skip`. instances: columns by name. pixels: int64[256], of each value of the mask. odd: what was
    seen that a person should know, as `said_of` has it, and how often.
    """

    image_id: int
    record: bytes | None
    skipped: list[dict[str, Any]]
    instances: dict[str, list] | None = None
    pixels: np.ndarray | None = None
    photography: dict[str, float | bool] | None = None
    odd: Mapping[str, int] = {}


def jobs(images: pd.DataFrame, annotations: pa.Table) -> Iterator[Job]:
    """A job for each image (image_id, path, width, height) with its annotations, which are ordered by image_id."""
    ids = annotations["image_id"].to_numpy()
    starts, ends = (np.searchsorted(ids, images["image_id"], side) for side in ("left", "right"))
    rows = annotations.select(["annotation_id", "category_id", "iscrowd", "segmentation"])
    for image, start, end in zip(images.itertuples(), starts, ends, strict=True):
        yield Job(image.image_id, image.path, image.width, image.height, rows.slice(start, end - start).to_pylist())


def convert_all(jobs: Iterable[Job], reading: Reading) -> Iterator[Converted]:
    """Convert images on all cores, in order.

    Jobs are drawn as they are needed, so that they need not be in memory together.
    """
    yield from workers()(delayed(convert)(job, reading) for job in jobs)


def convert(job: Job, reading: Reading) -> Converted:
    """Convert one image."""
    try:
        image = open_image(job.path, (job.width, job.height), reading.exif)
    except SegscopeError as error:
        reason = "size_mismatch" if isinstance(error, SizeMismatchError) else "unreadable_image"
        return Converted(job.image_id, None, [skip(reason, str(error), job.image_id, None, job.path)])
    instances, skipped, odd = decode_instances(job)
    mask = compose_mask(instances, job.height, job.width, reading.crowd, reading.size)
    picture = resize_image(image, reading.size)
    record = example({"image_id": job.image_id, "image": encode_png(picture), "mask": encode_png(mask)})
    pixels = visible_pixels(instances, job.height, job.width, reading.crowd)
    odd.update(_odd_picture(image, reading.exif))
    return Converted(job.image_id, record, skipped, instances, pixels, photography(image), odd)


def _odd_picture(image: Image.Image, exif: str) -> Iterator[str]:
    if exif == "ignore" and orientation(image) != 1:
        yield TURNED
    if 0xFF < image.info.get("largest", 0) < NARROW:
        yield DIM


def decode_instances(job: Job) -> tuple[dict[str, list], list[dict[str, Any]], Counter[str]]:
    """The image's usable annotations as columns of instances.parquet, what was skipped, and the odd forms of outlines.

    area (pixels) and bbox (left, top, width, height) are those of the mask, not the annotation's own.
    """
    rows, counts, skipped, odd = [], [], [], Counter[str]()
    for row in job.annotations:
        try:
            outline, form = decode_segmentation(row["segmentation"], job.height, job.width)
        except SegscopeError as error:
            skipped.append(skip("bad_segmentation", str(error), job.image_id, row["annotation_id"], job.path))
            continue
        counts.append(outline)
        rows.append(row)
        if form:
            odd[form] += 1
    encoded = [{"size": [job.height, job.width], "counts": c.encode("ascii")} for c in counts]
    areas = rle_api.area(encoded).astype(np.int64).tolist() if rows else []
    boxes = rle_api.toBbox(encoded).tolist() if rows else []
    for row, area in zip(rows, areas, strict=True):
        if not area:
            skipped.append(skip("no_pixels", "its outline covers none", job.image_id, row["annotation_id"], job.path))
    seen = [n for n, area in enumerate(areas) if area]
    return (
        {
            "annotation_id": [rows[n]["annotation_id"] for n in seen],
            "category_id": [rows[n]["category_id"] for n in seen],
            "area": [areas[n] for n in seen],
            "bbox": [boxes[n] for n in seen],
            "iscrowd": [rows[n]["iscrowd"] for n in seen],
            "height": [job.height] * len(seen),
            "width": [job.width] * len(seen),
            "rle": [counts[n] for n in seen],
        },
        skipped,
        odd,
    )


def said_of(odd: Mapping[str, int], split: str, images: int) -> list[str]:
    """What a person should know of a split's images and annotations, in lines."""
    return [
        f"{split}: {n} of {images} {_SAID[what]}" if what in _SAID else f"{split}: {n} segmentations are read as {what}"
        for what, n in sorted(odd.items())
    ]


def tabulate(
    results: Sequence[Converted], images: pd.DataFrame, categories: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows of samples.parquet, of instances.parquet and of `skipped_table` from converted images.

    images: image_id, split, width, height of these and maybe others.
    """
    skipped = skipped_table(row for result in results for row in result.skipped)
    usable = [
        (r.image_id, r.instances, r.pixels, r.photography)
        for r in results
        if r.instances is not None and r.pixels is not None
    ]
    ids, of_image, counts, looks = zip(*usable, strict=True) if usable else ((), (), (), ())
    shown = images.set_index("image_id").loc[list(ids), ["split", "width", "height"]].reset_index()
    columns = [name for name in INSTANCES.names if name not in ("image_id", "split")]
    instances = pd.DataFrame({c: list(chain.from_iterable(each[c] for each in of_image)) for c in columns})
    instances = instances.astype({"category_id": np.int64, "area": np.int64, "iscrowd": bool, "bbox": object})
    of = np.repeat(np.arange(len(usable)), [len(each["area"]) for each in of_image])
    instances = instances.assign(**{c: shown[c].to_numpy()[of] for c in ("image_id", "split")})
    pixels = np.stack(counts) if usable else np.zeros((0, 256), np.int64)
    look = pd.DataFrame(looks, columns=list(PHOTOGRAPHY)).astype(PHOTOGRAPHY)
    samples = pd.concat([shown, look, content(shown, instances, pixels, categories)], axis=1)
    return samples, instances, skipped
