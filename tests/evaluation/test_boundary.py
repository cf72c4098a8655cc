import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segscope.evaluation.boundary import boundary_counts, boundary_ratios


def published(mask: np.ndarray) -> np.ndarray:
    """The published code's `mask_to_boundary`, with scipy's erosion for OpenCV's."""
    erosions = max(1, round(0.02 * np.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    padded = np.pad(mask, 1)
    return mask & ~ndimage.binary_erosion(padded, np.ones((3, 3)), erosions)[1:-1, 1:-1]


def blobs(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Random masks of connected regions."""
    smooth = ndimage.gaussian_filter(rng.normal(size=(*shape, classes)), (0, 4, 4, 0))
    return smooth.argmax(-1).astype(np.uint8)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 150), st.integers(1, 150), st.integers(2, 4))
def test_counts_are_those_of_the_published_code(seed, height, width, classes):
    rng = np.random.default_rng(seed)
    predicted, target = (blobs(rng, (2, height, width), classes) for _ in range(2))
    found = boundary_counts(predicted, target, classes)
    for i in range(2):
        for k in range(1, classes):
            a, b = published(predicted[i] == k), published(target[i] == k)
            assert found[i, k - 1].tolist() == [(a & b).sum(), (a | b).sum()]


def squares(*corners: tuple[int, int, int]) -> np.ndarray:
    """Masks 1 × 100 × 100, whose outlines are 3 pixels wide, of class 1 in squares: left, top, side."""
    mask = np.zeros((1, 100, 100), np.uint8)
    for left, top, side in corners:
        mask[0, top : top + side, left : left + side] = 1
    return mask


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        (squares((20, 20, 40)), squares((20, 20, 40)), [40**2 - 34**2, 40**2 - 34**2]),
        # All of one lies in the other's inside.
        (squares((30, 30, 20)), squares((20, 20, 40)), [0, 20**2 - 14**2 + 40**2 - 34**2]),
        # Another inside, and the outlines fit but for a ring of one pixel.
        (squares((20, 20, 40)), squares((21, 21, 38)), [38**2 - 34**2, 40**2 - 32**2]),
        # The image's edge is an outline.
        (squares((0, 0, 100)), squares((0, 0, 100)), [100**2 - 94**2, 100**2 - 94**2]),
        # A mask as thin as its outline is all outline.
        (squares((50, 50, 6)), squares(), [0, 36]),
        (squares(), squares(), [0, 0]),
    ],
)
def test_counts_of_squares(predicted, target, expected):
    assert boundary_counts(predicted, target, 2).tolist() == [[expected]]


def test_what_is_ignored_bounds_both_masks_and_counts_nowhere():
    target = squares((20, 20, 40))
    target[:, :, 40:] = 255
    same = boundary_counts(squares((20, 20, 40)), target, 2)
    assert same.tolist() == [[[40 * 20 - 34 * 14] * 2]]
    without = squares((20, 20, 40))
    without[:, :, 40:] = 0  # what is predicted there does not matter
    assert (boundary_counts(without, target, 2) == same).all()
    assert not boundary_counts(squares((50, 20, 40)), np.full((1, 100, 100), 255, np.uint8), 2).any()


def test_the_ratio_is_of_sums_over_images():
    counts = np.array([[[1, 4], [0, 2]], [[3, 4], [0, 0]], [[0, 8], [0, 0]]])
    shown = np.array([[True, False], [True, False], [False, False]])
    found = boundary_ratios(counts, shown, ["person", "car"])
    assert found["boundary_iou.person"].value() == 4 / 16
    assert found["boundary_iou.person"].shown.sum() == 2
    # No image shows a car.
    assert np.isnan(found["boundary_iou.car"].value())
