import json
import math

import numpy as np
import pytest

from segscope.artefacts.measures import MOST, Measure, Measures, measure_table, of_split, select_metrics
from segscope.artefacts.schemas import MEASURES
from segscope.artefacts.tables import read_parquet, write_parquet


def selected(stage: str, *rows: Measure) -> dict:
    return select_metrics(measure_table(rows), stage)


def val(measure: str, value: float, images: float = math.nan) -> Measure:
    return Measure(measure, value, images, split="val")


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_an_unknown_value_is_left_out_never_a_number(unknown):
    table = measure_table([Measure("loss", unknown), Measure("epochs", 0)])
    assert table["measure"].tolist() == ["epochs"]
    assert table["value"].tolist() == [0]


def test_a_table_fits_its_schema_and_keeps_what_is_not_known_apart(tmp_path):
    rows = of_split("val", [Measure("iou.car", 0.5, 7, 0.4, 0.6), Measure("suspects.missing", 3)])
    table = measure_table([*rows, Measure("epochs", 9)])
    write_parquet(tmp_path / "a.parquet", table.assign(stage="predict"), MEASURES)
    read = read_parquet(tmp_path / "a.parquet", MEASURES)
    first, second, third = read.astype(object).where(read.notna(), None).to_dict("records")
    assert first == {
        "stage": "predict",
        "split": "val",
        "measure": "iou.car",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "carriers": None,
        "images": 7,
    }
    assert [second[name] for name in ("low", "high", "images")] == [None] * 3
    assert third["split"] == ""


def test_no_measures_are_an_empty_table(tmp_path):
    table = measure_table([])
    write_parquet(tmp_path / "a.parquet", table.assign(stage="predict"), MEASURES)
    assert read_parquet(tmp_path / "a.parquet", MEASURES).empty


def test_metrics_are_nested_by_split_kind_and_subject():
    rows = [val("loss", 0.25), val("iou.person", 0.5), val("iou.car", 0.75), Measure("iou.car", 0.8, split="train")]
    assert selected("predict", *rows) == {
        "val": {"loss": 0.25, "iou": {"person": 0.5, "car": 0.75}},
        "train": {"iou": {"car": 0.8}},
    }
    assert selected("cluster", Measure("clusters", 4), Measure("stability.seeds", 0.5)) == {
        "clusters": 4,
        "stability": {"seeds": 0.5},
    }


def test_only_the_stages_own_metrics_are_selected():
    rows = [val("loss", 0.25), Measure("loss", 0.2, split="train"), val("confidence", 0.9), Measure("loss", 0.1)]
    assert selected("predict", *rows) == {"val": {"loss": 0.25}}
    assert selected("train", *rows, Measure("epochs", 3)) == {"epochs": 3}
    counted = [Measure("skipped", 3, split="train"), Measure("skipped.malformed", 3, split="train")]
    assert selected("masks", *counted) == {"train": {"skipped": 3}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.123456, 0.1235), (12345.678, 12350.0), (0.000012344, 1.234e-05), (-0.98764, -0.9876), (1.0, 1.0), (0, 0.0)],
)
def test_a_number_has_four_significant_digits(value, expected):
    shown = selected("predict", val("loss", value))["val"]["loss"]
    assert (shown, type(shown)) == (expected, float)


def test_counts_are_whole_and_whole_figures_are_no_counts():
    text = json.dumps(
        [
            selected("download", val("images", 123456.0), val("skipped", np.int64(0))),
            selected("predict", val("suspects.missing", 7), val("pixel_accuracy", 1)),
        ]
    )
    assert text == (
        '[{"val": {"images": 123456, "skipped": 0}}, {"val": {"suspects": {"missing": 7}, "pixel_accuracy": 1.0}}]'
    )


def test_only_the_categories_of_most_images_have_a_recall():
    of_images = {f"category {i}": 100 - i for i in range(12)} | {"most": 1000}
    rows = [val(f"recall.{name}", 0.5, images) for name, images in of_images.items()]
    found = selected("predict", *rows, *(val(f"iou.{name}", 0.5, 1) for name in of_images))
    assert MOST == {"recall": 10}
    assert list(found["val"]["recall"]) == [*(f"category {i}" for i in range(9)), "most"]
    assert len(found["val"]["iou"]) == 13


def test_of_equally_many_images_the_first_goes_first():
    rows = [val(f"recall.{i}", 0.5, 3) for i in range(12)]
    assert list(selected("predict", *rows)["val"]["recall"]) == [str(i) for i in range(10)]


@pytest.mark.parametrize("subject", ["traffic light", "a.b", "st. bernard dog", "images", "*", "[x]"])
def test_a_subject_may_hold_dots_and_spaces(subject):
    found = selected("predict", val(f"recall.{subject}", 0.5, 3), val(f"iou.{subject}", 0.25, 3))
    assert found == {"val": {"recall": {subject: 0.5}, "iou": {subject: 0.25}}}


def test_measures_are_looked_up_by_name_and_split():
    rows = [val("iou.car", 0.5), Measure("iou.car", 0.75, 9, 0.7, 0.8, "train"), Measure("clusters", 4)]
    found = Measures(measure_table(rows))
    assert (found.value("iou.car", "val"), found.value("iou.car", "train"), found.value("clusters")) == (0.5, 0.75, 4)
    row = found.find("iou.car", "train")
    assert (row.low, row.high, row.images) == (0.7, 0.8, 9)
    assert found.find("iou.car") is found.find("iou.bus", "val") is None
    assert math.isnan(found.value("iou.bus", "val"))
