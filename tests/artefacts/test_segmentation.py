import base64
import json
import zlib
from contextlib import suppress

import numpy as np
import pytest
from conftest import coco_document, square
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle_api
from pycocotools.coco import COCO
from segmentations import segmentation_rle

from segscope.artefacts.rle import decode_rle, encode_rle
from segscope.artefacts.segmentation import KINDS, read_segmentation
from segscope.errors import SegscopeError

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
ANNOTATION = {"id": 5, "image_id": 1, "category_id": 1}
MASK = np.zeros((30, 40), bool)
MASK[4:9, 3:20] = MASK[12:20, 30:40] = True
RLE = encode_rle(MASK)
RUNS = np.diff([0, *(np.flatnonzero(np.diff(MASK.ravel(order="F"))) + 1), MASK.size]).tolist()
TRIANGLE = [5.0, 5.0, 30.0, 5.0, 5.0, 25.0]
PAIRS = [TRIANGLE[i : i + 2] for i in (0, 2, 4)]
FRACTIONS = [v / (30 if i % 2 else 40) for i, v in enumerate(TRIANGLE)]


def test_all_kinds_of_segmentation_decode_as_pycocotools_does():
    segmentations = [
        [[1.5, 2.5, 20, 2.5, 20, 17, 3, 12]],
        [*square(2, 3, 9), *square(20, 15, 12)],
        square(-10, -10, 25),
        square(100, 100, 25),
        {"size": [30, 40], "counts": RUNS},
        {"size": [30, 40], "counts": RLE},
    ]
    reference = COCO()
    reference.dataset = coco_document(
        [IMAGE], [ANNOTATION | {"id": i, "segmentation": s} for i, s in enumerate(segmentations)]
    )
    reference.createIndex()
    for i, segmentation in enumerate(segmentations):
        decoded = decode_rle(segmentation_rle(segmentation, 30, 40), 30, 40)
        assert np.array_equal(decoded, reference.annToMask(reference.anns[i])), segmentation


@pytest.mark.parametrize(
    ("segmentation", "form"),
    [
        ([TRIANGLE], None),
        ([[str(v) for v in TRIANGLE]], None),
        ([TRIANGLE, [1, 1, 2, 2]], None),
        (TRIANGLE, "one list of numbers"),
        (PAIRS, "pairs of numbers"),
        ([PAIRS], "pairs of numbers"),
        ([FRACTIONS], "fractions of width and height"),
        (FRACTIONS, "fractions of width and height"),
        (json.dumps([TRIANGLE]), "JSON in a string"),
    ],
)
def test_a_polygon_is_read_however_it_is_written(segmentation, form):
    counts, said = read_segmentation(segmentation, 30, 40)
    assert said == form
    expected = rle_api.decode(rle_api.merge(rle_api.frPyObjects([TRIANGLE], 30, 40)))
    assert np.array_equal(decode_rle(counts, 30, 40), expected)


@pytest.mark.parametrize(
    ("segmentation", "form"),
    [
        ({"size": ["30", 40.0], "counts": RLE}, None),
        ({"counts": [float(run) for run in RUNS]}, None),
        ([{"size": [30, 40], "counts": RLE}], "RLE in a list"),
        ([{"size": [30, 40], "counts": RLE}, {"size": [30, 40], "counts": RUNS}], "RLE in a list"),
        ([RUNS], "run lengths in place of a polygon"),
        ({"size": [30, 40], "counts": str(RLE.encode())}, "bytes as text"),
        ({"size": [30, 40], "counts": base64.b64encode(RLE.encode()).decode()}, "base64"),
        ({"size": [30, 40], "counts": base64.b64encode(zlib.compress(RLE.encode())).decode()}, "compressed base64"),
    ],
)
def test_an_rle_is_read_however_it_is_written(segmentation, form):
    counts, said = read_segmentation(segmentation, 30, 40)
    assert said == form
    assert np.array_equal(decode_rle(counts, 30, 40), MASK)


@given(st.lists(st.tuples(st.integers(-4, 42), st.integers(-4, 32), st.integers(6, 9)), min_size=1, max_size=100))
def test_many_polygons_or_codes_cover_what_any_of_them_does(squares):
    polygons = [square(*each)[0] for each in squares]
    codes = rle_api.frPyObjects(polygons, 30, 40)
    covered = rle_api.decode(codes).any(2)
    for written in (polygons, [{"counts": code["counts"].decode()} for code in codes]):
        assert (decode_rle(segmentation_rle(written, 30, 40), 30, 40) == covered).all()


