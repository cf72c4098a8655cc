import numpy as np
import pandas as pd
import pytest
from small import CATEGORIES, TAXONOMY

from segscope.evaluation.evaluate import table_ratios
from segscope.evaluation.yardsticks import comparable, image_ious, predicted_as, same_question, yardsticks
from segscope.taxonomy import Taxonomy

VEHICLE = Taxonomy(CATEGORIES, {"person": ["person"], "vehicle": ["vehicle"]})


def predictions(counts: list, classes: int = 2) -> pd.DataFrame:
    """Rows of predictions.parquet of pixels by predicted class × true position (unlabelled, person, car, bus, dog)."""
    n = len(counts)
    return pd.DataFrame(
        {
            "counts": list(np.array(counts).reshape(n, -1)),
            "loss": 0.5,
            "boundary": [[1, 2] * classes] * n,
            "errors": [[1, 0, 0, 0, 0] * classes] * n,
        }
    )


# One image of 10 person, 10 car and 20 bus pixels: the category model takes 5 of the buses' for car, the other all.
OF_CATEGORY = predictions([[[50, 2, 1, 15, 5], [0, 8, 0, 0, 0], [0, 0, 9, 5, 0]]])
OF_VEHICLE = predictions([[[48, 2, 0, 0, 5], [0, 8, 0, 0, 0], [2, 0, 10, 20, 0]]])


def test_yardsticks_are_the_classes_of_either():
    assert yardsticks(TAXONOMY, VEHICLE) == {
        "person": frozenset({"person"}),
        "car": frozenset({"car"}),
        "vehicle": frozenset({"car", "bus"}),
    }
    auto = Taxonomy(CATEGORIES, {"auto": ["car"], "person": ["person"]})
    assert list(yardsticks(TAXONOMY, auto)) == ["person", "car"]
    wider = Taxonomy(CATEGORIES, {"car": ["vehicle"]})
    assert yardsticks(TAXONOMY, wider) == {
        "person": frozenset({"person"}),
        "car of A": frozenset({"car"}),
        "car of B": frozenset({"car", "bus"}),
    }


def test_the_question_is_the_same_if_the_classes_hold_the_same():
    assert same_question(TAXONOMY, Taxonomy(CATEGORIES, {"auto": ["car"], "human": ["person"]}))
    assert not same_question(TAXONOMY, VEHICLE)
    assert predicted_as(TAXONOMY, frozenset({"car", "bus"})) == ["car"]
    assert predicted_as(VEHICLE, frozenset({"car"})) == ["vehicle"]
    assert predicted_as(VEHICLE, frozenset({"dog"})) == []


def test_models_of_other_classes_are_measured_by_the_same_pixels():
    shared = yardsticks(TAXONOMY, VEHICLE)
    a = comparable(OF_CATEGORY, TAXONOMY, VEHICLE, shared)
    b = comparable(OF_VEHICLE, VEHICLE, TAXONOMY, shared)
    assert {name: ratio.value() for name, ratio in a.items()} == {
        "iou.person": 0.8,
        "iou.car": 9 / 15,
        "iou.vehicle": 14 / 30,
        "mean_iou.person": 0.8,
        "mean_iou.car": 9 / 15,
        "mean_iou.vehicle": 14 / 30,
        "boundary_iou.person": 0.5,
        "recall.person": 0.8,
        "recall.car": 0.9,
        "recall.bus": 0.25,
    }
    assert {name: ratio.value() for name, ratio in b.items()} == {
        "iou.person": 0.8,
        "iou.car": 10 / 32,
        "iou.vehicle": 30 / 32,
        "mean_iou.person": 0.8,
        "mean_iou.car": 10 / 32,
        "mean_iou.vehicle": 30 / 32,
        "boundary_iou.person": 0.5,
        "recall.person": 0.8,
        "recall.car": 1,
        "recall.bus": 1,
    }
    # Of loss and pixel accuracy a bus pixel has another target in each.
    assert not {"loss", "pixel_accuracy"} & (set(a) | set(b))


def test_a_yardstick_that_is_a_models_own_class_is_its_metric():
    own = table_ratios(OF_CATEGORY, TAXONOMY)
    same = comparable(OF_CATEGORY, TAXONOMY, TAXONOMY, yardsticks(TAXONOMY, TAXONOMY))
    assert {name: ratio.value() for name, ratio in same.items()} == pytest.approx(
        {name: ratio.value() for name, ratio in own.items()}
    )


def test_recall_is_compared_where_it_is_measured_by_classes_with_something_in_common():
    dogs = Taxonomy(CATEGORIES, {"bus": ["bus"], "dog": ["dog"]})
    table = predictions([[[50, 2, 1, 15, 5], [0, 0, 0, 5, 0], [0, 0, 0, 0, 5]]])
    shared = yardsticks(TAXONOMY, dogs)
    found = comparable(OF_CATEGORY, TAXONOMY, dogs, shared).keys() & comparable(table, dogs, TAXONOMY, shared).keys()
    # Bus is measured by car in the one and by bus in the other.
    assert not {name for name in found if name.startswith("recall")}


def test_an_images_score_is_the_mean_over_the_yardsticks_that_it_shows():
    shared = yardsticks(TAXONOMY, VEHICLE)
    assert image_ious(OF_CATEGORY, TAXONOMY, shared).tolist() == pytest.approx([(0.8 + 9 / 15 + 14 / 30) / 3])
    empty = predictions([[[50, 0, 0, 0, 5], [3, 0, 0, 0, 0], [0, 0, 0, 0, 0]]])
    assert np.isnan(image_ious(empty, TAXONOMY, shared)).all()
    found = comparable(empty, TAXONOMY, VEHICLE, shared)
    assert np.isnan([found["iou.person"].value(), found["mean_iou.vehicle"].value()]).all()
