import numpy as np
import pandas as pd
import pytest
from conftest import instances_of, square
from small import TAXONOMY

from segscope.artefacts.schemas import LABEL_ISSUES
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.evaluation.predicted import Predicted
from segscope.labels.masks import compose_mask
from segscope.suspects.find import SuspectFinder, suspects

SIZE = 64
Squares = list[tuple[int, int, int, int]]


def seen(truth: Squares) -> np.ndarray:
    """Probabilities of a model that sees squares: class, left, top, side."""
    p = np.full((SIZE, SIZE, 3), 0.05, np.float32)
    classes = np.zeros((SIZE, SIZE), int)
    for k, left, top, side in truth:
        classes[top : top + side, left : left + side] = k
    np.put_along_axis(p, classes[..., None], 0.9, -1)
    return p


def labels(annotated: Squares, image_id: int = 1) -> pd.DataFrame:
    """Instances of squares: category, left, top, side."""
    rows = [
        {"id": 10 * image_id + i, "image_id": image_id, "category_id": c, "segmentation": square(*box)}
        for i, (c, *box) in enumerate(annotated, start=1)
    ]
    return instances_of(rows, SIZE, SIZE).assign(image_id=image_id)


def found(truth: Squares, annotated: Squares) -> pd.DataFrame:
    """Suspects where the model sees `truth` and the labels say `annotated`."""
    instances = labels(annotated)
    mask = compose_mask(instances, SIZE, SIZE)
    # The photograph is twice as wide as high: boxes must come back in its pixels.
    own = list(instances.itertuples())
    return pd.DataFrame(suspects(seen(truth), mask, own, TAXONOMY, (SIZE, 2 * SIZE)))


def test_agreement_is_no_suspect():
    assert found([(1, 10, 10, 20)], [(1, 10, 10, 20)]).empty


def test_another_class_is_mislabeled():
    (row,) = found([(1, 10, 12, 20)], [(3, 10, 12, 20)]).itertuples()
    assert (row.kind, row.annotation_id, row.labelled, row.suggested) == ("mislabeled", 11, "car", "person")
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
    assert (row.kind, row.annotation_id) == ("inaccurate", 11)
    # Inside the outline, but for its own border of a pixel, 30² - 20² pixels are background.
    assert row.depth == pytest.approx((900 - 400) / (4 * 31))
    assert row.score == pytest.approx(row.depth / (1 + row.depth))


def test_a_shrunk_outline_is_inaccurate():
    table = found([(1, 14, 14, 32)], [(1, 17, 17, 26)])
    (row,) = table[table["annotation_id"] == 11].itertuples()
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
    instances = labels([(3, 10, 10, 20)]).assign(category_id=255)
    mask = compose_mask(instances, SIZE, SIZE)
    assert (mask[10:30, 10:30] == 255).all()
    assert suspects(p, mask, list(instances.itertuples()), TAXONOMY, (SIZE, SIZE)) == []


# Of each image what the model sees, and what the labels say.
IMAGES = {
    4: ([(1, 10, 12, 20)], [(3, 10, 12, 20)]),  # mislabeled
    2: ([], []),
    7: ([(2, 30, 30, 16), (1, 4, 4, 12)], [(1, 4, 4, 12)]),  # missing
    5: ([(1, 20, 20, 20)], [(1, 14, 14, 32)]),  # inaccurate
    9: ([(1, 10, 12, 20)], [(3, 10, 12, 20)]),  # as the first
}
SAMPLES = pd.DataFrame(
    {"image_id": [7, 5, 4, 2, 9], "split": ["val", "train", "val", "val", "val"], "width": 2 * SIZE, "height": SIZE}
)
INSTANCES = pd.concat([labels(annotated, image_id) for image_id, (_, annotated) in IMAGES.items() if annotated])


def finder_of(*batches: list[int]) -> SuspectFinder:
    finder = SuspectFinder(SAMPLES, INSTANCES, TAXONOMY)
    for ids in batches:
        own = [compose_mask(INSTANCES[INSTANCES["image_id"] == i], SIZE, SIZE) for i in ids]
        steadier = np.stack([seen(IMAGES[i][0]) for i in ids])
        # What the model makes of the images themselves is not what is looked at.
        finder.look(Predicted(np.array(ids), np.stack(own), np.full_like(steadier, 1 / 3), steadier))
    return finder


def test_the_suspects_of_all_batches_are_listed_the_highest_score_first():
    table = finder_of([4, 2], [7], [5, 9]).table()
    assert table["score"].is_monotonic_decreasing
    kinds = table.set_index("image_id")["kind"].to_dict()
    assert kinds == {4: "mislabeled", 9: "mislabeled", 7: "missing", 5: "inaccurate"}
    assert table.set_index("image_id")["split"].to_dict() == {4: "val", 9: "val", 7: "val", 5: "train"}
    by_image = table.drop(columns=["image_id", "split"]).set_axis(table["image_id"])
    for image_id, case in IMAGES.items():
        alone = found(*case)
        assert len(alone) == (image_id in by_image.index)
        if len(alone):
            own = by_image.loc[image_id]
            assert own.drop("annotation_id").to_dict() == alone.iloc[0].drop("annotation_id").to_dict()
            assert own["annotation_id"] == 10 * image_id + 1 or pd.isna(own["annotation_id"])


def test_batches_change_nothing_and_equal_scores_keep_their_order():
    whole = finder_of([4, 2, 7, 5]).table()
    pd.testing.assert_frame_equal(finder_of([4], [2, 7, 5]).table(), whole)
    assert finder_of([5], [9], [4]).table()["image_id"].tolist() == [9, 4, 5]
    assert finder_of([4], [5, 9]).table()["image_id"].tolist() == [4, 9, 5]


@pytest.mark.parametrize("batches", [[[4, 2, 7, 5]], [[2]], []], ids=["some", "none", "no batch"])
@pytest.mark.filterwarnings("error")
def test_the_table_fits_its_schema(batches, tmp_path):
    table = finder_of(*batches).table()
    write_parquet(tmp_path / "issues.parquet", table, LABEL_ISSUES)
    read = read_parquet(tmp_path / "issues.parquet", LABEL_ISSUES)
    assert read["kind"].tolist() == table["kind"].tolist()
    assert len(table) == (3 if batches and 4 in batches[0] else 0)
