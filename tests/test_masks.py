import numpy as np
import pandas as pd
import pytest
from conftest import square
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from segscope.coco import read_coco
from segscope.errors import SegscopeError
from segscope.masks import bbox, category_classes, compose_mask, instances_table, resize_mask


def table(*annotations: dict) -> pd.DataFrame:
    rows = [{"id": i, "image_id": 1, "iscrowd": 0} | a for i, a in enumerate(annotations, start=1)]
    return instances_table(rows, 30, 40)


def test_a_smaller_instance_lies_over_a_larger_one_whatever_the_order():
    large = {"category_id": 3, "segmentation": square(0, 0, 20)}
    small = {"category_id": 1, "segmentation": square(5, 5, 4)}
    expected = np.zeros((30, 40), np.uint8)
    expected[:20, :20] = 3
    expected[5:9, 5:9] = 1
    for order in ((large, small), (small, large)):
        assert np.array_equal(compose_mask(table(*order), 30, 40), expected)


@pytest.mark.parametrize(("crowd", "value"), [("include", 1), ("ignore", 255)])
def test_a_crowd_is_painted_first(crowd, value):
    group = {"category_id": 1, "iscrowd": 1, "segmentation": square(0, 0, 4)}
    single = {"category_id": 3, "segmentation": square(0, 0, 20)}
    assert (compose_mask(table(group, single), 30, 40, crowd) == 255).sum() == 0
    group["segmentation"] = square(20, 0, 10)
    mask = compose_mask(table(group, single), 30, 40, crowd)
    assert np.unique(mask[:10, 20:30]).tolist() == [value]


def test_instances_have_the_area_and_box_of_their_mask():
    row = table({"category_id": 3, "segmentation": square(4, 6, 10)}).iloc[0]
    assert row["area"] == 100
    assert row["bbox"] == [4, 6, 10, 10]


def test_an_image_without_annotations_has_an_empty_mask():
    assert not compose_mask(table(), 30, 40).any()


squares = st.tuples(st.sampled_from([1, 3, 6, 18]), st.integers(-5, 35), st.integers(-5, 25), st.integers(1, 30))


@settings(max_examples=60, deadline=None)
@given(st.lists(squares, max_size=6))
def test_every_pixel_belongs_to_the_smallest_instance_over_it(shapes):
    mask = compose_mask(table(*({"category_id": c, "segmentation": square(*s)} for c, *s in shapes)), 30, 40)
    y, x = np.mgrid[:30, :40]
    expected = np.zeros((30, 40), int)
    covers = [((left <= x) & (x < left + n) & (top <= y) & (y < top + n)) for _, left, top, n in shapes]
    order = sorted(range(len(shapes)), key=lambda i: (-covers[i].sum(), i))
    for i in order:
        expected[covers[i]] = shapes[i][0]
    assert np.array_equal(mask, expected)


def test_masks_of_real_photographs_equal_pycocotools_composition(coco_mini):
    file = coco_mini / "annotations" / "instances_val2017.json"
    reference, split = COCO(str(file)), read_coco(file)
    for row in split.images.itertuples():
        annotations = split.annotations[row.image_id]
        mask = compose_mask(instances_table(annotations, row.height, row.width), row.height, row.width)
        expected = np.zeros_like(mask)
        masks = {a["id"]: reference.annToMask(a).astype(bool) for a in annotations}
        for a in sorted(annotations, key=lambda a: (-a["iscrowd"], -masks[a["id"]].sum(), a["id"])):
            expected[masks[a["id"]]] = a["category_id"]
        assert np.array_equal(mask, expected), row.image_id


def test_resizing_keeps_category_ids():
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 90
    resized = resize_mask(mask, 16)
    assert resized.shape == (16, 16)
    assert np.unique(resized[:, :8]).tolist() == [0]
    assert np.unique(resized[:, 8:]).tolist() == [90]


def test_box_of_an_empty_mask():
    assert bbox(np.zeros((3, 4), bool)) == [0, 0, 0, 0]


def test_categories_map_to_classes_and_ignore_stays():
    lookup = category_classes({"person": [1], "vehicle": [3, 6]})
    assert lookup[[0, 1, 3, 6, 18, 255]].tolist() == [0, 1, 2, 2, 0, 255]


def test_two_classes_cannot_share_a_category():
    with pytest.raises(SegscopeError, match="category 3 belongs to two classes: car and vehicle"):
        category_classes({"car": [3], "vehicle": [3, 6]})
