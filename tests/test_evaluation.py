import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, jaccard_score, log_loss

from segscope import evaluation

CATEGORIES = pd.DataFrame(
    {
        "category_id": [1, 3, 6, 18],
        "name": ["person", "car", "bus", "dog"],
        "supercategory": ["person", "vehicle", "vehicle", "animal"],
    }
)
CLASS_OF_CATEGORY = np.array([0, 1, 2, 0, 0])  # unlabelled, person, car, bus, dog
CLASS_LOOKUP = np.full(256, 255, np.uint8)
CLASS_LOOKUP[:5] = CLASS_OF_CATEGORY
NAMES = ["background", "person", "car"]


def random_case(seed: int, n: int = 6, size: int = 12):
    rng = np.random.default_rng(seed)
    categories = rng.integers(0, 5, (n, size, size)).astype(np.uint8)
    categories[rng.random(categories.shape) < 0.05] = 255
    probabilities = softmax(rng.normal(size=(n, size, size, 3)), axis=-1).astype(np.float32)
    return probabilities, categories


def flat(probabilities, categories):
    counted = categories != 255
    return CLASS_OF_CATEGORY[categories[counted]], probabilities[counted]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_metrics_equal_scikit_learns_on_flattened_pixels(seed):
    probabilities, categories = random_case(seed)
    table = evaluation.image_table(probabilities, categories, CLASS_OF_CATEGORY, NAMES)
    counts = np.stack(table["counts"]).reshape(len(table), 3, 5)
    matrix = evaluation.confusion(counts, CLASS_OF_CATEGORY)
    true, p = flat(probabilities, categories)
    predicted = p.argmax(-1)
    assert np.array_equal(matrix.sum(0), confusion_matrix(true, predicted, labels=range(3)).T)
    metrics = evaluation.split_metrics(matrix, table["loss"].to_numpy(), NAMES, 100, 0)
    for k in (1, 2):
        expected = jaccard_score(true, predicted, labels=[k], average=None)[0]
        assert metrics["iou"][NAMES[k]] == pytest.approx(expected)
    assert metrics["pixel_accuracy"] == pytest.approx((true == predicted).mean())
    for i, row in table.iterrows():
        true, p = flat(probabilities[i], categories[i])
        assert row["loss"] == pytest.approx(log_loss(true, p, labels=range(3)), rel=1e-5)
        assert row["iou.car"] == pytest.approx(jaccard_score(true, p.argmax(-1), labels=[2], average=None)[0])
        assert row["pixel_accuracy"] == pytest.approx((true == p.argmax(-1)).mean())


def test_dataset_iou_equals_kerass():
    probabilities, categories = random_case(1)
    table = evaluation.image_table(probabilities, categories, CLASS_OF_CATEGORY, NAMES)
    matrix = evaluation.confusion(np.stack(table["counts"]).reshape(len(table), 3, 5), CLASS_OF_CATEGORY)
    ours = evaluation.iou(*evaluation.outcomes(matrix.sum(0)))
    metric = keras.metrics.MeanIoU(3, ignore_class=255)
    target = np.where(categories == 255, 255, CLASS_OF_CATEGORY[np.minimum(categories, 4)])
    metric.update_state(target, probabilities.argmax(-1))
    assert ours.mean() == pytest.approx(float(metric.result()), rel=1e-6)


def one_hot_case():
    """Two 2 × 2 images, counted by hand. Categories: 1 person, 2 car, 3 bus."""
    categories = np.array([[[1, 1], [2, 0]], [[1, 3], [3, 255]]], dtype=np.uint8)
    predicted = np.array([[[1, 2], [2, 2]], [[0, 2], [0, 1]]])
    return np.eye(3, dtype=np.float32)[predicted] * 0.8 + 0.1, categories


