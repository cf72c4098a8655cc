import numpy as np
import pytest
from small import TAXONOMY

from segscope.evaluation import confusions
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.merges import Gain, Heads
from segscope.evaluation.predicted import Pixels

CLASS_OF_POSITION = TAXONOMY.class_of_position
CAR = TAXONOMY.class_names.index("car")
BUS, DOG = (TAXONOMY.category_names.index(name) for name in ("bus", "dog"))
EACH = np.arange(10)
GAIN = Gain(0.5, 0.6, 0.05, 0.15, 0.8, 0.81, 30)


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


class Known:
    """Heads whose answer is given."""

    def __init__(self, chosen: list[int], gain: Gain = GAIN):
        self.answer, self.asked = (chosen, gain), []

    def merge(self, own: np.ndarray, candidates: list[int]) -> tuple[list[int], Gain]:
        self.asked.append((own.tolist(), candidates))
        return self.answer


def test_a_candidate_is_taken_far_more_often_than_unlabelled_background(counts):
    bootstrap = Bootstrap(EACH)
    # The dog is taken wholly, but of one image; persons are of another class.
    assert confusions.candidates(counts, CLASS_OF_POSITION, CAR, bootstrap) == [BUS]
    assert confusions.candidates(counts, CLASS_OF_POSITION, 1, bootstrap) == []
    # As many dog pixels in each image: 0.15 of them, against 0.0125 of unlabelled ones.
    counts[:, CAR, DOG], counts[:, 0, DOG] = 3, 17
    assert confusions.candidates(counts, CLASS_OF_POSITION, CAR, bootstrap) == [BUS, DOG]
    # Taken no more than twice as often as unlabelled ones are.
    counts[:, 0, 0], counts[:, CAR, 0] = 90, 10
    assert confusions.candidates(counts, CLASS_OF_POSITION, CAR, bootstrap) == [BUS]


def test_near_copies_make_no_candidate(counts):
    assert confusions.candidates(counts, CLASS_OF_POSITION, CAR, Bootstrap(np.zeros(10, int))) == []
    # The dog's image and its copies are one.
    copies = np.concatenate([counts, np.repeat(counts[:1], 10, axis=0)])
    group = np.concatenate([EACH, np.zeros(10, int)])
    assert DOG in confusions.candidates(copies, CLASS_OF_POSITION, CAR, Bootstrap(np.arange(20)))
    assert DOG not in confusions.candidates(copies, CLASS_OF_POSITION, CAR, Bootstrap(group))


def test_merges_are_estimated_of_the_candidates_alone(counts):
    heads = Known([BUS])
    found = confusions.find_merges(counts, EACH, TAXONOMY, heads)
    assert heads.asked == [([False, False, True, False, False], [BUS])]
    assert found["person"] == {"tried": [], "categories": [], "gain": None}
    assert found["car"] == {"tried": ["bus"], "categories": ["bus"], "gain": GAIN._asdict()}


def test_the_finding_is_stated_in_words(counts):
    merges = confusions.find_merges(counts, EACH, TAXONOMY, Known([BUS]))
    found = confusions.findings(counts, TAXONOMY, EACH, merges, most=2)
    assert list(found) == ["person", "car"]
    assert found["car"]["statement"] == (
        "Pixels wrongly predicted as car are: bus 78%, unlabelled 17%. Taken for car are 81.7% of bus and 1.2% of "
        "unlabelled pixels. Recommended: train bus as car. By linear classifiers of the model's features its IoU, of "
        "all of them together, changes by +0.10 (+0.05 to +0.15), from 0.50 to 0.60, and the share found of what is "
        "car now from 0.80 to 0.81."
    )
    assert found["person"]["statement"] == (
        "Pixels wrongly predicted as person are: unlabelled 100%. Of no category of the background clearly more is "
        "taken for person than of unlabelled pixels."
    )


def test_what_does_not_pay_is_said_with_what_was_tried(counts):
    gain = GAIN._replace(after=0.49, low=-0.05, high=0.03)
    merges = confusions.find_merges(counts, EACH, TAXONOMY, Known([], gain))
    assert confusions.findings(counts, TAXONOMY, EACH, merges)["car"]["statement"].endswith(
        "By linear classifiers of the model's features, training bus as car would change its IoU by -0.01 (-0.05 to "
        "+0.03): not recommended."
    )


def test_a_merge_that_few_images_carry_says_so(counts):
    merges = confusions.find_merges(counts, EACH, TAXONOMY, Known([BUS], GAIN._replace(carriers=7.2)))
    found = confusions.findings(counts, TAXONOMY, EACH, merges)["car"]["statement"]
    assert found.endswith("; fewer than 20 groups of images carry this, too few to trust the interval.")


def test_a_merge_that_val_cannot_judge_says_so(counts):
    """val shows no car; and where all is labelled, none of what was tried is wrongly taken for one."""
    merges = confusions.find_merges(counts, EACH, TAXONOMY, Known([], None))
    found = confusions.findings(counts, TAXONOMY, EACH, merges)["car"]
    assert found["statement"].endswith(
        "Whether it would pay to train bus as car is not known: too few of val's images show car."
    )
    labelled = counts.copy()
    labelled[:, :, 0] = labelled[:, CAR, BUS] = 0
    labelled[:, CAR, DOG] = 5
    found = confusions.findings(labelled, TAXONOMY, EACH, merges)["car"]["statement"]
    assert found.startswith("Pixels wrongly predicted as car are: dog 71%, person 29%. Whether it would pay")


