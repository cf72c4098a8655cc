"""From instance masks to one mask of COCO category ids per image. Letters: H × W pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as rle_api

from segscope.artefacts.rle import rle_runs
from segscope.taxonomy import BACKGROUND, IGNORE


def compose_mask(
    instances: Mapping[str, Sequence], height: int, width: int, crowd: str = "include", size: int | None = None
) -> np.ndarray:
    """Paint instances into one uint8 mask: 0 background, 255 ignore, else the category id.

    instances: columns annotation_id, category_id, area (pixels), iscrowd, rle (compressed counts). Crowds are
    painted first, then smaller instances over larger ones, ties by annotation id. `crowd`: `include` paints a
    crowd as its category, `ignore` as 255. The mask is H × W, or with `size` that mask at size × size by nearest
    neighbour (as `resize_mask`), without the detour over all its pixels.
    """
    if size and size > width:  # columns would repeat, and positions among the runs not ascend
        return resize_mask(compose_mask(instances, height, width, crowd), size)
    order, values = _painting(instances, crowd)
    if size is None:
        canvas = np.zeros(width * height, np.uint8)
    else:
        canvas = np.zeros(size * size, np.uint8)
        # Column by column, as runs are.
        positions = (nearest(width, size)[:, None] * height + nearest(height, size)).ravel()
    rles = list(instances["rle"])
    for i in order:
        runs = rle_runs(rles[i])
        if size is not None:
            runs = np.diff(np.searchsorted(positions, np.cumsum(runs)), prepend=0)
        canvas[np.repeat(np.arange(len(runs)) % 2 == 1, runs)] = values[i]
    return canvas.reshape((width, height) if size is None else (size, size)).T


def visible_pixels(instances: Mapping[str, Sequence], height: int, width: int, crowd: str = "include") -> np.ndarray:
    """Pixels of each value in `compose_mask`'s H × W mask: int64[256].

    Found on the run lengths, without a mask: from the last painted to the first, an instance shows where the union
    of those before it grows.
    """
    order, values = _painting(instances, crowd)
    pixels = np.zeros(256, np.int64)
    rles = list(instances["rle"])
    union, covered = None, 0
    for i in reversed(order):
        encoded = {"size": [height, width], "counts": rles[i].encode("ascii")}
        union = encoded if union is None else rle_api.merge([union, encoded])
        area = int(rle_api.area(union))
        pixels[values[i]] += area - covered
        covered = area
    pixels[BACKGROUND] = height * width - covered
    return pixels


def _painting(instances: Mapping[str, Sequence], crowd: str) -> tuple[list[int], np.ndarray]:
    """Positions of the instances in the order they are painted, and the value of each in its own position."""
    iscrowd = np.asarray(instances["iscrowd"], bool)
    order = np.lexsort((instances["annotation_id"], -np.asarray(instances["area"], np.int64), ~iscrowd))
    ignored = iscrowd & (crowd == "ignore")
    return order.tolist(), np.where(ignored, IGNORE, np.asarray(instances["category_id"], np.int64))


def nearest(length: int, size: int) -> np.ndarray:
    """For each of `size` pixels, the one of `length` pixels that its centre falls on: int64[size]."""
    return (2 * np.arange(size) + 1) * length // (2 * size)


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask at size × size, by nearest neighbour."""
    height, width = mask.shape
    return mask[np.ix_(nearest(height, size), nearest(width, size))]
