from pathlib import Path

import numpy as np
import pytest
from conftest import coco_document, instances_of, square
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from segscope.artefacts.rle import encode_rle
from segscope.labels.masks import compose_mask, nearest, resize_mask, visible_pixels
from segscope.taxonomy import IGNORE


def table(*annotations: dict):
    return instances_of([{"id": i} | a for i, a in enumerate(annotations, start=1)], 30, 40)


def pycocotools_mask(reference: COCO, image_id: int, crowd: str = "include") -> np.ndarray:
    """The composition by pycocotools' decoder and plain painting."""
    image = reference.imgs[image_id]
    expected = np.zeros((image["height"], image["width"]), np.uint8)
    annotations = reference.imgToAnns[image_id]
    masks = {a["id"]: reference.annToMask(a).astype(bool) for a in annotations}
    for a in sorted(annotations, key=lambda a: (-a["iscrowd"], -masks[a["id"]].sum(), a["id"])):
        expected[masks[a["id"]]] = IGNORE if a["iscrowd"] and crowd == "ignore" else a["category_id"]
    return expected


def by_pillow(mask: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


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
    assert compose_mask(table(), 30, 40).shape == (30, 40)
    assert not compose_mask(table(), 30, 40).any()
    assert visible_pixels(table(), 30, 40)[0] == 1200


coordinates = st.one_of(st.integers(-10, 40), st.floats(-10, 40, width=32))
polygons = st.lists(
    st.lists(coordinates, min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0), min_size=1, max_size=3
).filter(lambda polygons: max(abs(v) for p in polygons for v in p) > 2)  # others are taken for fractions


@st.composite
def run_lengths(draw, height: int, width: int) -> dict:
    share = draw(st.floats(0, 1))
    mask = np.random.default_rng(draw(st.integers(0, 99))).random((height, width)) < share
    if draw(st.booleans()):
        return {"size": [height, width], "counts": encode_rle(mask)}
    flat = mask.ravel(order="F")
    counts = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    return {"size": [height, width], "counts": [0, *counts] if flat[0] else counts}


@st.composite
def annotated_images(draw) -> dict:
    height, width = draw(st.integers(1, 33)), draw(st.integers(1, 33))
    segmentation = st.one_of(polygons, run_lengths(height, width))
    annotations = [
        {
            "id": i,
            "image_id": 1,
            "category_id": draw(st.sampled_from([1, 3, 6, 18])),
            "iscrowd": draw(st.sampled_from([0, 0, 1])),
            "segmentation": draw(segmentation),
        }
        for i in range(draw(st.integers(0, 5)))
    ]
    return coco_document([{"id": 1, "file_name": "a.jpg", "height": height, "width": width}], annotations)


@settings(max_examples=300)
@given(annotated_images(), st.sampled_from(["include", "ignore"]))
def test_a_mask_equals_pycocotools_composition(document, crowd):
    reference = COCO()
    reference.dataset = document
    reference.createIndex()
    image = document["images"][0]
    height, width = image["height"], image["width"]
    instances = instances_of(document["annotations"], height, width)
    expected = pycocotools_mask(reference, 1, crowd)
    assert np.array_equal(compose_mask(instances, height, width, crowd), expected)
    assert np.array_equal(visible_pixels(instances, height, width, crowd), np.bincount(expected.ravel(), minlength=256))
    for size in (8, 16, 32, 64):
        small = compose_mask(instances, height, width, crowd, size)
        assert np.array_equal(small, resize_mask(expected, size))
        assert np.array_equal(small, by_pillow(expected, size))


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_masks_of_real_photographs_equal_pycocotools_composition(coco_mini: Path, split: str):
    reference = COCO(str(coco_mini / "annotations" / f"instances_{split}.json"))
    for image_id, image in reference.imgs.items():
        height, width = image["height"], image["width"]
        instances = instances_of(reference.imgToAnns[image_id], height, width)
        for crowd in ("include", "ignore"):
            expected = pycocotools_mask(reference, image_id, crowd)
            assert np.array_equal(compose_mask(instances, height, width, crowd), expected), image_id
            assert np.array_equal(compose_mask(instances, height, width, crowd, 128), by_pillow(expected, 128))
            pixels = np.bincount(expected.ravel(), minlength=256)
            assert np.array_equal(visible_pixels(instances, height, width, crowd), pixels), image_id


@given(st.integers(1, 700), st.sampled_from([32, 64, 96, 128, 160, 256]))
def test_nearest_takes_the_pixel_under_each_centre(length, size):
    assert nearest(length, size).tolist() == [int((i + 0.5) * length / size) for i in range(size)]


def test_resizing_keeps_category_ids():
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 90
    resized = resize_mask(mask, 16)
    assert resized.shape == (16, 16)
    assert np.unique(resized[:, :8]).tolist() == [0]
    assert np.unique(resized[:, 8:]).tolist() == [90]