def test_counts_and_ious_by_hand():
    table = evaluation.image_table(*one_hot_case(), CLASS_OF_CATEGORY, NAMES)
    counts = np.stack(table["counts"]).reshape(2, 3, 5)
    assert counts[0].tolist() == [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 1, 0, 0]]
    assert counts[1].tolist() == [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert table["iou.person"].tolist() == [0.5, 0]
    assert table["iou.car"].tolist() == pytest.approx([1 / 3, 0])


def test_mean_iou_is_over_images_that_show_the_class():
    table = evaluation.image_table(*one_hot_case(), CLASS_OF_CATEGORY, NAMES)
    matrix = evaluation.confusion(np.stack(table["counts"]).reshape(2, 3, 5), CLASS_OF_CATEGORY)
    metrics = evaluation.split_metrics(matrix, np.ones(2), NAMES, 200, 0)
    assert metrics["mean_iou"]["person"] == pytest.approx(0.25)
    assert metrics["mean_iou"]["car"] == pytest.approx(1 / 3)  # the second image has no car
    assert metrics["iou"]["person"] == pytest.approx(1 / 3)
    assert metrics["iou"]["car"] == pytest.approx(1 / 4)


def test_recall_measures_bus_by_the_class_that_holds_car():
    table = evaluation.image_table(*one_hot_case(), CLASS_OF_CATEGORY, NAMES)
    counts = np.stack(table["counts"]).reshape(2, 3, 5).sum(0)
    recall = evaluation.category_recall(counts, CATEGORIES, CLASS_OF_CATEGORY)
    assert recall == pytest.approx({"person": 1 / 3, "car": 1.0, "bus": 0.5})
    vehicle = np.array([0, 1, 2, 2, 0])
    assert evaluation.category_recall(counts, CATEGORIES, vehicle) == pytest.approx(recall)


def test_a_class_that_is_nowhere_has_no_iou():
    assert np.isnan(evaluation.iou(np.array([0]), np.array([0]), np.array([0]))).all()


def test_an_image_of_ignored_pixels_has_no_loss():
    p = np.full((1, 2, 2, 3), 1 / 3, np.float32)
    assert np.isnan(evaluation.pixel_loss(p, np.full((1, 2, 2), 255, np.uint8))).all()


def test_the_bootstrap_interval_covers_a_known_mean():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = rng.normal(size=60)
        weights = evaluation.bootstrap_weights(60, 400, seed)
        low, high = evaluation.interval(weights @ values / 60)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_reliability_equals_scikit_learns_and_the_error_is_its_weighted_gap():
    probabilities, categories = random_case(3)
    target = CLASS_LOOKUP[categories]
    counts = evaluation.reliability_counts(probabilities, target, bins=10)
    true, p = flat(probabilities, categories)
    confidence, correct = p.max(-1), p.argmax(-1) == true
    curve = evaluation.reliability_curve(counts)
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=10)
    assert curve["accuracy"].to_numpy() == pytest.approx(accuracy)
    assert curve["confidence"].to_numpy() == pytest.approx(mean_confidence)
    expected = (np.abs(accuracy - mean_confidence) * curve["pixels"]).sum()
    found = evaluation.calibration(counts, 200, 0)
    assert found["ece"] == pytest.approx(expected)
    assert found["ece_low"] <= found["ece_high"]
    assert found["accuracy"] == pytest.approx(correct.mean())
    assert found["confidence"] == pytest.approx(confidence.mean())


def test_calibration_by_hand():
    """Four pixels at 0.9, three of them right, one ignored; four at 0.6, all right."""
    p = np.zeros((1, 3, 3, 2), np.float32)
    p[0].reshape(9, 2)[:5] = (0.9, 0.1)
    p[0].reshape(9, 2)[5:] = (0.4, 0.6)
    target = np.array([0, 0, 0, 1, 255, 1, 1, 1, 1], np.uint8).reshape(1, 3, 3)
    counts = evaluation.reliability_counts(p, target)
    assert counts.sum(1)[0, 0] == 8
    assert evaluation.calibration(counts, 100, 0)["ece"] == pytest.approx(0.5 * 0.15 + 0.5 * 0.4)


def test_a_sure_and_right_model_has_no_calibration_error():
    target = np.random.default_rng(0).integers(0, 3, (2, 5, 5)).astype(np.uint8)
    counts = evaluation.reliability_counts(np.eye(3, dtype=np.float32)[target], target)
    assert evaluation.calibration_error(counts.sum(0)) == 0
    assert np.isnan(evaluation.calibration_error(np.zeros((15, 3))))


def test_scores_of_an_image_count_a_class_only_where_it_is_shown():
    counts = np.zeros((3, 2, 3), int)  # K = 2 (background, person), C = 3 (unlabelled, person, car)
    counts[0, 1, 1] = 5
    counts[1, 1, 2] = 5  # a car predicted as person: an IoU of 0 of no person
    counts[2, 0, 1] = 5
    table = pd.DataFrame(
        {"loss": [0.1, 0.2, 0.3], "iou.person": [1.0, 0.0, 0.0], "counts": list(counts.reshape(3, -1))}
    )
    scores = evaluation.image_scores(table, ["person"], np.array([0, 1, 0]))
    assert scores["loss"].tolist() == [0.1, 0.2, 0.3]
    assert scores["iou.person"].fillna(-1).tolist() == [1, -1, 0]
