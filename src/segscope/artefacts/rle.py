"""COCO's run-length encoding of masks: encoding and decoding. Letters: H × W pixels."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as rle


def encode_rle(mask: np.ndarray) -> str:
    """The `counts` of COCO's compressed RLE of a boolean H × W mask."""
    return rle.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def rle_runs(counts: str) -> np.ndarray:
    """Run lengths in pixels (int64, background first, column by column) of a compressed RLE's `counts`.

    The code is pycocotools' (https://github.com/cocodataset/cocoapi, common/maskApi.c, rleToString): five bits a
    character, the sixth continues, the highest bit of the last is the sign; from the fourth number on, differences
    to the last but one. Raises ValueError if the text is no such code.
    """
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its RLE is malformed")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 6:  # pycocotools shifts integers of 32 bits
        raise ValueError("its RLE is malformed")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def without_empty_runs(runs: np.ndarray) -> np.ndarray:
    """The same mask's run lengths (int64), of which only the first may be 0."""
    values, runs = np.arange(len(runs))[runs > 0] % 2, runs[runs > 0]
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    joined = np.add.reduceat(runs, starts)
    return np.concatenate(([0], joined)) if values[0] else joined


def decode_rle(counts: str, height: int, width: int) -> np.ndarray:
    """A compressed RLE as a boolean H × W mask."""
    runs = rle_runs(counts)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def bbox(mask: np.ndarray) -> list[float]:
    """Left, top, width, height in pixels of a boolean mask; zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [0.0, 0.0, 0.0, 0.0]
    left, top = columns[0], rows[0]
    return [float(left), float(top), float(columns[-1] - left + 1), float(rows[-1] - top + 1)]
