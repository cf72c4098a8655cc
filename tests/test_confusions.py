import numpy as np
import pytest

from segscope import confusions

CATEGORIES = ["person", "car", "truck", "dog"]
NAMES = ["background", "person", "car"]
CLASS_OF_CATEGORY = np.array([0, 1, 2, 0, 0])  # unlabelled, person, car, truck, dog
PERSON, CAR = 1, 2


def image(**pixels: int) -> np.ndarray:
    """Counts K × C of one image; `car_truck=5`: five truck pixels predicted as car."""
    counts = np.zeros((3, 5), np.int64)
    categories = ["unlabelled", *CATEGORIES]
    for pair, n in pixels.items():
        predicted, category = pair.split("_")
        counts[NAMES.index(predicted), categories.index(category)] = n
    return counts


@pytest.fixture
def counts() -> np.ndarray:
    """Ten images: trucks are mostly taken for car, one dog in one image wholly, persons now and then."""
    rows = []
    for i in range(10):
        row = image(background_unlabelled=800, car_unlabelled=10, car_car=60, background_car=20, car_person=2)
        row += image(car_truck=40 + i, background_truck=10, person_person=50, person_unlabelled=5)
        rows.append(row)
    rows[0] += image(car_dog=8)
    return np.stack(rows)


def test_false_positives_are_counted_by_category(counts):
    found = confusions.false_positives(counts, CLASS_OF_CATEGORY, CAR)
    trucks = sum(range(40, 50))
    total = trucks + 100 + 20 + 8
    assert found["position"].tolist() == [3, 0, 1, 4]
    assert found["pixels"].tolist() == [trucks, 100, 20, 8]
    assert found["share"].to_numpy() == pytest.approx(np.array([trucks, 100, 20, 8]) / total)
    assert found["taken"].to_numpy() == pytest.approx([trucks / (trucks + 100), 100 / 8150, 20 / 520, 1])


def test_the_merge_is_of_what_raises_the_iou_in_more_than_one_image(counts):
    found = confusions.best_merge(counts, CLASS_OF_CATEGORY, CAR, 500, 0)
    trucks = sum(range(40, 50))
    # The dog raises the IoU as well, but is in one image only; unlabelled pixels and persons cannot be merged.
    assert found["positions"] == [3]
    assert found["removes"] == pytest.approx(trucks / (trucks + 128))
    assert found["iou"] == pytest.approx(600 / (600 + 200 + trucks + 128))
    assert found["iou_merged"] == pytest.approx((600 + trucks) / (600 + trucks + 200 + 100 + 128))


def test_a_category_that_is_mostly_missed_is_not_merged(counts):
    counts[:, 0, 3] += 1000
    assert confusions.best_merge(counts, CLASS_OF_CATEGORY, CAR, 500, 0) is None


def test_a_merge_is_what_another_variant_would_measure(counts):
    """The merged IoU equals the IoU of counts in which the category belongs to the class."""
    from segscope import evaluation

    merged = evaluation.confusion(counts, np.array([0, 1, 2, 2, 0])).sum(0)
    expected = evaluation.iou(*(part[CAR] for part in evaluation.outcomes(merged)))
    assert confusions.best_merge(counts, CLASS_OF_CATEGORY, CAR, 500, 0)["iou_merged"] == pytest.approx(expected)


def test_the_finding_is_stated_in_words(counts):
    found = confusions.findings(counts, CLASS_OF_CATEGORY, CATEGORIES, NAMES, 500, 0, most=2)
    assert list(found) == ["person", "car"]
    assert found["car"]["merge"]["categories"] == ["truck"]
    assert found["car"]["statement"] == (
        "Pixels wrongly predicted as car are: truck 78%, unlabelled 17%. Counting truck as car would remove 78% of "
        "them and change its IoU from 0.44 to 0.71."
    )
    assert found["person"]["merge"] is None
    assert "No category of the background would raise its IoU" in found["person"]["statement"]


def test_a_class_that_is_never_wrong_has_no_finding():
    counts = image(background_unlabelled=10, person_person=5, background_car=3)[None]
    assert confusions.findings(counts, CLASS_OF_CATEGORY, CATEGORIES, NAMES, 100, 0) == {}


def test_the_table_of_pairs_holds_every_pixel(counts):
    table = confusions.category_table(counts, CATEGORIES, NAMES)
    assert table["pixels"].sum() == counts.sum()
    assert (table["pixels"] > 0).all()
    by_category = table.groupby("category")["share_of_category"].sum()
    assert by_category.to_numpy() == pytest.approx(np.ones(5))
    row = table[(table["predicted"] == "car") & (table["category"] == "dog")]
    assert row[["pixels", "share_of_category"]].to_numpy().tolist() == [[8, 1]]