def test_several_polygons_of_pairs_are_one_object():
    other = [[30, 20], [39, 20], [39, 29]]
    together = segmentation_rle([TRIANGLE, [30, 20, 39, 20, 39, 29]], 30, 40)
    assert segmentation_rle([PAIRS, other], 30, 40) == together


def test_fractions_and_pixels_are_the_same_in_an_image_of_one_pixel():
    assert read_segmentation(square(0, 0, 1), 1, 1) == (encode_rle(np.ones((1, 1), bool)), None)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        *((nothing, "it is empty") for nothing in (None, [], {}, "")),
        ("x", "it is neither polygons nor RLE"),
        (7, "it is neither polygons nor RLE"),
        ([[]], "its polygons have fewer than three points"),
        ([[3, 4, 10, 12]], "its polygons have fewer than three points"),
        ([[3, 4], [10, 12]], "its polygons have fewer than three points"),
        ([[1, 1, 5, 9, 9], TRIANGLE], "a polygon has an odd count of numbers"),
        ([[1, 1, 5, "x", 9, 9]], "its coordinates are not numbers: could not convert"),
        ([[1, 1, 5, None, 9, 9]], "its coordinates are not numbers"),
        ([[1, 1, 5, 1e300, 9, 9]], "its coordinates are too large"),
        ([[[1, 1], [5, 5, 5], [9, 1]]], "its coordinates are not numbers: points that are not pairs"),
        ([{"x": 1, "y": 2}], "its RLE is malformed: it has no counts"),
        ({"size": [30, 40]}, "its RLE is malformed: it has no counts"),
        ({"size": 30, "counts": RLE}, "its RLE is malformed: 'int' object is not iterable"),
        ({"size": [40, 30], "counts": RLE}, r"its RLE is of another size than the image: \[40, 30\], not \[30, 40\]"),
        ({"size": [30, 40], "counts": [5]}, "its RLE does not cover the image"),
        ({"size": [30, 40], "counts": [1300, -100]}, "its RLE does not cover the image"),
        ({"size": [30, 40], "counts": [2**70]}, "its RLE does not cover the image"),
        ({"size": [30, 40], "counts": [0.5, 1199.5]}, "its RLE is malformed: counts are not whole numbers"),
        ({"size": [30, 40], "counts": ""}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "ä"}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "b'"}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "oooooooooooooooo0"}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "52203"}, "its RLE does not cover the image"),
    ],
)
def test_an_unusable_segmentation_says_what_is_wrong_with_it(segmentation, message):
    with pytest.raises(SegscopeError, match=f"^{message}") as error:
        segmentation_rle(segmentation, 30, 40)
    assert str(error.value).startswith(tuple(KINDS))


@given(st.text(alphabet=[chr(c) for c in range(48, 112)], max_size=12))
def test_a_code_that_is_taken_decodes_within_the_image(counts):
    try:
        taken = segmentation_rle({"size": [3, 4], "counts": counts}, 3, 4)
    except SegscopeError:
        return
    expected = rle_api.decode({"size": [3, 4], "counts": taken.encode()})
    assert np.array_equal(decode_rle(taken, 3, 4), expected)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts"]), inner),
    max_leaves=20,
)


@given(JSON)
def test_whatever_stands_there_is_read_or_refused(segmentation):
    with suppress(SegscopeError):
        assert decode_rle(segmentation_rle(segmentation, 3, 4), 3, 4).shape == (3, 4)


@pytest.mark.parametrize("points", [300, 3_000])
def test_an_outline_that_costs_gigabytes_is_refused(points):
    """pycocotools takes memory for each pixel of an outline, within the image or not, and crashes for want of it."""
    there_and_back = [[-100_000, 0], [100_000, 1]] * points
    with pytest.raises(SegscopeError, match="its outline is too long"):
        segmentation_rle([np.ravel(there_and_back).tolist()], 10, 10)


def test_a_coordinate_of_hundreds_of_digits_is_too_large():
    with pytest.raises(SegscopeError, match="its coordinates are too large"):
        read_segmentation([[10**400, 1, 5, 1, 5, 5]], 30, 40)
