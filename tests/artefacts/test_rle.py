import numpy as np
import pytest
from conftest import coco_document, square
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_api
from pycocotools.coco import COCO

from segscope.artefacts.rle import bbox, decode_rle, encode_rle, rle_runs, segmentation_rle
from segscope.errors import SegscopeError

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
ANNOTATION = {"id": 5, "image_id": 1, "category_id": 1}


def test_all_kinds_of_segmentation_decode_as_pycocotools_does():
    mask = np.zeros((30, 40), bool)
    mask[4:9, 3:20] = mask[12:20, 30:40] = True
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    segmentations = [
        [[1.5, 2.5, 20, 2.5, 20, 17, 3, 12]],
        [*square(2, 3, 9), *square(20, 15, 12)],
        square(-10, -10, 25),
        square(100, 100, 25),
        {"size": [30, 40], "counts": runs},
        {"size": [30, 40], "counts": encode_rle(mask)},
    ]
    reference = COCO()
    reference.dataset = coco_document(
        [IMAGE], [ANNOTATION | {"id": i, "segmentation": s} for i, s in enumerate(segmentations)]
    )
    reference.createIndex()
    for i, segmentation in enumerate(segmentations):
        decoded = decode_rle(segmentation_rle(segmentation, 30, 40), 30, 40)
        assert np.array_equal(decoded, reference.annToMask(reference.anns[i])), segmentation


@settings(max_examples=200)
@given(st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_run_lengths_survive_their_code(height, width, random):
    mask = np.array([[random.random() < 0.4 for _ in range(width)] for _ in range(height)])
    counts = encode_rle(mask)
    assert np.array_equal(decode_rle(counts, height, width), mask)
    assert rle_runs(counts).sum() == height * width


def test_long_runs_survive_their_code():
    mask = np.zeros((5000, 5000), bool)
    mask[2500:, 4999] = True
    assert rle_runs(encode_rle(mask)).tolist() == [5000 * 4999 + 2500, 2500]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "it has no segmentation"),
        ("x", "it has no segmentation"),
        ({"size": [30, 40]}, "its RLE has no counts"),
        ({"size": [3, 4], "counts": [12]}, r"its RLE is of size \[3, 4\], the image \[30, 40\]"),
        ({"size": [30, 40], "counts": [5]}, "its RLE does not cover the image"),
        ({"size": [30, 40], "counts": [1300, -100]}, "its RLE does not cover the image"),
        ({"size": [30, 40], "counts": [2**70]}, "its RLE's counts are not integers"),
        ({"size": [30, 40], "counts": [0.5, 1199.5]}, "its RLE's counts are not integers"),
        ({"size": [30, 40], "counts": ""}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "ä"}, "ordinal not in range"),
        ({"size": [30, 40], "counts": "oooooooooooooooo0"}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "52203"}, "its RLE does not cover the image"),
        ([[1, 1, 5, "x", 9, 9]], "could not convert"),
        ([[1, 1, 5, None, 9, 9]], "coordinates are not numbers within"),
        ([[1, 1, 5, 1e300, 9, 9]], "coordinates are not numbers within"),
        ([[[1, 1], [5, 5], [9, 1]]], "coordinates are not numbers"),
        ([5, 5, 9, 9, 1, 5], "polygons are not lists"),
    ],
)
def test_an_unusable_segmentation_says_why(segmentation, message):
    with pytest.raises(SegscopeError, match=message):
        segmentation_rle(segmentation, 30, 40)


@given(st.text(alphabet=[chr(c) for c in range(48, 112)], max_size=12))
def test_a_code_that_is_taken_decodes_within_the_image(counts):
    try:
        taken = segmentation_rle({"size": [3, 4], "counts": counts}, 3, 4)
    except SegscopeError:
        return
    expected = rle_api.decode({"size": [3, 4], "counts": taken.encode()})
    assert np.array_equal(decode_rle(taken, 3, 4), expected)


@pytest.mark.parametrize("segmentation", [[], [[]], [[1, 1, 2, 2]], square(5, 5, 0)])
def test_a_polygon_of_no_area_is_empty(segmentation):
    assert not decode_rle(segmentation_rle(segmentation, 30, 40), 30, 40).any()


def test_box_of_a_mask():
    mask = np.zeros((6, 8), bool)
    mask[1:3, 4] = mask[2, 5] = True
    assert bbox(mask) == [4, 1, 2, 2]
    assert bbox(np.zeros((3, 4), bool)) == [0, 0, 0, 0]
