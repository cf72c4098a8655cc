import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from small import TAXONOMY
from test_metrics import flat, random_case

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.calibration import (
    RELIABILITY_BINS,
    calibration_measures,
    reliability_counts,
    reliability_curve,
)

CLASS_LOOKUP = np.full(256, 255, np.uint8)
CLASS_LOOKUP[:5] = TAXONOMY.class_of_position
CLASSES = TAXONOMY.class_names


def counts_of(probabilities: np.ndarray, target: np.ndarray, **bins: int) -> np.ndarray:
    return reliability_counts(probabilities, probabilities.argmax(-1), target, **bins)


def measures_of(counts: np.ndarray, group: np.ndarray | None = None) -> dict[str, Measure]:
    bootstrap = Bootstrap(np.arange(len(counts)) if group is None else group)
    return {row.measure: row for row in calibration_measures(counts, CLASSES, bootstrap)}


def test_reliability_of_each_predicted_class_equals_scikit_learns():
    probabilities, positions = random_case(3)
    counts = counts_of(probabilities, CLASS_LOOKUP[positions], bins=10)
    true, p = flat(probabilities, positions)
    predicted, confidence = p.argmax(-1), p.max(-1)
    curves, found = reliability_curve(counts, CLASSES), measures_of(counts)
    for k, name in enumerate(CLASSES):
        of = predicted == k
        curve = curves[curves["class"] == name]
        accuracy, mean_confidence = calibration_curve(true[of] == k, confidence[of], n_bins=10)
        assert curve["accuracy"].to_numpy() == pytest.approx(accuracy)
        assert curve["confidence"].to_numpy() == pytest.approx(mean_confidence)
        assert curve["pixels"].sum() == pytest.approx(1)
        if k:
            assert found[f"confidence.{name}"].value == pytest.approx(confidence[of].mean())
            assert found[f"right.{name}"].value == pytest.approx((true[of] == k).mean())
            gap = found[f"gap.{name}"]
            assert gap.value == pytest.approx(confidence[of].mean() - (true[of] == k).mean())
            assert gap.low < gap.value < gap.high
            assert gap.images == 6
            assert 5 < gap.carriers <= 6
    assert len(found) == 7


def test_calibration_by_hand():
    """Four pixels predicted background; four predicted car at 0.6, all right, and one at 0.9, wrong, one ignored."""
    p = np.zeros((1, 10, 1, 3), np.float32)
    p[0, :4] = (0.9, 0.05, 0.05)
    p[0, 4:8] = (0.4, 0, 0.6)
    p[0, 8:] = (0.1, 0, 0.9)
    target = np.array([0, 0, 0, 1, 2, 2, 2, 2, 1, 255], np.uint8).reshape(1, 10, 1)
    counts = counts_of(p, target)
    assert counts.shape == (1, 3, RELIABILITY_BINS, 3)
    assert counts[0, :, :, 0].sum(1).tolist() == [4, 0, 5]
    found = measures_of(counts)
    # Of person, which is never predicted, nothing is said; the background counts nowhere.
    assert set(found) == {"calibration_error", "confidence.car", "right.car", "gap.car"}
    assert found["confidence.car"].value == pytest.approx((4 * 0.6 + 0.9) / 5)
    assert found["right.car"].value == pytest.approx(4 / 5)
    assert found["gap.car"].value == pytest.approx(0.66 - 0.8)
    assert found["calibration_error"].value == pytest.approx(0.14)
    assert np.isnan([end for row in found.values() for end in (row.low, row.high)]).all()  # of one image


def test_an_easy_background_hides_no_overconfident_class():
    counts = np.zeros((40, 3, 1, 3))
    counts[:, 0, 0] = (10_000, 9_990, 9_990)
    counts[:, 1, 0] = (100, 80, 50)
    counts[:, 2, 0] = (10, 7, 8)
    found = measures_of(counts)
    assert found["gap.person"].value == pytest.approx(0.3)
    assert found["gap.car"].value == pytest.approx(-0.1)
    assert found["calibration_error"].value == pytest.approx(np.sqrt((0.3**2 + 0.1**2) / 2))


def simulated(draw: np.random.Generator, images: int, excess: float) -> np.ndarray:
    """Images whose two classes are each too sure by `excess` on the whole, and by chance in each image."""
    counts = np.zeros((images, 3, 1, 3))
    for k, shown in ((1, 0.7), (2, 0.4)):
        pixels = np.round(np.exp(draw.normal(5, 1, images))) * (draw.random(images) < shown)
        confidence = draw.uniform(0.6, 0.85, images)
        right = confidence - excess + draw.normal(0, 0.08, images)
        counts[:, k, 0] = np.stack([pixels, pixels * confidence, pixels * right], -1)
    return counts


@pytest.mark.parametrize("excess", [0, 0.1])
def test_few_images_neither_raise_the_error_nor_spoil_its_interval(excess):
    """Of a calibrated model the plain root mean square of 30 images is far above 0, and its interval never holds 0."""
    draw, values, squares, plain, covered = np.random.default_rng(0), [], [], [], 0
    for _ in range(100):
        found = measures_of(simulated(draw, 30, excess))
        error, gaps = found["calibration_error"], [found[f"gap.{name}"].value for name in TAXONOMY.classes]
        values.append(error.value)
        plain.append(np.sqrt(np.mean(np.square(gaps))))
        squares.append(error.value**2)
        covered += error.low <= excess <= error.high
    assert covered >= 85
    assert np.mean(values) == pytest.approx(excess, abs=0.015)
    if not excess:
        assert np.mean(values) < 0.6 * np.mean(plain)
        assert np.median(values) < 0.01


def test_near_copies_are_one_carrier_and_widen_the_interval():
    draw = np.random.default_rng(0)
    scenes = simulated(draw, 30, 0.1)
    copies = np.repeat(scenes, 10, axis=0)
    group = np.repeat(np.arange(30), 10)
    grouped, single = measures_of(copies, group)["gap.person"], measures_of(scenes)["gap.person"]
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high))
    assert grouped.carriers == pytest.approx(single.carriers)
    naive = measures_of(copies)["gap.person"]
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)


@pytest.mark.parametrize("images", [3, 0])
@pytest.mark.filterwarnings("error")
def test_of_no_counted_pixel_nothing_is_known(images):
    p = np.full((images, 2, 2, 3), 1 / 3, np.float32)
    counts = counts_of(p, np.full((images, 2, 2), 255, np.uint8))
    assert measures_of(counts) == {}
    assert reliability_curve(counts, CLASSES).empty


@pytest.mark.filterwarnings("error")
def test_images_without_a_counted_pixel_count_nowhere():
    probabilities, positions = random_case(3)
    positions[:2] = 255
    found = measures_of(counts_of(probabilities, CLASS_LOOKUP[positions]))
    expected = measures_of(counts_of(probabilities[2:], CLASS_LOOKUP[positions[2:]]))
    for name, row in found.items():
        if name != "calibration_error":  # what chance adds to it is drawn
            assert row.value == pytest.approx(expected[name].value)
        assert row.images == 4


@pytest.mark.filterwarnings("error")
def test_a_class_of_one_image_has_a_value_and_no_interval():
    counts = np.zeros((3, 3, 1, 3))
    counts[:, 1, 0] = (100, 80, 50)
    counts[0, 2, 0] = (10, 8, 8)
    found = measures_of(counts)
    assert found["gap.car"].value == 0
    assert found["gap.car"].carriers == pytest.approx(1)
    assert found["gap.person"].low == pytest.approx(0.3)
    for name in ("gap.car", "calibration_error"):
        assert np.isnan([found[name].low, found[name].high]).all()
