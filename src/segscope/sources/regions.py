"""From maps of indices to run-length masks. Letters: H × W pixels."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as rle_api
from scipy import ndimage

NEIGHBOURS = np.ones((3, 3))  # pixels that touch at a corner are of one component


def components(values: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The connected components of each value above 0 of an H × W map of whole numbers.

    Returns the map of their numbers (int32, 0 where the value is 0; by value, then by row) and each one's value, from
    number 1 on.
    """
    flat = values.ravel()
    kinds = np.unique(flat[np.append(True, flat[1:] != flat[:-1])])  # sorts values of runs, not of pixels
    kinds = kinds[kinds > 0]
    # `find_objects` wants small numbers: ranks, 0 of value 0.
    ranks = np.where(values > 0, np.searchsorted(kinds, values) + 1, 0)
    numbers = np.zeros(values.shape, np.int32)
    of_number: list[int] = []
    for rank, (kind, box) in enumerate(zip(kinds.tolist(), ndimage.find_objects(ranks), strict=True), start=1):
        own, n = ndimage.label(ranks[box] == rank, NEIGHBOURS)
        numbers[box] += np.where(own, own + len(of_number), 0).astype(np.int32)
        of_number += [kind] * n
    return numbers, of_number


def encode_regions(numbers: np.ndarray) -> dict[int, str]:
    """The `counts` of the compressed RLE of each number in an H × W map, by number."""
    height, width = numbers.shape
    flat = numbers.T.ravel()  # column by column, as runs are
    starts = np.concatenate(([0], np.flatnonzero(np.diff(flat)) + 1))
    ends = np.append(starts[1:], len(flat))
    order = np.argsort(flat[starts], kind="stable")
    kinds, first = np.unique(flat[starts][order], return_index=True)
    uncompressed = []
    for own in np.split(order, first[1:]):
        edges = np.stack([starts[own], ends[own]], axis=1).ravel()
        runs = np.diff(edges, prepend=0, append=len(flat))
        uncompressed.append({"size": [height, width], "counts": runs[: len(runs) - (runs[-1] == 0)].tolist()})
    encoded = rle_api.frPyObjects(uncompressed, height, width)
    return {int(kind): rle["counts"].decode("ascii") for kind, rle in zip(kinds, encoded, strict=True)}
