import dataclasses
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from small import TAXONOMY

from segscope.artefacts.images import decode_png
from segscope.artefacts.measures import measure_table
from segscope.artefacts.schemas import predictions_schema, repeats_schema
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.evaluation.boundary import boundary_counts
from segscope.evaluation.calibration import reliability_counts
from segscope.evaluation.errors import KINDS, error_counts
from segscope.evaluation.evaluate import Evaluation, Measurer, repeats_table, spread_measures, table_ratios
from segscope.evaluation.loss import loss_maps
from segscope.evaluation.per_image import image_table
from segscope.evaluation.pictures import PictureTaker
from segscope.evaluation.plots import by_split
from segscope.evaluation.predicted import Known, Predicted

KNOWN = Known(TAXONOMY)
ALONE = pd.Series(range(100), index=range(100))  # each image its own group
VALUES = [0, 1, 3, 6, 18, 255]  # of a mask
NAMES = [
    "images",
    "groups",
    "loss",
    "pixel_accuracy",
    *("iou.person", "iou.car", "mean_iou.person", "mean_iou.car"),
    *("recall.person", "recall.car", "recall.bus"),
    *("boundary_iou.person", "boundary_iou.car"),
    *(f"errors.{name}.{kind}" for name in ("person", "car") for kind in KINDS),
    "calibration_error",
    *("confidence.person", "confidence.car", "right.person", "right.car", "gap.person", "gap.car"),
]


def batch_of(n: int, values: list[int] = VALUES, size: int = 16) -> Predicted:
    """Images 10, 11, … whose masks hold the values."""
    rng = np.random.default_rng(n)
    masks = rng.choice(values, (n, size, size)).astype(np.uint8)
    probabilities = rng.dirichlet(np.ones(3), masks.shape).astype(np.float32)
    return Predicted(np.arange(10, 10 + n), masks, probabilities)


def evaluate(batches: Iterable[Predicted], known: Known) -> Evaluation:
    measurer = Measurer(known)
    for batch in batches:
        measurer.look(batch)
    return measurer.evaluation()


def parts_of(batch: Predicted, *ends: int) -> list[Predicted]:
    """The batch in several, up to these positions."""
    ends = [0, *ends, len(batch.masks)]
    fields = batch.image_ids, batch.masks, batch.probabilities
    return [Predicted(*(f[a:b] for f in fields)) for a, b in pairwise(ends)]


@pytest.fixture(scope="module")
def batch() -> Predicted:
    return batch_of(12)


@pytest.fixture(scope="module")
def whole(batch) -> Evaluation:
    return evaluate([batch], KNOWN)


@pytest.mark.parametrize("ends", [(5,), (1, 2, 11), tuple(range(1, 12))])
def test_batches_are_measured_as_one(batch, whole, ends):
    found = evaluate(iter(parts_of(batch, *ends)), KNOWN)
    pd.testing.assert_frame_equal(found.table, whole.table)
    assert np.array_equal(found.reliability, whole.reliability)
    assert np.array_equal(found.counts, whole.counts)
    assert found.measures(ALONE) == whole.measures(ALONE)


def test_the_order_of_images_changes_no_value(batch, whole):
    order = np.random.default_rng(0).permutation(12)
    found = evaluate([Predicted(batch.image_ids[order], batch.masks[order], batch.probabilities[order])], KNOWN)
    assert found.table["image_id"].tolist() == batch.image_ids[order].tolist()
    for row, expected in zip(found.measures(ALONE), whole.measures(ALONE), strict=True):
        assert (row.measure, row.value) == (expected.measure, pytest.approx(expected.value))


def test_a_row_is_of_its_image(batch, whole):
    assert whole.table["image_id"].tolist() == batch.image_ids.tolist()
    target = TAXONOMY.class_of_id[batch.masks]
    figures = image_table(batch.probabilities, batch.classes, TAXONOMY.position_of_id[batch.masks], TAXONOMY)
    pd.testing.assert_frame_equal(whole.table[figures.columns], figures)
    assert np.array_equal(whole.reliability, reliability_counts(batch.probabilities, batch.classes, target))
    sides = batch.probabilities.argmax(-1).astype(np.uint8), target, 3
    assert np.array_equal(np.stack(whole.table["boundary"]), boundary_counts(*sides).reshape(12, -1))
    assert np.array_equal(np.stack(whole.table["errors"]), error_counts(*sides).reshape(12, -1))


