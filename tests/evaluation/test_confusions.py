import numpy as np
import pytest
from small import CATEGORIES, TAXONOMY

from segscope.evaluation import confusions
from segscope.evaluation.counts import confusion, iou, outcomes
from segscope.taxonomy import Taxonomy

CLASS_OF_POSITION = TAXONOMY.class_of_position
CAR = TAXONOMY.class_names.index("car")
BUS = TAXONOMY.category_names.index("bus")


def image(**pixels: int) -> np.ndarray:
    """Counts K × C of one image; `car_bus=5`: five bus pixels predicted as car."""
    counts = np.zeros((3, 5), np.int64)
    for pair, n in pixels.items():
        predicted, category = pair.split("_")
        counts[TAXONOMY.class_names.index(predicted), TAXONOMY.category_names.index(category)] = n
    return counts


@pytest.fixture
def counts() -> np.ndarray:
    """Ten images: buses are mostly taken for car, one dog in one image wholly, persons now and then."""
    rows = []
    for i in range(10):
        row = image(background_unlabelled=800, car_unlabelled=10, car_car=60, background_car=20, car_person=2)
        row += image(car_bus=40 + i, background_bus=10, person_person=50, person_unlabelled=5)
        rows.append(row)
    rows[0] += image(car_dog=8)
    return np.stack(rows)


def test_false_positives_are_counted_by_category(counts):
    found = confusions.false_positives(counts, CLASS_OF_POSITION, CAR)
    buses = sum(range(40, 50))
    total = buses + 100 + 20 + 8
    assert found["position"].tolist() == [BUS, 0, 1, 4]
    assert found["pixels"].tolist() == [buses, 100, 20, 8]
    assert found["share"].to_numpy() == pytest.approx(np.array([buses, 100, 20, 8]) / total)
    assert found["taken"].to_numpy() == pytest.approx([buses / (buses + 100), 100 / 8150, 20 / 520, 1])


def test_the_merge_is_of_what_raises_the_iou_in_more_than_one_image(counts):
    found = confusions.best_merge(counts, CLASS_OF_POSITION, CAR)
    buses = sum(range(40, 50))
    # The dog raises the IoU as well, but is in one image only; unlabelled pixels and persons cannot be merged.
    assert found["positions"] == [BUS]
    assert found["removes"] == pytest.approx(buses / (buses + 128))
    assert found["iou"] == pytest.approx(600 / (600 + 200 + buses + 128))
    assert found["iou_merged"] == pytest.approx((600 + buses) / (600 + buses + 200 + 100 + 128))


def test_a_category_that_is_mostly_missed_is_not_merged(counts):
    counts[:, 0, BUS] += 1000
    assert confusions.best_merge(counts, CLASS_OF_POSITION, CAR) is None


def test_a_merge_is_what_another_variant_would_measure(counts):
    """The merged IoU equals the IoU of counts in which the category belongs to the class."""
    merged = Taxonomy(CATEGORIES, {"person": ["person"], "car": ["car", "bus"]})
    matrix = confusion(counts, merged.class_of_position).sum(0)
    expected = iou(*(part[CAR] for part in outcomes(matrix)))
    assert confusions.best_merge(counts, CLASS_OF_POSITION, CAR)["iou_merged"] == pytest.approx(expected)


def test_the_finding_is_stated_in_words(counts):
    found = confusions.findings(counts, TAXONOMY, most=2)
    assert list(found) == ["person", "car"]
    assert found["car"]["merge"]["categories"] == ["bus"]
    assert found["car"]["statement"] == (
        "Pixels wrongly predicted as car are: bus 78%, unlabelled 17%. Counting bus as car would remove 78% of "
        "them and change its IoU from 0.44 to 0.71."
    )
    assert found["person"]["merge"] is None
    assert "No category of the background would raise its IoU" in found["person"]["statement"]


def test_a_class_that_is_never_wrong_has_no_finding():
    counts = image(background_unlabelled=10, person_person=5, background_car=3)[None]
    assert confusions.findings(counts, TAXONOMY) == {}


@pytest.mark.parametrize("images", [0, 3])
@pytest.mark.filterwarnings("error")
def test_images_without_a_counted_pixel_have_no_finding(images):
    counts = np.zeros((images, 3, 5), np.int64)
    assert confusions.findings(counts, TAXONOMY) == {}
    assert confusions.confusion_measures({}) == []
    assert confusions.category_table(counts, TAXONOMY).empty


@pytest.mark.filterwarnings("error")
def test_one_image_tells_of_no_merge(counts):
    """No interval can be drawn from one image: that the rise is above 0 is unknown."""
    assert confusions.best_merge(counts[:1], CLASS_OF_POSITION, CAR) is None


def test_the_measures_are_the_shares_of_the_false_positives(counts):
    found = confusions.findings(counts, TAXONOMY)
    rows = {row.measure: row.value for row in confusions.confusion_measures(found)}
    buses, wrong = 445, 445 + 100 + 20 + 8
    expected = {"car.bus": buses / wrong, "car.unlabelled": 100 / wrong, "car.person": 20 / wrong, "car.dog": 8 / wrong}
    expected |= {"person.unlabelled": 1}
    assert rows == pytest.approx({f"false_positives.{subject}": share for subject, share in expected.items()})


def test_the_table_of_pairs_holds_every_pixel(counts):
    table = confusions.category_table(counts, TAXONOMY)
    assert table["pixels"].sum() == counts.sum()
    assert (table["pixels"] > 0).all()
    by_category = table.groupby("category")["share_of_category"].sum()
    assert by_category.to_numpy() == pytest.approx(np.ones(5))
    row = table[(table["predicted"] == "car") & (table["category"] == "dog")]
    assert row[["pixels", "share_of_category"]].to_numpy().tolist() == [[8, 1]]