def test_without_merges_nothing_is_said_of_them(counts):
    found = confusions.findings(counts, TAXONOMY, EACH, {})
    assert found["person"]["merge"] is None
    assert found["person"]["statement"] == "Pixels wrongly predicted as person are: unlabelled 100%."


def test_a_merge_that_the_labels_hide_is_found_from_pixels_to_sentence(counts):
    """A model that rejects buses, whose features don't: buses look like cars."""
    counts[:, CAR, BUS], counts[:, 0, BUS] = 10, 90
    many = np.random.default_rng(0).normal(0, 1, (2, 200))
    sides = []
    for seed in (0, 1):
        draw = np.random.default_rng(seed)
        position = draw.choice(5, (40, 60), p=[0.5, 0.1, 0.2, 0.15, 0.05]).astype(np.uint8)
        plane = np.array([[0, 0], [0, 4], [4, 0], [4, 0], [-4, 0]])[position] + draw.normal(0, 1, (40, 60, 2))
        sides.append(Pixels((plane @ many).astype(np.float32), position, np.arange(40)))
    merges = confusions.find_merges(counts, EACH, TAXONOMY, Heads(*sides, np.arange(40)))
    assert merges["car"]["categories"] == ["bus"]
    assert merges["car"]["gain"]["after"] > merges["car"]["gain"]["before"] + 0.2
    assert "Recommended: train bus as car." in confusions.findings(counts, TAXONOMY, EACH, merges)["car"]["statement"]


def test_a_class_that_is_never_wrong_has_no_finding():
    counts = image(background_unlabelled=10, person_person=5, background_car=3)[None]
    assert confusions.findings(counts, TAXONOMY, np.zeros(1), {}) == {}


@pytest.mark.parametrize("images", [0, 3])
@pytest.mark.filterwarnings("error")
def test_images_without_a_counted_pixel_have_no_finding(images):
    counts, group = np.zeros((images, 3, 5), np.int64), np.arange(images)
    merges = confusions.find_merges(counts, group, TAXONOMY, Known([BUS]))
    assert all(merge == {"tried": [], "categories": [], "gain": None} for merge in merges.values())
    assert confusions.findings(counts, TAXONOMY, group, merges) == {}
    assert confusions.confusion_measures({}) == []
    assert confusions.category_table(counts, TAXONOMY).empty


@pytest.mark.filterwarnings("error")
def test_one_image_tells_of_no_candidate_and_no_interval(counts):
    assert confusions.candidates(counts[:1], CLASS_OF_POSITION, CAR, Bootstrap(EACH[:1])) == []
    found = confusions.findings(counts[:1], TAXONOMY, EACH[:1], {})
    taken = found["car"]["categories"]["bus"]
    assert taken["taken"] == pytest.approx(0.8)
    assert np.isnan([taken["low"], taken["high"]]).all()


def test_the_measures_are_the_facts_and_the_gain(counts):
    merges = confusions.find_merges(counts, EACH, TAXONOMY, Known([BUS]))
    rows = {
        row.measure: row for row in confusions.confusion_measures(confusions.findings(counts, TAXONOMY, EACH, merges))
    }
    buses, wrong = 445, 445 + 100 + 20 + 8
    shares = {"car.bus": buses / wrong, "car.unlabelled": 100 / wrong, "car.person": 20 / wrong, "car.dog": 8 / wrong}
    taken = {"car.bus": buses / (buses + 100), "car.unlabelled": 100 / 8150, "car.person": 20 / 520, "car.dog": 1}
    expected = {f"false_positives.{name}": share for name, share in (shares | {"person.unlabelled": 1}).items()}
    expected |= {f"taken.{name}": share for name, share in (taken | {"person.unlabelled": 50 / 8150}).items()}
    assert {name: row.value for name, row in rows.items()} == pytest.approx(expected | {"merge_gain.car": 0.1})
    bus = rows["taken.car.bus"]
    assert bus.low < bus.value < bus.high
    assert 9 < bus.carriers <= 10
    assert rows["taken.car.dog"].carriers == pytest.approx(1)
    gain = rows["merge_gain.car"]
    assert (gain.low, gain.high, gain.carriers) == (0.05, 0.15, 30)


def test_the_table_of_pairs_holds_every_pixel(counts):
    table = confusions.category_table(counts, TAXONOMY)
    assert table["pixels"].sum() == counts.sum()
    assert (table["pixels"] > 0).all()
    by_category = table.groupby("category")["share_of_category"].sum()
    assert by_category.to_numpy() == pytest.approx(np.ones(5))
    row = table[(table["predicted"] == "car") & (table["category"] == "dog")]
    assert row[["pixels", "share_of_category"]].to_numpy().tolist() == [[8, 1]]


def test_where_all_is_labelled_a_candidate_is_taken_more_often_than_the_rest_of_the_background():
    rows = [image(car_car=60, car_bus=40 + i, background_bus=10, background_dog=500 - i, car_dog=3) for i in range(10)]
    counts, bootstrap = np.stack(rows), Bootstrap(EACH)
    assert confusions.candidates(counts, CLASS_OF_POSITION, CAR, bootstrap) == [BUS]
    merges = confusions.find_merges(counts, EACH, TAXONOMY, Known([]))
    said = confusions.findings(counts, TAXONOMY, EACH, merges)["car"]
    assert said["unlabelled_taken"] is None
    assert "unlabelled" not in said["statement"]
    assert "nan" not in said["statement"]