def test_the_pictures_are_of_the_images(batch):
    first, second = parts_of(batch, 5)
    taker, other = PictureTaker(KNOWN), PictureTaker(KNOWN)
    taker.look(first)
    other.look(second)
    taker.add(other.found())
    table = taker.table()
    target = TAXONOMY.class_of_id[batch.masks]
    for mask, p in zip(table["mask"], batch.probabilities, strict=True):
        assert np.array_equal(decode_png(mask), p.argmax(-1))
    for drawn, expected in zip(table["loss_map"], loss_maps(batch.probabilities, target), strict=True):
        assert np.array_equal(decode_png(drawn), expected)


def test_the_counts_hold_every_pixel_that_is_not_ignored(batch, whole):
    assert whole.counts.shape == (12, 3, 5)
    positions = [np.bincount(mask.ravel(), minlength=256)[VALUES[:5]] for mask in batch.masks]
    assert whole.counts.sum(1).tolist() == np.stack(positions).tolist()
    assert whole.counts[..., 0].sum(1).tolist() == [int((mask == 0).sum()) for mask in batch.masks]


def test_the_table_fits_its_schema(batch, tmp_path):
    schema, taker = predictions_schema(TAXONOMY), PictureTaker(KNOWN)
    taker.look(batch)
    whole = evaluate([batch], KNOWN)
    write_parquet(tmp_path / "predictions.parquet", by_split({"val": whole.table.join(taker.table())}), schema)
    read = read_parquet(tmp_path / "predictions.parquet", schema)
    again = dataclasses.replace(whole, table=read)
    assert np.array_equal(again.counts, whole.counts)
    assert [row.value for row in again.measures(ALONE)] == pytest.approx(
        [row.value for row in whole.measures(ALONE)], rel=1e-6
    )


def test_all_metrics_are_measured_once(whole):
    rows = whole.measures(ALONE)
    assert [row.measure for row in rows] == NAMES
    assert [row.value for row in rows[:2]] == [12, 12]
    assert set(measure_table(rows)["measure"]) == set(NAMES)
    for row in rows[2:]:
        assert row.low <= row.value <= row.high
        assert row.images == 12
        assert 0 < row.carriers < 12.001


@pytest.mark.filterwarnings("error")
def test_where_everything_is_ignored_only_the_images_are_known():
    table = measure_table(evaluate([batch_of(3, [255])], KNOWN).measures(ALONE))
    assert table[["measure", "value"]].to_numpy().tolist() == [["images", 3], ["groups", 3]]


@pytest.mark.filterwarnings("error")
def test_where_no_image_shows_a_class_its_metrics_are_unknown():
    table = measure_table(evaluate([batch_of(3, [0, 1, 18])], KNOWN).measures(ALONE))
    unknown = {"iou.car", "mean_iou.car", "boundary_iou.car", "recall.car", "recall.bus"}
    assert set(table["measure"]) == {*NAMES} - unknown


@pytest.mark.filterwarnings("error")
def test_one_image_has_values_without_intervals():
    table = measure_table(evaluate([batch_of(1)], KNOWN).measures(ALONE))
    assert table["measure"].tolist() == NAMES
    assert table[["low", "high"]].isna().all(axis=None)


def test_what_another_seed_moves_is_the_deviation_over_trainings(whole):
    other = whole.table.assign(loss=whole.table["loss"] + 0.3)
    found = {row.measure: row.value for row in spread_measures([whole.table, other, whole.table], TAXONOMY)}
    assert found["trainings"] == 3
    assert found["spread.loss"] == pytest.approx(np.std([0, 0.3, 0], ddof=1))
    assert found["spread.iou.car"] == 0
    assert set(found) == {"trainings", *(f"spread.{name}" for name in table_ratios(other, TAXONOMY))}
    assert [row.measure for row in spread_measures([whole.table], TAXONOMY)] == ["trainings"]


def test_the_trainings_of_other_seeds_fit_their_schema(whole, tmp_path):
    schema = repeats_schema(TAXONOMY)
    for others, rows in (({}, 0), ({3: whole.table, 1: whole.table}, 24)):
        write_parquet(tmp_path / "repeats.parquet", repeats_table(others), schema)
        read = read_parquet(tmp_path / "repeats.parquet", schema)
        assert len(read) == rows
        for seed, table in read.groupby("seed"):
            assert seed in others
            assert (
                table_ratios(table, TAXONOMY)["iou.car"].value()
                == table_ratios(whole.table, TAXONOMY)["iou.car"].value()
            )


def test_two_evaluations_joined_are_one_of_all_images(batch, whole):
    parts = parts_of(batch, 7)
    joined = evaluate(parts[:1], KNOWN).joined(evaluate(parts[1:], KNOWN))
    assert joined.measures(ALONE) == whole.measures(ALONE)
