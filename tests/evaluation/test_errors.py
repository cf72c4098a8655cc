import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segscope.evaluation.errors import KINDS, error_counts, error_ratios


def painted(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """A mask 1 × 128 × 128, on which outlines are 2 pixels wide: boxes of class, left, top, width, height."""
    mask = np.zeros((1, 128, 128), np.uint8)
    for k, left, top, width, height in boxes:
        mask[0, top : top + height, left : left + width] = k
    return mask


def kinds(predicted: np.ndarray, target: np.ndarray, k: int = 1) -> dict[str, int]:
    """The kinds of class k's errors in one image, those of any pixels."""
    found = error_counts(predicted, target, 3)[0, k - 1]
    return {kind: int(n) for kind, n in zip(KINDS, found, strict=True) if n}


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 70), st.integers(1, 70), st.integers(2, 4), st.floats(0, 5))
def test_kinds_sum_to_all_wrong_pixels_of_each_image(seed, height, width, classes, smooth):
    rng = np.random.default_rng(seed)
    predicted, target = (
        ndimage.gaussian_filter(rng.normal(size=(3, height, width, classes)), (0, smooth, smooth, 0)).argmax(-1)
        for _ in range(2)
    )
    predicted, target = predicted.astype(np.uint8), target.astype(np.uint8)
    target[rng.random(target.shape) < 0.1] = 255
    found = error_counts(predicted, target, classes)
    assert found.shape == (3, classes - 1, len(KINDS))
    assert (found >= 0).all()
    for k in range(1, classes):
        wrong = ((predicted == k) != (target == k)) & (target != 255)
        assert (found[:, k - 1].sum(1) == wrong.sum((1, 2))).all()


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        (painted((1, 20, 20, 40, 40)), painted((1, 20, 20, 40, 40)), {}),
        # A frame of 2 pixels too much, of 2 too little, of 3 too much, of which one is beyond the band.
        (painted((1, 18, 18, 44, 44)), painted((1, 20, 20, 40, 40)), {"boundary": 44**2 - 40**2}),
        (painted((1, 22, 22, 36, 36)), painted((1, 20, 20, 40, 40)), {"boundary": 40**2 - 36**2}),
        (
            painted((1, 17, 17, 46, 46)),
            painted((1, 20, 20, 40, 40)),
            {"boundary": 44**2 - 40**2, "shape": 46**2 - 44**2},
        ),
        # A missed object is missed with its outline, an extra region is extra wherever it ends.
        (painted(), painted((1, 20, 20, 40, 40)), {"missed": 1600}),
        (painted((1, 20, 20, 40, 40)), painted(), {"extra": 1600}),
        (painted((1, 60, 20, 9, 40)), painted((1, 20, 20, 40, 40)), {"extra": 360, "missed": 1600}),
        # Of 1,600 pixels 160 are found: a tenth is enough, to the left of what is missing.
        (
            painted((1, 20, 20, 4, 40)),
            painted((1, 20, 20, 40, 40)),
            {"boundary": 36 * 40 - 34 * 36, "shape": 34 * 36},
        ),
        (painted((1, 20, 20, 4, 39)), painted((1, 20, 20, 40, 40)), {"missed": 1600 - 156}),
        # An object that is taken for another class: of the class it is, and of the one it is taken for.
        (painted((2, 20, 20, 40, 40)), painted((1, 20, 20, 40, 40)), {"other_class": 1600}),
        (painted((1, 20, 20, 40, 40)), painted((2, 20, 20, 40, 40)), {"other_class": 1600}),
        # A part of it, and a hole.
        (
            painted((1, 20, 20, 40, 40), (2, 30, 30, 10, 10)),
            painted((1, 20, 20, 40, 40)),
            {"other_class": 100},
        ),
        (painted((1, 20, 20, 40, 40), (0, 30, 30, 10, 10)), painted((1, 20, 20, 40, 40)), {"shape": 100}),
        # The picture's edge is no outline.
        (painted((1, 0, 20, 40, 40), (0, 0, 30, 2, 10)), painted((1, 0, 20, 40, 40)), {"shape": 20}),
    ],
)
def test_kinds_of_boxes(predicted, target, expected):
    assert kinds(predicted, target) == expected


def test_regions_are_told_apart():
    # One of two objects is missed; the other's 2 columns on the right are not found.
    target = painted((1, 20, 20, 40, 40), (1, 80, 20, 10, 10))
    assert kinds(painted((1, 20, 20, 38, 40)), target) == {"boundary": 80, "missed": 100}
    # The object of another image is another.
    both = np.concatenate([target, painted((1, 20, 20, 40, 40))])
    found = error_counts(np.concatenate([painted(), painted((1, 20, 20, 40, 40))]), both, 2)
    assert found[:, 0].sum(1).tolist() == [1700, 0]
    assert found[0, 0, KINDS.index("missed")] == 1700


def test_what_is_ignored_is_neither_wrong_nor_an_outline():
    target = painted((1, 20, 20, 40, 40))
    target[:, :, 40:] = 255
    # A column beside the ignored part is not found, and all of that is predicted.
    predicted = painted((1, 20, 20, 40, 40), (0, 38, 24, 2, 32), (1, 40, 0, 88, 128))
    assert kinds(predicted, target) == {"shape": 64}


def test_shares_are_of_sums_over_images():
    counts = np.zeros((3, 2, len(KINDS)), int)
    counts[0, 0], counts[1, 0] = (3, 0, 1, 0, 0), (0, 4, 0, 0, 0)
    found = error_ratios(counts, ["person", "car"])
    assert [found[f"errors.person.{kind}"].value() for kind in KINDS] == [3 / 8, 4 / 8, 1 / 8, 0, 0]
    assert found["errors.person.boundary"].shown.tolist() == [True, True, False]
    assert np.isnan(found["errors.car.boundary"].value())
