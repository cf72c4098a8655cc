from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import instances_of, square
from small import TAXONOMY

from segscope.artefacts.measures import Measures, measure_table
from segscope.artefacts.rle import encode_rle
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.errors import KINDS, error_counts
from segscope.evaluation.objects import ObjectFinder, object_measures, object_table, objects
from segscope.evaluation.predicted import Known, Predicted
from segscope.labels.masks import compose_mask
from segscope.report.objects import cells, described, found_rows

SIZE = 64
Squares = list[tuple[int, int, int, int]]


def labels(annotated: Squares, crowds: int = 0) -> pd.DataFrame:
    """Instances of squares: category, left, top, side; the first are crowds."""
    rows = [
        {"id": i, "category_id": c, "segmentation": square(*box), "iscrowd": int(i < crowds)}
        for i, (c, *box) in enumerate(annotated)
    ]
    return instances_of(rows, SIZE, SIZE).assign(image_id=1)


def with_classes(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return p, p.argmax(-1)


def seen(truth: Squares) -> np.ndarray:
    """Probabilities of a model that sees squares: class, left, top, side; the later over the earlier."""
    classes = np.zeros((SIZE, SIZE), int)
    for k, left, top, side in truth:
        classes[top : top + side, left : left + side] = k
    p = np.full((SIZE, SIZE, 3), 0.1, np.float32)
    np.put_along_axis(p, classes[..., None], 0.8, -1)
    return p


def found(truth: Squares, annotated: Squares) -> pd.DataFrame:
    instances = labels(annotated)
    mask = compose_mask(instances, SIZE, SIZE)
    rows = objects(*with_classes(seen(truth)), mask, list(instances.itertuples()), TAXONOMY.class_of_id)
    return pd.DataFrame(rows)


def test_an_annotation_has_the_recall_and_iou_of_what_covers_it():
    (row,) = found([(1, 10, 10, 20)], [(1, 10, 20, 20)]).itertuples()
    assert (row.annotation_id, row.category_id, row.k, row.crowd, row.area) == (0, 1, 1, False, 400)
    assert (row.recall, row.iou) == (0.5, 200 / 600)
    assert row.probability == pytest.approx((0.8 + 0.1) / 2)
    assert row.bbox == [10, 20, 20, 20]


def test_regions_elsewhere_are_none_of_an_annotation():
    table = found([(1, 10, 10, 20), (1, 40, 40, 10)], [(1, 10, 10, 20)])
    assert table["iou"].tolist()[:1] == [1]
    extra = table.iloc[1]
    assert extra[["annotation_id", "category_id", "recall", "iou"]].isna().all()
    assert (extra["k"], extra["area"], extra["bbox"]) == (1, 100, [40, 40, 10, 10])
    assert extra["probability"] == pytest.approx(0.8)


def test_a_region_of_which_a_tenth_is_labelled_is_not_extra():
    assert len(found([(1, 10, 10, 20)], [(1, 10, 28, 20)])) == 1  # 2 rows of 20
    assert len(found([(1, 10, 10, 20)], [(1, 10, 29, 20)])) == 2


def test_a_neighbour_in_the_same_region_is_not_held_against_an_annotation():
    # Two people side by side, seen as one, and 8 rows too many: 20 × 8 wrong pixels below each.
    truth = [(1, 10, 10, 20), (1, 30, 10, 20), (1, 10, 18, 20), (1, 30, 18, 20)]
    first, second = found(truth, [(1, 10, 10, 20), (1, 30, 10, 20)]).itertuples()
    assert first.iou == second.iou == 400 / 560


def test_wrong_pixels_go_with_right_ones():
    # A large and a small one in a region of a square: 900 - 400 - 100 wrong pixels, four in five the large one's.
    large, small = found([(1, 10, 10, 30)], [(1, 10, 10, 20), (1, 30, 10, 10)]).itertuples()
    assert large.iou == 400 / (400 + 400 * 0.8)
    assert small.iou == 100 / (100 + 400 * 0.2)


def test_another_class_does_not_find_an_annotation():
    table = found([(2, 10, 10, 20)], [(1, 10, 10, 20)])
    assert table["k"].tolist() == [1, 2]
    assert table["recall"].tolist()[0] == 0
    assert np.isnan(table["annotation_id"].astype(float).tolist()[1])


def test_what_another_category_hides_is_not_looked_for():
    # A dog, of no class, in front of half a person.
    (row,) = found([(1, 10, 10, 10)], [(1, 10, 10, 10), (18, 10, 10, 7)]).itertuples()
    assert (row.recall, row.iou) == (1, 51 / 100)
    (row,) = found([(1, 10, 10, 10)], [(1, 10, 10, 10), (18, 10, 10, 10)]).iloc[:1].itertuples()
    assert np.isnan([row.recall, row.iou, row.probability]).all()


def test_regions_where_nothing_counts_are_none():
    rle = encode_rle(np.ones((SIZE, SIZE), bool))
    row = SimpleNamespace(
        annotation_id=1,
        category_id=1,
        iscrowd=True,
        height=SIZE,
        width=SIZE,
        rle=rle,
        area=SIZE**2,
        bbox=[0, 0, 64, 64],
    )
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    (only,) = objects(*with_classes(seen([(1, 10, 10, 20)])), mask, [row], TAXONOMY.class_of_id)
    assert (only.annotation_id, only.crowd) == (1, True)
    assert np.isnan([only.recall, only.iou, only.probability]).all()


def test_extra_regions_are_those_of_the_extra_pixels():
    rng = np.random.default_rng(0)
    squares = [tuple(map(int, (rng.integers(1, 3), *rng.integers(0, 50, 2), rng.integers(1, 14)))) for _ in range(30)]
    annotated = [((0, 1, 3)[k], *box) for k, *box in squares[:6]]
    table = found(squares[3:], annotated)
    mask = compose_mask(labels(annotated), SIZE, SIZE)
    counts = error_counts(seen(squares[3:]).argmax(-1)[None], TAXONOMY.class_of_id[mask][None], 3)[0]
    regions = table[table["annotation_id"].isna()].groupby("k")["area"].sum()
    # Some pixels of an extra region are another class's, and some are right.
    assert len(regions) == 2
    for k, pixels in regions.items():
        extra = counts[k - 1, KINDS.index("extra")]
        assert 0 < extra <= pixels


PHOTOGRAPHS = pd.DataFrame({"image_id": [7, 8], "split": "val", "width": 640, "height": 320})


def looked() -> pd.DataFrame:
    """Of two photographs at 64 × 64, each looked at by a finder of its own."""
    outline = np.zeros((320, 640), bool)
    outline[100:110, 100:200] = True
    person = SimpleNamespace(
        annotation_id=1, category_id=1, iscrowd=False, height=320, width=640, rle=encode_rle(outline), area=1000,
        bbox=[100, 100, 100, 10],
    )  # fmt: skip
    finders = [ObjectFinder(Known(TAXONOMY, {8: [person]})) for _ in range(2)]
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[1, 20:22, 10:20] = 1
    p = np.stack([seen([(2, 0, 0, 10)]), seen([(1, 10, 20, 6)])])
    for finder, i in zip(finders, (1, 0), strict=True):
        finder.look(Predicted(np.array([7 + i]), masks[[i]], p[[i]]))
    finders[0].add(finders[1].found())
    return object_table(finders[:1], PHOTOGRAPHS)


def test_the_table_is_in_the_photographs_pixels():
    table = looked()
    assert table["image_id"].tolist() == [7, 8]
    region, person = table.itertuples()
    assert (region.size, region.area, region.bbox) == ("medium", 100 / 64**2, [0, 0, 100, 50])
    assert pd.isna([region.annotation_id, region.category_id, region.found, region.recall]).all()
    assert (person.size, person.area, person.bbox) == ("small", 1000 / (640 * 320), [100, 100, 100, 10])
    assert (person.annotation_id, person.recall, person.found) == (1, 0.6, True)
    assert table["class"].tolist() == ["car", "person"]
    assert table["split"].tolist() == ["val", "val"]


def test_what_no_pixel_shows_is_neither_found_nor_missed():
    """A person wholly behind a car, at a model that sees the car."""
    instances = labels([(1, 10, 10, 8), (3, 8, 8, 20)])
    finder = ObjectFinder(Known(TAXONOMY, {7: list(instances.itertuples())}))
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[0, 8:28, 8:28] = 3
    finder.look(Predicted(np.array([7]), mask, seen([(2, 8, 8, 20)])[None]))
    table = object_table([finder], PHOTOGRAPHS)
    assert table["found"].astype(object).where(table["found"].notna(), None).tolist() == [None, True]
    nothing, sizes = Measures(measure_table([])), pd.DataFrame({"image_id": [7], "width": [640], "height": [320]})
    shown = described(table, sizes, TAXONOMY)
    assert shown.set_index("class")["outcome"].to_dict() == {"person": "hidden", "car": "found"}
    assert {row["class"]: (row["found"], row["of"]) for row in found_rows(cells(shown), TAXONOMY, nothing)} == {
        "car": (1, 1)
    }


@pytest.mark.filterwarnings("error")
def test_a_table_of_nothing_has_the_same_columns():
    empty = object_table([ObjectFinder(Known(TAXONOMY))], PHOTOGRAPHS)
    assert empty.columns.tolist() == looked().columns.tolist()
    assert empty.empty
    assert object_measures(empty, np.array([7]), TAXONOMY, Bootstrap(np.array([7]))) == []


def annotated(rows: list[tuple[int, int, str, bool, bool]]) -> pd.DataFrame:
    """Rows of objects.parquet: image, category, size, found, crowd."""
    table = pd.DataFrame(rows, columns=["image_id", "category_id", "size", "found", "crowd"])
    names = {1: "person", 3: "car"}
    return table.assign(annotation_id=range(len(table)), **{"class": table["category_id"].map(names)})


def test_the_share_that_is_found_by_class_size_and_category():
    table = annotated(
        [
            (1, 1, "small", True, False),
            (1, 1, "small", False, False),
            (1, 1, "large", True, False),
            (2, 1, "small", True, False),
            (2, 1, "small", False, True),  # a crowd
            (2, 1, "small", None, False),  # of no visible pixel
            (2, 3, "medium", True, False),
            (9, 3, "medium", False, False),  # of an image that is not looked at
        ]
    )
    ids = np.array([1, 2, 3])
    rows = {row.measure: row for row in object_measures(table, ids, TAXONOMY, Bootstrap(ids))}
    assert {name: row.value for name, row in rows.items()} == {
        "found_objects.person": 0.75,
        "found_objects.person.small": pytest.approx(2 / 3),
        "found_objects.person.large": 1,
        "found_objects.car": 1,
        "found_objects.car.medium": 1,
        "found_category.person": 0.75,
        "found_category.car": 1,
    }
    person = rows["found_objects.person"]
    assert person.images == 2
    assert 0 < person.low < person.value < person.high <= 1
    # Of three found, two are of an image, one of another: 9 / 5; what is missed is all of one image.
    assert person.carriers == 1
    assert rows["found_objects.car"].carriers == 0
