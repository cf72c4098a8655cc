"""From maps of indices to run-length masks. Letters: H × W pixels."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as rle_api
from scipy import ndimage

from segscope.errors import SegscopeError
from segscope.limits import MAX_IMAGE_PIXELS, MAX_OUTLINE, MAX_REGIONS

SPREAD = 16  # times the pixels of the largest image are looked at for its values' components
NEIGHBOURS = np.ones((3, 3))  # pixels that touch at a corner are of one component


def components(values: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The connected components of each value above 0 of an H × W map of whole numbers.

    Returns the map of their numbers (int32, 0 where the value is 0; by value, then by row) and each one's value, from
    number 1 on. Raises SegscopeError if there are too many, or the values are strewn all over.
    """
    flat = values.ravel()
    kinds = np.unique(flat[np.append(True, flat[1:] != flat[:-1])])  # sorts values of runs, not of pixels
    kinds = kinds[kinds > 0]
    if len(kinds) > MAX_REGIONS:
        raise SegscopeError(f"it has more than {MAX_REGIONS} regions")
    # `find_objects` wants small numbers: ranks, 0 of value 0.
    ranks = np.searchsorted(kinds, values, "right").astype(np.int32)
    boxes = ndimage.find_objects(ranks)
    if sum(ranks[box].size for box in boxes) > SPREAD * MAX_IMAGE_PIXELS:
        raise SegscopeError(f"its {len(boxes)} values are strewn all over: it is no mask of classes")
    numbers = np.zeros(values.shape, np.int32)
    of_number: list[int] = []
    for rank, (kind, box) in enumerate(zip(kinds.tolist(), boxes, strict=True), start=1):
        own, n = ndimage.label(ranks[box] == rank, NEIGHBOURS)
        if len(of_number) + n > MAX_REGIONS:
            raise SegscopeError(f"it has more than {MAX_REGIONS} regions")
        numbers[box] += np.where(own, own + len(of_number), 0).astype(np.int32)
        of_number += [kind] * n
    return numbers, of_number


def encode_regions(numbers: np.ndarray) -> dict[int, str]:
    """The `counts` of the compressed RLE of each number in an H × W map, by number.

    Raises SegscopeError if there are too many, or their runs are.
    """
    height, width = numbers.shape
    flat = numbers.T.ravel()  # column by column, as runs are
    starts = np.concatenate(([0], np.flatnonzero(np.diff(flat)) + 1))
    if len(starts) > MAX_OUTLINE:
        raise SegscopeError(f"its regions' outlines are longer than {MAX_OUTLINE} pixels")
    ends = np.append(starts[1:], len(flat))
    order = np.argsort(flat[starts], kind="stable")
    kinds, first = np.unique(flat[starts][order], return_index=True)
    if len(kinds) > MAX_REGIONS:
        raise SegscopeError(f"it has more than {MAX_REGIONS} regions")
    uncompressed = []
    for own in np.split(order, first[1:]):
        edges = np.stack([starts[own], ends[own]], axis=1).ravel()
        runs = np.diff(edges, prepend=0, append=len(flat))
        uncompressed.append({"size": [height, width], "counts": runs[: len(runs) - (runs[-1] == 0)].tolist()})
    encoded = rle_api.frPyObjects(uncompressed, height, width)
    return {int(kind): rle["counts"].decode("ascii") for kind, rle in zip(kinds, encoded, strict=True)}
