import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax
from sklearn.metrics import jaccard_score, log_loss

from segscope.errors import SegscopeError
from segscope.evaluation.loss import pixel_loss
from segscope.model.objective import (
    OVERLAP,
    CrossEntropyAndOverlap,
    PixelCrossEntropy,
    PixelLoss,
    SegmentationMetrics,
    class_weights,
)

NAMES = ["background", "person", "car"]


def test_weights_have_mean_one_over_pixels_and_favour_the_rare():
    pixels = np.array([900, 90, 10])
    for scheme, ratio in (("none", 1), ("sqrt_balanced", 3), ("balanced", 9)):
        weights = class_weights(pixels, scheme, NAMES)
        assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1)
        assert weights[2] / weights[1] == pytest.approx(ratio)


def test_a_class_without_pixels_is_an_error():
    with pytest.raises(SegscopeError, match=r"train split has no pixel of class car: choose other images"):
        class_weights(np.array([10, 5, 0]), "none", NAMES)


def test_the_objective_is_weighted_cross_entropy_over_counted_pixels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 4, 4, 3)).astype(np.float32)
    target = rng.integers(0, 3, (1, 4, 4)).astype(np.uint8)
    target[0, 0] = 255
    weights = [0.5, 2.0, 3.0]
    p = tf.nn.softmax(logits).numpy()[target != 255]
    y = target[target != 255]
    w = np.array(weights)[y]
    expected = log_loss(y, p, labels=range(3), sample_weight=w) * w.mean()
    assert float(PixelCrossEntropy(weights)(target, logits)) == pytest.approx(expected, rel=1e-5)


def test_overlap_by_hand():
    """Person found in 3 of 4 pixels and 2 more, no car of 1 found; then no class is shown; then no pixel counts."""
    target = np.zeros((3, 2, 4), np.uint8)
    target[0] = [[1, 1, 1, 1], [2, 0, 0, 255]]
    target[2] = 255
    predicted = np.zeros_like(target)
    predicted[:] = [[1, 1, 1, 0], [1, 1, 0, 2]]
    logits = 100 * np.eye(3, dtype=np.float32)[predicted]
    person, car = (3 + 1) / (6 + 1), (0 + 1) / (1 + 1)
    plain, both = (of([1.0, 1.0, 1.0]).call(target, logits) for of in (PixelCrossEntropy, CrossEntropyAndOverlap))
    expected = [OVERLAP * (1 - (person + car) / 2), 0, 0]
    assert (both - plain).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_loss_is_that_of_the_evaluation():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 8, 8, 3)).astype(np.float32)
    target = rng.integers(0, 3, (5, 8, 8)).astype(np.uint8)
    target[1, :3] = 255
    target[2] = 255
    metric = PixelLoss()
    metric.update_state(target[:2], logits[:2])
    metric.update_state(target[2:], logits[2:])
    expected = np.nanmean(pixel_loss(softmax(logits, axis=-1), target))
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


def test_training_metrics_equal_scikit_learns():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(5, 8, 8, 3)), rng.integers(0, 3, (5, 8, 8))
    target[0][target[0] == 2] = 0
    target[1, :3] = 255
    metric = SegmentationMetrics(NAMES)
    metric.update_state(target[:2], logits[:2])
    metric.update_state(target[2:], logits[2:])
    found = {name: float(value) for name, value in metric.result().items()}
    counted, predicted = target != 255, logits.argmax(-1)
    for k, name in ((1, "person"), (2, "car")):
        expected = jaccard_score(target[counted], predicted[counted], labels=[k], average=None)[0]
        assert found[f"iou_{name}"] == pytest.approx(expected, rel=1e-5)
        images = [
            jaccard_score(t[c], p[c], labels=[k], average=None)[0]
            for t, p, c in zip(target, predicted, counted, strict=True)
            if (t == k).any()
        ]
        assert found[f"mean_iou_{name}"] == pytest.approx(np.mean(images), rel=1e-5)
    assert set(found) == {"iou_person", "iou_car", "mean_iou_person", "mean_iou_car"}
