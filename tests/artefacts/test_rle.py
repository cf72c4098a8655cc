import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentations import segmentation_rle

from segscope.artefacts.rle import bbox, decode_rle, encode_rle, rle_runs, without_empty_runs


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


def test_box_of_a_mask():
    mask = np.zeros((6, 8), bool)
    mask[1:3, 4] = mask[2, 5] = True
    assert bbox(mask) == [4, 1, 2, 2]
    assert bbox(np.zeros((3, 4), bool)) == [0, 0, 0, 0]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9).filter(any))
def test_without_empty_runs_the_mask_is_the_same(lengths):
    runs = without_empty_runs(np.array(lengths))
    assert runs[1:].all()
    painted = [np.repeat(np.arange(len(each)) % 2, each).tolist() for each in (lengths, runs)]
    assert painted[0] == painted[1]


@pytest.mark.parametrize("counts", [[0, 0, 0, 0, 5, 7], [5, 0, 0, 7], [0] * 9_001 + [12]])
def test_masks_with_empty_runs_are_merged(counts):
    once = segmentation_rle({"size": [3, 4], "counts": counts}, 3, 4)
    merged = segmentation_rle([{"counts": counts}, {"counts": [12]}], 3, 4)
    assert once == merged
    assert (decode_rle(merged, 3, 4).T.ravel() == np.repeat(np.arange(len(counts)) % 2 == 1, counts)).all()
