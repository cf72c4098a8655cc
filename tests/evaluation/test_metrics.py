import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, log_loss, recall_score
from small import CATEGORIES, TAXONOMY

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.counts import confusion, iou, outcomes
from segscope.evaluation.loss import level_loss, loss_maps, pixel_loss
from segscope.evaluation.metrics import Ratio, ratio_measures, ratios
from segscope.evaluation.per_image import image_scores, image_table, pixel_counts
from segscope.taxonomy import Taxonomy

CLASS_OF_POSITION = TAXONOMY.class_of_position
YARDSTICKS = {"person": "person", "car": "car", "bus": "car"}


def random_case(seed: int, n: int = 6, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and category positions; each image shows some of the categories, and ignores some pixels."""
    rng = np.random.default_rng(seed)
    shown = rng.random((n, 5)) < 0.7
    shown[:, 0] = True
    positions = np.stack([rng.choice(np.flatnonzero(each), (size, size)) for each in shown]).astype(np.uint8)
    positions[rng.random(positions.shape) < 0.05] = 255
    logits = rng.normal(size=(n, size, size, 3)) + np.eye(3)[CLASS_OF_POSITION[np.minimum(positions, 4)]]
    return softmax(logits, axis=-1).astype(np.float32), positions


def flat(probabilities: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True classes and probabilities of the counted pixels."""
    counted = positions != 255
    return CLASS_OF_POSITION[positions[counted]], probabilities[counted]


def table_of(probabilities: np.ndarray, positions: np.ndarray) -> pd.DataFrame:
    return image_table(probabilities, probabilities.argmax(-1).astype(np.uint8), positions, TAXONOMY)


def found_ratios(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, Ratio]:
    table = table_of(probabilities, positions)
    return ratios(pixel_counts(table, TAXONOMY), table["loss"].to_numpy(), TAXONOMY)


def image_jaccard(probabilities: np.ndarray, positions: np.ndarray, k: int) -> float:
    true, p = flat(probabilities, positions)
    return jaccard_score(true == k, p.argmax(-1) == k)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_metrics_equal_scikit_learns_on_flattened_pixels(seed):
    probabilities, positions = random_case(seed)
    found = found_ratios(probabilities, positions)
    true, p = flat(probabilities, positions)
    predicted = p.argmax(-1)
    expected = {"pixel_accuracy": accuracy_score(true, predicted)}
    each = [flat(*image) for image in zip(probabilities, positions, strict=True)]
    expected["loss"] = np.mean([log_loss(t, q / q.sum(1, keepdims=True), labels=range(3)) for t, q in each])
    for k, name in enumerate(TAXONOMY.classes, start=1):
        if (true == k).any():
            expected[f"iou.{name}"] = jaccard_score(true == k, predicted == k)
            showing = [i for i, (t, _) in enumerate(each) if (t == k).any()]
            assert found[f"mean_iou.{name}"].shown.tolist() == [i in showing for i in range(len(each))]
            values = [image_jaccard(probabilities[i], positions[i], k) for i in showing]
            expected[f"mean_iou.{name}"] = np.mean(values)
    category = positions[positions != 255]
    for name, of in YARDSTICKS.items():
        chosen = category == TAXONOMY.category_names.index(name)
        if chosen.any():
            k = TAXONOMY.class_names.index(of)
            expected[f"recall.{name}"] = recall_score(chosen[chosen], predicted[chosen] == k)
    assert {name: found[name].value() for name in expected} == pytest.approx(expected, rel=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_figures_of_each_image_equal_scikit_learns(seed):
    probabilities, positions = random_case(seed, n=2)
    table = table_of(probabilities, positions)
    matrix = confusion(pixel_counts(table, TAXONOMY), CLASS_OF_POSITION)
    for i, row in table.iterrows():
        true, p = flat(probabilities[i], positions[i])
        predicted = p.argmax(-1)
        assert np.array_equal(matrix[i], confusion_matrix(true, predicted, labels=range(3)).T)
        assert row["loss"] == pytest.approx(log_loss(true, p / p.sum(1, keepdims=True), labels=range(3)), rel=1e-5)
        assert row["pixel_accuracy"] == pytest.approx(accuracy_score(true, predicted))
        assert row["confidence"] == pytest.approx(p.max(-1).mean())
        for k, name in enumerate(TAXONOMY.classes, start=1):
            if (true == k).any() or (predicted == k).any():
                assert row[f"iou.{name}"] == pytest.approx(image_jaccard(probabilities[i], positions[i], k))
            sure = p[predicted == k, k]
            assert row[f"confidence.{name}"] == pytest.approx(sure.mean() if len(sure) else np.nan, nan_ok=True)


def test_dataset_iou_equals_kerass():
    probabilities, positions = random_case(1)
    counts = pixel_counts(table_of(probabilities, positions), TAXONOMY)
    ours = iou(*outcomes(confusion(counts, CLASS_OF_POSITION).sum(0)))
    metric = keras.metrics.MeanIoU(3, ignore_class=255)
    target = np.where(positions == 255, 255, CLASS_OF_POSITION[np.minimum(positions, 4)])
    metric.update_state(target, probabilities.argmax(-1))
    assert ours.mean() == pytest.approx(float(metric.result()), rel=1e-6)


def one_hot_case() -> tuple[np.ndarray, np.ndarray]:
    """Two 2 × 2 images, counted by hand. Positions: 1 person, 2 car, 3 bus."""
    positions = np.array([[[1, 1], [2, 0]], [[1, 3], [3, 255]]], dtype=np.uint8)
    predicted = np.array([[[1, 2], [2, 2]], [[0, 2], [0, 1]]])
    return np.eye(3, dtype=np.float32)[predicted] * 0.8 + 0.1, positions


def test_counts_and_ious_by_hand():
    table = table_of(*one_hot_case())
    counts = pixel_counts(table, TAXONOMY)
    assert counts[0].tolist() == [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 1, 0, 0]]
    assert counts[1].tolist() == [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert table["iou.person"].tolist() == [0.5, 0]
    assert table["iou.car"].tolist() == pytest.approx([1 / 3, 0])


def test_mean_iou_is_over_images_that_show_the_class():
    found = found_ratios(*one_hot_case())
    assert found["mean_iou.person"].value() == pytest.approx(0.25)
    assert found["mean_iou.car"].value() == pytest.approx(1 / 3)  # the second image has no car
    assert found["iou.person"].value() == pytest.approx(1 / 3)
    assert found["iou.car"].value() == pytest.approx(1 / 4)


def test_recall_measures_bus_by_the_class_that_holds_car():
    counts = pixel_counts(table_of(*one_hot_case()), TAXONOMY)
    vehicle = Taxonomy(CATEGORIES, {"person": ["person"], "vehicle": ["car", "bus"]})
    for taxonomy in (TAXONOMY, vehicle):
        found = ratios(counts, np.ones(2), taxonomy)
        recall = {name: ratio.value() for name, ratio in found.items() if name.startswith("recall.")}
        assert recall == pytest.approx({"recall.person": 1 / 3, "recall.car": 1, "recall.bus": 0.5})


def test_the_measures_have_one_name_each_and_count_the_images_they_are_of():
    rows = ratio_measures(found_ratios(*one_hot_case()), Bootstrap(np.arange(2)))
    assert {row.measure: row.images for row in rows} == {
        "loss": 2,
        "pixel_accuracy": 2,
        "iou.person": 2,
        "iou.car": 1,
        "mean_iou.person": 2,
        "mean_iou.car": 1,
        "recall.person": 2,
        "recall.car": 1,
        "recall.bus": 1,
    }


def measures_of(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, Measure]:
    alone = Bootstrap(np.arange(len(positions)))
    return {row.measure: row for row in ratio_measures(found_ratios(probabilities, positions), alone)}


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_every_metric_lies_in_its_interval(seed):
    rows = measures_of(*random_case(seed, n=20))
    assert {name.partition(".")[0] for name in rows} == {"loss", "pixel_accuracy", "iou", "mean_iou", "recall"}
    for row in rows.values():
        assert row.low < row.value < row.high
        assert row.measure == "loss" or 0 <= row.low <= row.high <= 1


@pytest.mark.parametrize("name", ["loss", "iou.person", "mean_iou.car", "recall.bus"])
def test_intervals_are_scipys(name):
    """Images are drawn, each with its sums above and below."""
    case = random_case(5, n=40)
    ratio, row = found_ratios(*case)[name], measures_of(*case)[name]
    other = bootstrap(
        (ratio.above, ratio.below),
        lambda above, below, axis: above.sum(axis) / below.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=5000,
        rng=1,
    ).confidence_interval
    assert (row.low, row.high) == pytest.approx((other.low, other.high), abs=0.1 * (other.high - other.low))


def test_more_images_are_known_better():
    narrow, wide = (measures_of(*random_case(2, n=n)) for n in (200, 20))
    for name in ("loss", "iou.person", "mean_iou.car", "recall.bus"):
        assert narrow[name].high - narrow[name].low < 0.6 * (wide[name].high - wide[name].low)


def test_copies_of_the_images_add_nothing():
    probabilities, positions = random_case(3, n=20)
    once = found_ratios(probabilities, positions)
    often = found_ratios(np.repeat(probabilities, 4, 0), np.repeat(positions, 4, 0))
    group = np.arange(20)
    for a, b in zip(
        ratio_measures(once, Bootstrap(group)), ratio_measures(often, Bootstrap(np.repeat(group, 4))), strict=True
    ):
        figures = [[row.value, row.low, row.high, row.carriers] for row in (a, b)]
        assert figures[1] == pytest.approx(figures[0])
        assert b.images == 4 * a.images


def test_few_images_carry_a_class_that_is_found_in_few():
    """All forty images show persons, but the model finds them in two, most of them in one."""
    counts = np.zeros((40, 3, 5), np.int64)
    counts[:, 0, 1] = 100
    counts[:2, 1, 1] = 90, 10
    rows = {row.measure: row for row in ratio_measures(ratios(counts, np.ones(40), TAXONOMY), Bootstrap(np.arange(40)))}
    assert rows["iou.person"].carriers == pytest.approx(100**2 / (90**2 + 10**2))
    assert rows["iou.person"].images == 40
    assert rows["loss"].carriers == 40
    assert rows["iou.car"].carriers == 0


def one_image_of(category: str, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Images of background, one of which shows the category; the model sees persons and cars everywhere."""
    positions = np.zeros((n, 4, 4), np.uint8)
    positions[0, :2] = TAXONOMY.category_names.index(category)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), positions.shape).astype(np.float32)
    assert set(np.unique(probabilities.argmax(-1))) == {0, 1, 2}
    return probabilities, positions


@pytest.mark.filterwarnings("error")
def test_a_class_that_no_image_shows_has_no_metric():
    rows = measures_of(*one_image_of("person"))
    for name in ("iou.car", "mean_iou.car"):
        assert name not in rows or np.isnan(rows[name].value)
    assert not {"recall.car", "recall.bus", "recall.dog"} & set(rows)
    assert rows["recall.person"].images == 1


@pytest.mark.filterwarnings("error")
def test_what_one_image_shows_has_a_value_but_no_interval():
    rows = measures_of(*one_image_of("bus"))
    assert np.isfinite(rows["recall.bus"].value)
    assert np.isnan([rows["recall.bus"].low, rows["recall.bus"].high]).all()
    for row in measures_of(*random_case(0, n=1)).values():
        assert np.isnan([row.low, row.high]).all()


@pytest.mark.filterwarnings("error")
def test_of_no_counted_pixel_nothing_is_known():
    found = ratios(np.zeros((3, 3, 5), np.int64), np.full(3, np.nan), TAXONOMY)
    assert all(np.isnan(ratio.value()) for ratio in found.values())
    rows = ratio_measures(found, Bootstrap(np.arange(3)))
    assert np.isnan([[row.value, row.low, row.high] for row in rows]).all()
    assert all(row.images == 0 for row in rows)


@pytest.mark.filterwarnings("error")
def test_an_image_without_a_counted_pixel_changes_no_metric():
    probabilities, positions = random_case(7)
    positions[2] = 255
    others = np.arange(6) != 2
    expected = measures_of(probabilities[others], positions[others])
    found = measures_of(probabilities, positions)
    assert {name: row.value for name, row in found.items()} == {name: row.value for name, row in expected.items()}
    assert {name: row.images for name, row in found.items()} == {name: row.images for name, row in expected.items()}


def test_a_class_that_is_nowhere_has_no_iou():
    assert np.isnan(iou(np.array([0]), np.array([0]), np.array([0]))).all()


def test_an_image_of_ignored_pixels_has_no_loss():
    p = np.full((1, 2, 2, 3), 1 / 3, np.float32)
    assert np.isnan(pixel_loss(p, np.full((1, 2, 2), 255, np.uint8))).all()


@pytest.mark.filterwarnings("error")
def test_an_image_of_ignored_pixels_has_no_figures_of_its_labels():
    p = np.random.default_rng(0).dirichlet(np.ones(3), (1, 4, 4)).astype(np.float32)
    table = table_of(p, np.full((1, 4, 4), 255, np.uint8))
    assert table[["loss", "pixel_accuracy", "iou.person", "iou.car"]].isna().all(axis=None)
    assert table[["confidence", "confidence.person"]].isna().all(axis=None)
    assert image_scores(table, TAXONOMY).isna().all(axis=None)


def test_a_map_of_the_loss_is_halved_and_cuts_nothing_off():
    target = np.array([[[0, 1, 255, 255], [0, 1, 255, 255], [2, 2, 0, 255], [2, 2, 255, 255]]], np.uint8)
    p = np.zeros((1, 4, 4, 3), np.float32)
    p[0, :2], p[0, 2:, :2], p[0, 2:, 2:] = (0.5, 0.25, 0.25), (0.1, 0, 0.9), (0, 1, 0)
    (found,) = loss_maps(p, target)
    first = np.mean([np.log(2), np.log(4)])
    # Of the last cell a single pixel counts, and is as wrong as can be.
    assert level_loss(found) == pytest.approx(np.array([[first, 0], [-np.log(0.9), -np.log(1e-12)]]), rel=0.04)
    assert found.dtype == np.uint8


def test_scores_of_an_image_count_a_class_only_where_it_is_shown():
    taxonomy = Taxonomy(CATEGORIES[:2], {"person": ["person"]})
    counts = np.zeros((3, 2, 3), int)  # K = 2 (background, person), C = 3 (unlabelled, person, car)
    counts[0, 1, 1] = 5
    counts[1, 1, 2] = 5  # a car predicted as person: an IoU of 0 of no person
    counts[2, 0, 1] = 5
    table = pd.DataFrame(
        {"loss": [0.1, 0.2, 0.3], "iou.person": [1.0, 0.0, 0.0], "counts": list(counts.reshape(3, -1))}
    )
    scores = image_scores(table, taxonomy)
    assert scores["loss"].tolist() == [0.1, 0.2, 0.3]
    assert scores["iou.person"].fillna(-1).tolist() == [1, -1, 0]
