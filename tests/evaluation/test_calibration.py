import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from small import TAXONOMY
from test_metrics import flat, random_case

from segscope.artefacts.measures import Measure
from segscope.evaluation.calibration import (
    RELIABILITY_BINS,
    calibration_error,
    calibration_measures,
    reliability_counts,
    reliability_curve,
)

CLASS_LOOKUP = np.full(256, 255, np.uint8)
CLASS_LOOKUP[:5] = TAXONOMY.class_of_position


def measures_of(counts: np.ndarray) -> dict[str, Measure]:
    return {row.measure: row for row in calibration_measures(counts)}


def test_reliability_equals_scikit_learns_and_the_error_is_its_weighted_gap():
    probabilities, positions = random_case(3)
    counts = reliability_counts(probabilities, CLASS_LOOKUP[positions], bins=10)
    true, p = flat(probabilities, positions)
    confidence, correct = p.max(-1), p.argmax(-1) == true
    curve = reliability_curve(counts)
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=10)
    assert curve["accuracy"].to_numpy() == pytest.approx(accuracy)
    assert curve["confidence"].to_numpy() == pytest.approx(mean_confidence)
    assert curve["pixels"].sum() == pytest.approx(1)
    assert (curve["accuracy"] * curve["pixels"]).sum() == pytest.approx(correct.mean())
    found = measures_of(counts)
    assert set(found) == {"calibration_error", "confidence"}
    expected = (np.abs(accuracy - mean_confidence) * curve["pixels"]).sum()
    error = found["calibration_error"]
    assert error.value == pytest.approx(expected)
    assert error.low < error.value < error.high
    assert error.images == 6
    assert found["confidence"].value == pytest.approx(confidence.mean())


def test_calibration_by_hand():
    """Four pixels at 0.9, three of them right, one ignored; four at 0.6, all right."""
    p = np.zeros((1, 3, 3, 2), np.float32)
    p[0].reshape(9, 2)[:5] = (0.9, 0.1)
    p[0].reshape(9, 2)[5:] = (0.4, 0.6)
    target = np.array([0, 0, 0, 1, 255, 1, 1, 1, 1], np.uint8).reshape(1, 3, 3)
    counts = reliability_counts(p, target)
    assert counts.shape == (1, RELIABILITY_BINS, 3)
    assert counts.sum(1)[0, 0] == 8
    assert measures_of(counts)["calibration_error"].value == pytest.approx(0.5 * 0.15 + 0.5 * 0.4)
    assert measures_of(counts)["confidence"].value == pytest.approx(0.75)


def test_a_sure_and_right_model_has_no_calibration_error():
    target = np.random.default_rng(0).integers(0, 3, (2, 5, 5)).astype(np.uint8)
    counts = reliability_counts(np.eye(3, dtype=np.float32)[target], target)
    assert calibration_error(counts.sum(0)) == 0
    assert np.isnan(calibration_error(np.zeros((15, 3))))


@pytest.mark.parametrize("images", [3, 0])
@pytest.mark.filterwarnings("error")
def test_of_no_counted_pixel_nothing_is_known(images):
    p = np.full((images, 2, 2, 3), 1 / 3, np.float32)
    counts = reliability_counts(p, np.full((images, 2, 2), 255, np.uint8))
    assert all(np.isnan([row.value, row.low, row.high]).all() for row in calibration_measures(counts))
    assert reliability_curve(counts).empty


@pytest.mark.filterwarnings("error")
def test_images_without_a_counted_pixel_count_nowhere():
    probabilities, positions = random_case(3)
    positions[:2] = 255
    found = measures_of(reliability_counts(probabilities, CLASS_LOOKUP[positions]))
    expected = measures_of(reliability_counts(probabilities[2:], CLASS_LOOKUP[positions[2:]]))
    for name, row in found.items():
        assert row.value == pytest.approx(expected[name].value)
        assert row.images == 4


@pytest.mark.filterwarnings("error")
def test_one_image_has_no_interval():
    probabilities, positions = random_case(3, n=1)
    error = measures_of(reliability_counts(probabilities, CLASS_LOOKUP[positions]))["calibration_error"]
    assert 0 < error.value < 1
    assert np.isnan([error.low, error.high]).all()
