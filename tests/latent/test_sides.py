import pandas as pd
import pytest
from small import CATEGORIES, TAXONOMY

from segscope.latent.sides import heavy_groups, kinds, sides
from segscope.taxonomy import Taxonomy

ANIMALS = pd.DataFrame(
    {
        "category_id": [1, 2, 3],
        "source_id": ["1", "2", "3"],
        "name": ["cat", "dog", "cow"],
        "supercategory": ["animal"] * 3,
    }
)


def test_persons_against_vehicles_by_hand():
    samples = pd.DataFrame(
        {"share.person": [0.2, 0.01, 0.04, 0.1, 0.0], "share.super.vehicle": [0.1, 0.3, 0.0, 0.06, 0.0]}
    )
    two = sides(samples, TAXONOMY)
    assert [side.name for side in two] == ["person", "vehicle"]
    assert heavy_groups(samples, two).tolist() == [1, 0, -1, -1, -1]


@pytest.mark.parametrize(
    "classes", [{"human": ["person"], "big": ["bus"]}, {"person": ["person"], "auto": ["vehicle"]}]
)
def test_classes_of_persons_and_of_vehicles_are_told_apart_by_all_of_them(classes):
    two = sides(pd.DataFrame({"share.person": [1.0]}), Taxonomy(CATEGORIES, classes))
    assert [(side.name, side.columns) for side in two] == [
        ("person", ["share.person"]),
        ("vehicle", ["share.super.vehicle"]),
    ]


def test_of_other_classes_the_two_that_most_images_have_much_of():
    samples = pd.DataFrame(
        {"share.cat": [0.5, 0.04, 0.0, 0.0], "share.dog": [0.0, 0.3, 0.3, 0.0], "share.cow": [0.1, 0.0, 0.1, 0.8]}
    )
    two = sides(samples, Taxonomy(ANIMALS, {"cat": ["cat"], "dog": ["dog"], "cattle": ["cow"]}))
    assert [side.name for side in two] == ["cattle", "dog"]
    assert heavy_groups(samples, two).tolist() == [1, 0, 0, 1]
    equal = sides(samples, Taxonomy(ANIMALS, {"pet": ["cat", "dog"], "cattle": ["cow"]}))
    assert [side.name for side in equal] == ["pet", "cattle"]
    assert heavy_groups(samples, equal).tolist() == [1, 1, 1, 0]


def test_a_variant_of_one_class_has_no_sides():
    samples = pd.DataFrame({"share.cat": [0.5, 0.0]})
    assert sides(samples, Taxonomy(ANIMALS, {"cat": ["cat"]})) == []
    assert heavy_groups(samples, []).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("dominant", "shares", "expected", "word"),
    [
        (["animal", "vehicle", "none"], [[1, 0, 0]] * 3, ["animal", "vehicle", "none"], "super-category"),
        (["animal", "animal", "none"], [[0.2, 0.1, 0], [0, 0, 0.1], [0, 0, 0]], ["cat", "cow", "none"], "category"),
        (["animal", "animal", "none"], [[0.2, 0.1, 0], [0.3, 0, 0.1], [0, 0, 0]], ["none"] * 3, ""),
    ],
)
def test_images_are_of_super_categories_or_of_categories_or_of_no_kind(dominant, shares, expected, word):
    samples = pd.DataFrame(shares, columns=["share.cat", "share.dog", "share.cow"]).assign(dominant=dominant)
    found, what = kinds(samples, ANIMALS)
    assert (found.tolist(), what) == (expected, word)
