from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import instances_of, square
from small import TAXONOMY

from segscope.artefacts.rle import encode_rle
from segscope.artefacts.schemas import LABEL_ISSUES
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.evaluation.objects import annotations_by_image
from segscope.evaluation.predicted import Known, Predicted
from segscope.labels.masks import compose_mask
from segscope.suspects.find import MIN_SCORE, SuspectFinder, contradictions, fault_share

SIZE = 64
Squares = list[tuple[int, int, int, int]]


def with_classes(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return p, p.argmax(-1)


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
    """What is contradicted where the model sees `truth` and the labels say `annotated`."""
    instances = labels(annotated)
    own = list(instances.itertuples())
    return pd.DataFrame(
        contradictions(*with_classes(seen(truth)), compose_mask(instances, SIZE, SIZE), own, TAXONOMY.class_of_id),
        columns=["annotation_id", "kind", "labelled", "suggested", "bbox", "probability", "depth"],
    )


def test_agreement_is_no_contradiction():
    assert found([(1, 10, 10, 20)], [(1, 10, 10, 20)]).empty


def test_another_class_is_mislabeled():
    (row,) = found([(1, 10, 12, 20)], [(3, 10, 12, 20)]).itertuples()
    assert (row.kind, row.annotation_id, row.labelled, row.suggested) == ("mislabeled", 11, 2, 1)
    assert (row.probability, row.depth) == (pytest.approx(0.9), 1)
    assert row.bbox == [10, 12, 20, 20]


def test_background_is_ambiguous():
    (row,) = found([(2, 10, 10, 4)], [(3, 10, 10, 20)]).itertuples()
    assert (row.kind, row.labelled, row.suggested) == ("ambiguous", 2, 0)
    # A corner of 4 × 4 pixels is seen; the core begins at the fifth.
    assert (row.probability, row.depth) == (pytest.approx(0.9), 384 / 400)


def test_a_grown_outline_is_inaccurate():
    (row,) = found([(1, 20, 20, 20)], [(1, 14, 14, 32)]).itertuples()
    assert (row.kind, row.annotation_id) == ("inaccurate", 11)
    assert row.probability == pytest.approx(0.9)
    # Inside the outline, but for its own border of a pixel, 30² - 20² pixels are background, surer of it by 0.85.
    assert row.depth == pytest.approx((900 - 400) * 0.85**8 / (4 * 31) / 32)


def test_a_shrunk_outline_is_inaccurate():
    table = found([(1, 14, 14, 32)], [(1, 17, 17, 26)])
    (row,) = table[table["annotation_id"] == 11].itertuples()
    assert row.kind == "inaccurate"
    # Outside: 32² - 26² pixels, less the 4 × 26 along the sides.
    assert row.depth == pytest.approx((32**2 - 26**2 - 4 * 26) * 0.85**8 / 100 / 26)


def test_another_object_beside_it_does_not_make_an_outline_inaccurate():
    table = found([(1, 4, 20, 20), (1, 24, 20, 30)], [(1, 4, 20, 20)])
    assert table["kind"].tolist() == ["missing"]


def test_an_unlabelled_region_is_missing():
    (row,) = found([(2, 30, 30, 16), (1, 2, 2, 12)], [(1, 2, 2, 12)]).itertuples()
    assert (row.kind, row.suggested, row.bbox) == ("missing", 2, [30, 30, 16, 16])
    assert (row.probability, row.depth) == (pytest.approx(0.9), 1)
    assert row.annotation_id is None


def test_the_rest_of_a_labelled_thing_is_hardly_missing():
    # The model sees a car of 40 × 40, of which the labels have all but a crate's 16 × 16 at a corner.
    instances = labels([(3, 10, 10, 40)])
    mask = compose_mask(instances, SIZE, SIZE)
    mask[34:50, 34:50] = 0
    (row,) = contradictions(*with_classes(seen([(2, 10, 10, 40)])), mask, [], TAXONOMY.class_of_id)
    # Two pixels along the two sides are slack.
    assert row.depth == pytest.approx(14**2 / (14**2 + 40**2 - 16**2))


def test_a_region_over_another_category_is_confusion_not_a_missing_label():
    assert found([(2, 30, 30, 16)], [(6, 30, 30, 16)]).empty


def test_an_excluded_annotation_is_not_judged():
    p = np.full((SIZE, SIZE, 3), 1 / 3, np.float32)
    instances = labels([(3, 10, 10, 20)]).assign(category_id=255)
    mask = compose_mask(instances, SIZE, SIZE)
    assert (mask[10:30, 10:30] == 255).all()
    assert contradictions(*with_classes(p), mask, list(instances.itertuples()), TAXONOMY.class_of_id) == []


def disc_score(fault: str, radius: float, size: int, p: float = 0.97) -> float:
    """The score of a disc's fault, of a model that is so sure of everything and right in half of it."""
    rows, columns = np.indices((size, size)) - size // 2
    drawn = np.hypot(rows, columns) <= radius
    true = np.hypot(rows, columns) <= (1.2 * radius if fault == "inaccurate" else radius)
    sees = np.where(true, {"mislabeled": 1, "ambiguous": 0, "inaccurate": 2, "missing": 2}[fault], 0)
    probabilities = np.full((size, size, 3), (1 - p) / 2, np.float32)
    np.put_along_axis(probabilities, sees[..., None], p, -1)
    mask = np.where(drawn & (fault != "missing"), 3, 0).astype(np.uint8)
    row = SimpleNamespace(annotation_id=1, category_id=3, iscrowd=False, rle=encode_rle(drawn), height=size, width=size)
    own = [] if fault == "missing" else [row]
    contradicted = contradictions(*with_classes(probabilities), mask, own, TAXONOMY.class_of_id)
    found = [each for each in contradicted if each.kind == fault]
    ((score,),) = [fault_share(*([value] for value in (each.kind, each.probability / 2, each.depth))) for each in found]
    return score


@pytest.mark.parametrize("fault", ["mislabeled", "ambiguous", "missing", "inaccurate"])
def test_a_score_is_the_same_at_every_size_of_an_object_and_of_the_image(fault):
    radii = [disc_score(fault, radius, 128) for radius in (8, 12, 20, 40)]
    sizes = [disc_score(fault, size / 8, size) for size in (64, 128, 256, 512)]
    # An outline's slack of a pixel at the model's resolution is more beside a small disc.
    spread = 0.15 if fault == "inaccurate" else 1e-3
    assert np.ptp(radii) < spread, radii
    assert np.ptp(sizes) < spread, sizes


@pytest.mark.parametrize("fault", ["mislabeled", "ambiguous", "missing", "inaccurate"])
def test_a_score_rises_with_the_models_confidence(fault):
    assert disc_score(fault, 20, 128, 0.8) < disc_score(fault, 20, 128, 0.9) < disc_score(fault, 20, 128, 0.97)


# Of each image what the model sees, and what the labels say.
IMAGES = {
    4: ([(1, 10, 12, 20)], [(3, 10, 12, 20)]),  # mislabeled
    2: ([], []),
    7: ([(2, 30, 30, 16), (1, 4, 4, 12)], [(1, 4, 4, 12)]),  # missing
    5: ([(1, 20, 20, 20)], [(1, 14, 14, 32)]),  # inaccurate
    9: ([(1, 10, 12, 20)], [(3, 10, 12, 20)]),  # as the first
}
# The photographs are twice as wide as high: boxes must come back in their pixels.
SAMPLES = pd.DataFrame(
    {"image_id": [7, 5, 4, 2, 9], "split": ["val", "train", "val", "val", "val"], "width": 2 * SIZE, "height": SIZE}
)
INSTANCES = pd.concat([labels(annotated, image_id) for image_id, (_, annotated) in IMAGES.items() if annotated])


def finder_of(*batches: list[int]) -> SuspectFinder:
    """Each batch is looked at by a finder of its own, and then they are put together."""
    known = Known(TAXONOMY, annotations_by_image(INSTANCES))
    finder = SuspectFinder(known)
    for ids in batches:
        own = [compose_mask(INSTANCES[INSTANCES["image_id"] == i], SIZE, SIZE) for i in ids]
        steadier = np.stack([seen(IMAGES[i][0]) for i in ids])
        # What the model makes of the images themselves is not what is looked at.
        each = SuspectFinder(known)
        each.look(Predicted(np.array(ids), np.stack(own), np.full_like(steadier, 1 / 3), steadier))
        finder.add(each.found())
    return finder


def test_the_suspects_of_all_batches_are_listed_the_highest_score_first():
    table = finder_of([4, 2], [7], [5, 9]).table(SAMPLES, 0)
    assert table["score"].is_monotonic_decreasing
    by_image = table.set_index("image_id")
    assert by_image["kind"].to_dict() == {4: "mislabeled", 9: "mislabeled", 7: "missing", 5: "inaccurate"}
    assert by_image["split"].to_dict() == {4: "val", 9: "val", 7: "val", 5: "train"}
    assert by_image["annotation_id"].dropna().to_dict() == {4: 41, 9: 91, 5: 51}
    assert by_image["labelled"].to_dict() == {4: "car", 9: "car", 7: "background", 5: "person"}
    assert by_image["suggested"].to_dict() == {4: "person", 9: "person", 7: "car", 5: "person"}
    assert by_image.loc[4, "bbox"] == [20, 12, 40, 20]
    assert by_image.loc[7, "bbox"] == [60, 30, 32, 16]
    assert by_image["evidence"].to_dict() == {
        4: "person 90% in the middle of the mask, and the most probable in 100% of it",
        9: "person 90% in the middle of the mask, and the most probable in 100% of it",
        7: "car 90% where nothing is labelled, 100% of what the model sees as one",
        5: "the outline and the model's of person are 3.4% of its size apart where the model is sure",
    }


def test_a_score_trusts_a_class_as_far_as_the_labels_bear_its_predictions_out():
    finder = finder_of([4, 2, 7, 5, 9])
    # Predicted as person are 400 pixels each of images 4, 5 and 9, and 144 of 7; labelled so are those of 5 and 7.
    assert finder.precision()[1:] == pytest.approx([544 / 1344, 0])
    score = finder.table(SAMPLES, 0).set_index("image_id")["score"]
    assert score[4] == pytest.approx(fault_share(["mislabeled"], [0.9 * 544 / 1344], [1])[0])


def test_what_is_hardly_a_fault_is_not_listed():
    finder = finder_of([4, 2, 7, 5, 9])
    every, listed = finder.table(SAMPLES, 0), finder.table(SAMPLES)
    assert (every["score"] < MIN_SCORE).any()
    pd.testing.assert_frame_equal(listed, every[every["score"] >= MIN_SCORE])


def test_batches_change_nothing_and_equal_scores_keep_their_order():
    whole = finder_of([4, 2, 7, 5]).table(SAMPLES, 0)
    pd.testing.assert_frame_equal(finder_of([4], [2, 7, 5]).table(SAMPLES, 0), whole)
    for order in ([9], [4]), ([4], [9]):
        ids = finder_of([5], *order).table(SAMPLES, 0)["image_id"].tolist()
        assert [i for i in ids if i != 5] == [i for (i,) in order]


@pytest.mark.parametrize("batches", [[[4, 2, 7, 5]], [[2]], []], ids=["some", "none", "no batch"])
@pytest.mark.filterwarnings("error")
def test_the_table_fits_its_schema(batches, tmp_path):
    table = finder_of(*batches).table(SAMPLES, 0)
    write_parquet(tmp_path / "issues.parquet", table.assign(object_id=None), LABEL_ISSUES)
    read = read_parquet(tmp_path / "issues.parquet", LABEL_ISSUES)
    assert read["kind"].tolist() == table["kind"].tolist()
    assert len(table) == (3 if batches and 4 in batches[0] else 0)
