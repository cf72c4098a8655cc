"""Speed of the stages' work as ratios to the plainest code that does the same, all in one run.

Uses the photographs that the environment variable COCO_MINI names, or else drawn ones.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from segscope.coco import read_coco
from segscope.images import open_image, resize_image
from segscope.masks import compose_mask, instances_table, resize_mask
from segscope.sources import draw_sample

SIZE = 128
IMAGES = 120


def plain_masks(annotation_file: Path, folder: Path) -> list[np.ndarray]:
    """The straightforward loop: decode, annToMask for each annotation, resize."""
    coco = COCO(str(annotation_file))
    masks = []
    for image_id in sorted(coco.getImgIds())[:IMAGES]:
        row = coco.loadImgs(image_id)[0]
        with Image.open(folder / row["file_name"]) as image:
            image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        annotations = [(a, coco.annToMask(a).astype(bool)) for a in coco.loadAnns(coco.getAnnIds(image_id))]
        mask = np.zeros((row["height"], row["width"]), np.uint8)
        for a, where in sorted(annotations, key=lambda pair: (-pair[0]["iscrowd"], -pair[1].sum(), pair[0]["id"])):
            mask[where] = a["category_id"]
        masks.append(np.asarray(Image.fromarray(mask).resize((SIZE, SIZE), Image.Resampling.NEAREST)))
    return masks


def segscope_masks(annotation_file: Path, folder: Path) -> list[np.ndarray]:
    """The same by segscope's functions."""
    coco = read_coco(annotation_file)
    masks = []
    for row in coco.images[:IMAGES].itertuples():
        resize_image(open_image(folder / row.file_name), SIZE)
        instances = instances_table(coco.annotations[row.image_id], row.height, row.width)
        masks.append(resize_mask(compose_mask(instances, row.height, row.width), SIZE))
    return masks


def timed(work: Callable, *arguments: object) -> tuple[float, object]:
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if root := os.environ.get("COCO_MINI"):
            annotation_file = Path(root) / "annotations" / "instances_val2017.json"
            folder = Path(root) / "val2017"
        else:
            seconds, _ = timed(draw_sample, Path(scratch), {"val": IMAGES}, 0)
            print(f"draw: {IMAGES / seconds:.1f} images/s")
            annotation_file = Path(scratch) / "annotations" / "instances_val.json"
            folder = Path(scratch) / "val"
        ratios = []
        for _ in range(3):
            plain, expected = timed(plain_masks, annotation_file, folder)
            ours, masks = timed(segscope_masks, annotation_file, folder)
            if not all(np.array_equal(a, b) for a, b in zip(expected, masks, strict=True)):
                raise SystemExit("the masks differ: the ratio would compare two different things")
            ratios.append(plain / ours)
        print(f"masks: {len(masks) / ours:.1f} images/s, {np.median(ratios):.2f} times the plain loop's rate")


if __name__ == "__main__":
    main()
