import numpy as np
import pandas as pd
import pytest
from conftest import instances_of, square

from segscope import labels
from segscope.masks import category_classes, compose_mask

SIZE = 64
CLASS_OF = category_classes({"person": [1], "car": [3]})
NAMES = ["background", "person", "car"]


def found(truth: list[tuple[int, int, int, int]], annotated: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    """Suspects where the model sees `truth` (class, left, top, side) and the labels say `annotated` (category, …)."""
    p = np.full((SIZE, SIZE, 3), 0.05, np.float32)
    seen = np.zeros((SIZE, SIZE), int)
    for k, left, top, side in truth:
        seen[top : top + side, left : left + side] = k
    np.put_along_axis(p, seen[..., None], 0.9, -1)
    rows = [
        {"id": i, "image_id": 1, "category_id": c, "segmentation": square(*box)}
        for i, (c, *box) in enumerate(annotated, start=1)
    ]
    instances = instances_of(rows, SIZE, SIZE)
    mask = compose_mask(instances, SIZE, SIZE)
    # The photograph is twice as wide as high: boxes must come back in its pixels.
    own = list(instances.itertuples())
    return labels.suspect_table({1: labels.suspects(p, mask, own, CLASS_OF, NAMES, (SIZE, 2 * SIZE))})


def test_agreement_is_no_suspect():
    assert found([(1, 10, 10, 20)], [(1, 10, 10, 20)]).empty


def test_another_class_is_mislabeled():
    (row,) = found([(1, 10, 12, 20)], [(3, 10, 12, 20)]).itertuples()
    assert (row.kind, row.annotation_id, row.labelled, row.suggested) == ("mislabeled", 1, "car", "person")
    depth = 400 / 76  # a square of 20 pixels a side has 76 on its border
    assert row.depth == pytest.approx(depth)
    assert row.probability == pytest.approx(0.9, rel=1e-4)
    assert row.score == pytest.approx(0.9 * depth / (1 + 0.9 * depth), rel=1e-4)
    assert row.bbox == [20, 12, 40, 20]
    assert row.evidence == "person 90% under the mask, contradicted 5.3 pixels deep"


def test_background_is_ambiguous():
    (row,) = found([], [(3, 10, 10, 20)]).itertuples()
    assert (row.kind, row.labelled, row.suggested) == ("ambiguous", "car", "background")


def test_a_grown_outline_is_inaccurate():
    (row,) = found([(1, 20, 20, 20)], [(1, 14, 14, 32)]).itertuples()
    assert (row.kind, row.annotation_id) == ("inaccurate", 1)
    # Inside the outline, but for its own border of a pixel, 30² - 20² pixels are background.
    assert row.depth == pytest.approx((900 - 400) / (4 * 31))
    assert row.score == pytest.approx(row.depth / (1 + row.depth))


def test_a_shrunk_outline_is_inaccurate():
    table = found([(1, 14, 14, 32)], [(1, 17, 17, 26)])
    (row,) = table[table["annotation_id"] == 1].itertuples()
    assert row.kind == "inaccurate"
    # Outside: 32² - 26² pixels, less the 4 × 26 along the sides and 4 corners that are too far.
    assert row.depth == pytest.approx((32**2 - 26**2 - 4 * 26 - 4) / 100)


def test_another_object_beside_it_does_not_make_an_outline_inaccurate():
    table = found([(1, 4, 20, 20), (1, 24, 20, 30)], [(1, 4, 20, 20)])
    assert table["kind"].tolist() == ["missing"]


def test_an_unlabelled_region_is_missing():
    (row,) = found([(2, 30, 30, 16), (1, 2, 2, 12)], [(1, 2, 2, 12)]).itertuples()
    assert (row.kind, row.suggested, row.bbox) == ("missing", "car", [60, 30, 32, 16])
    assert pd.isna(row.annotation_id)


def test_a_region_over_another_category_is_confusion_not_a_missing_label():
    assert found([(2, 30, 30, 16)], [(6, 30, 30, 16)]).empty


def test_an_excluded_annotation_is_not_judged():
    p = np.full((SIZE, SIZE, 3), 1 / 3, np.float32)
    row = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": square(10, 10, 20)}
    instances = instances_of([row], SIZE, SIZE).assign(category_id=255)
    mask = compose_mask(instances, SIZE, SIZE)
    assert (mask[10:30, 10:30] == 255).all()
    assert labels.suspects(p, mask, list(instances.itertuples()), CLASS_OF, NAMES, (SIZE, SIZE)) == []
