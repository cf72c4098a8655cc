"""Outlines of any form as run lengths."""

from segscope.artefacts.segmentation import read_segmentation


def segmentation_rle(segmentation: object, height: int, width: int) -> str:
    """`read_segmentation`'s `counts` alone."""
    return read_segmentation(segmentation, height, width)[0]
