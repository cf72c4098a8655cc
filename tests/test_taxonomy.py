import numpy as np
import pandas as pd
import pytest
from small import CATEGORIES

from segscope.errors import SegscopeError
from segscope.taxonomy import Taxonomy, resolve_categories


def of(**classes: list[str]) -> Taxonomy:
    return Taxonomy(CATEGORIES, classes)


def test_classes_and_positions_by_hand():
    taxonomy = of(person=["person"], vehicle=["vehicle"])
    assert taxonomy.class_names == ["background", "person", "vehicle"]
    assert taxonomy.category_names == ["unlabelled", "person", "car", "bus", "dog"]
    assert taxonomy.category_ids == {"person": [1], "vehicle": [3, 6]}
    assert taxonomy.class_of_position.tolist() == [0, 1, 2, 2, 0]


def test_mask_values_map_to_classes_and_to_positions_and_ignore_stays():
    taxonomy = of(person=["person"], vehicle=["vehicle"])
    assert taxonomy.class_of_id[[0, 1, 3, 6, 18, 255]].tolist() == [0, 1, 2, 2, 0, 255]
    assert taxonomy.position_of_id[[0, 1, 3, 6, 18, 255]].tolist() == [0, 1, 2, 3, 4, 255]
    known = [1, 3, 6, 18, 255]
    for table in (taxonomy.class_of_id, taxonomy.position_of_id):
        assert (table.shape, table.dtype) == ((256,), np.uint8)
        assert not np.delete(table, known).any()


def test_classes_are_in_the_variants_order():
    taxonomy = of(car=["car"], person=["person"])
    assert taxonomy.class_names == ["background", "car", "person"]
    assert taxonomy.class_of_position.tolist() == [0, 2, 1, 0, 0]


def test_a_class_may_hold_categories_and_super_categories():
    assert of(moving=["person", "vehicle"]).category_ids == {"moving": [1, 3, 6]}


@pytest.mark.parametrize("attribute", ["class_of_id", "class_of_position", "yardsticks"])
def test_two_classes_cannot_claim_one_category(attribute):
    with pytest.raises(SegscopeError, match=r"^variants: category 'car' belongs to two classes: car and vehicle$"):
        getattr(of(car=["car"], vehicle=["vehicle"]), attribute)


def test_a_class_may_name_a_category_beside_its_super_category():
    assert of(vehicle=["vehicle", "car"]).class_of_position.tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize("attribute", ["category_ids", "class_of_id", "class_of_position", "yardsticks"])
def test_an_unknown_name_is_an_error_that_says_what_exists(attribute):
    expected = (
        "variants.truck: 'truck' is neither a category nor a super-category of the data; categories: person, car, "
        "bus, dog; super-categories: person, vehicle, animal"
    )
    with pytest.raises(SegscopeError, match=expected):
        getattr(of(truck=["truck"]), attribute)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("persn", " (did you mean 'person'?)"), ("VEHICLES", " (did you mean 'vehicle'?)"), ("zebra", "")],
)
def test_an_unknown_name_is_told_what_is_spelled_alike(name, hint):
    with pytest.raises(SegscopeError) as error:
        Taxonomy(CATEGORIES, {"mine": [name]}, "variants.own").check()
    assert str(error.value).startswith(
        f"variants.own.mine: {name!r} is neither a category nor a super-category of the data{hint}; categories: person"
    )


def test_names_resolve_to_categories_then_super_categories():
    assert resolve_categories(["person"], CATEGORIES, "") == [1]
    assert resolve_categories(["vehicle", "dog"], CATEGORIES, "") == [3, 6, 18]
    # A category of a super-category's name goes first.
    both = CATEGORIES.assign(name=["person", "car", "vehicle", "dog"])
    assert resolve_categories(["vehicle"], both, "") == [6]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ({"person": ["person"], "car": ["car"]}, {"person": 1, "car": 2, "bus": 2}),
        ({"person": ["person"], "vehicle": ["vehicle"]}, {"person": 1, "car": 2, "bus": 2}),
        # Two classes hold vehicles: each category is measured by its own.
        ({"bus": ["bus"], "car": ["car"]}, {"car": 2, "bus": 1}),
        ({"dog": ["dog"]}, {"dog": 1}),
    ],
)
def test_a_category_is_measured_by_its_class_or_by_that_of_its_kind(classes, expected):
    assert Taxonomy(CATEGORIES, classes).yardsticks == expected


def test_a_category_of_no_class_is_measured_by_the_class_that_holds_car():
    truck = pd.DataFrame({"category_id": [8], "source_id": ["8"], "name": ["truck"], "supercategory": ["vehicle"]})
    four = pd.concat([CATEGORIES, truck], ignore_index=True)
    assert Taxonomy(four, {"bus": ["bus"], "car": ["car"]}).yardsticks == {"car": 2, "bus": 1, "truck": 2}
    assert Taxonomy(four, {"car": ["car"], "bus": ["bus"]}).yardsticks == {"car": 1, "bus": 2, "truck": 1}


def test_in_another_super_category_the_class_that_holds_most_of_it_stands_for_it():
    names = ["dog", "cat", "cow", "horse"]
    animals = pd.DataFrame({"category_id": range(1, 5), "source_id": list("1234"), "name": names})
    taxonomy = Taxonomy(animals.assign(supercategory="animal"), {"dog": ["dog"], "farm": ["cow", "horse"]})
    assert taxonomy.yardsticks == {"dog": 1, "cat": 2, "cow": 2, "horse": 2}
    equal = Taxonomy(animals.assign(supercategory="animal"), {"dog": ["dog"], "farm": ["cow"]})
    assert equal.yardsticks["cat"] == 1


def test_the_largest_category_id_is_told_from_ignore():
    categories = pd.DataFrame({"category_id": [254], "name": ["thing"], "supercategory": ["thing"]})
    taxonomy = Taxonomy(categories, {"thing": ["thing"]})
    assert taxonomy.class_of_id[[253, 254, 255]].tolist() == [0, 1, 255]
