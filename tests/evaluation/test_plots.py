import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix
from small import TAXONOMY
from test_evaluate import ALONE, batch_of, evaluate

from segscope.artefacts.measures import measure_table, of_split
from segscope.evaluation.errors import KINDS
from segscope.evaluation.evaluate import Evaluation
from segscope.evaluation.plots import confusion_table, loss_histogram, plot_tables
from segscope.evaluation.predicted import Known


def tables_of(**evaluations: Evaluation) -> dict[str, pd.DataFrame]:
    rows = [row for split, each in evaluations.items() for row in of_split(split, each.measures(ALONE))]
    return plot_tables(evaluations, measure_table(rows))


@pytest.fixture(scope="module")
def evaluations() -> dict[str, Evaluation]:
    return {split: evaluate([batch_of(n)], Known(TAXONOMY)) for split, n in (("train", 30), ("val", 6))}


@pytest.fixture(scope="module")
def drawn(evaluations) -> dict[str, pd.DataFrame]:
    return tables_of(**evaluations)


def test_each_plot_has_its_table_of_both_splits(drawn):
    assert set(drawn) == {"iou", "confusion", "loss", "reliability", "errors", "categories"}
    for name in ("iou", "loss", "reliability", "errors", "categories"):
        assert set(drawn[name]["split"]) == {"train", "val"}


def test_ious_are_the_measures(drawn, evaluations):
    table = drawn["iou"].set_index(["split", "metric", "class"])
    assert len(table) == 8
    for split, each in evaluations.items():
        measured = {row.measure: row for row in each.measures(ALONE)}
        for metric, kind in (("IoU", "iou"), ("mean IoU", "mean_iou")):
            for name in TAXONOMY.classes:
                expected = measured[f"{kind}.{name}"]
                row = table.loc[(split, metric, name), ["iou", "low", "high"]]
                shown = expected.carriers >= 20
                assert shown == (split == "train")
                ends = [expected.low, expected.high] if shown else [np.nan, np.nan]
                assert row.tolist() == pytest.approx([expected.value, *ends], nan_ok=True)


def test_the_errors_of_a_class_are_all_its_wrong_pixels(drawn):
    table = drawn["errors"]
    assert table.groupby(["split", "class"])["share"].sum().tolist() == pytest.approx([1] * 4)
    assert table.groupby(["split", "class"])["kind"].agg(list).tolist() == [list(KINDS)] * 4


def test_confusion_is_scikit_learns_of_val(drawn):
    batch = batch_of(6)
    true, predicted = TAXONOMY.class_of_id[batch.masks], batch.probabilities.argmax(-1)
    expected = confusion_matrix(true[true != 255], predicted[true != 255], normalize="true")
    table = drawn["confusion"].pivot(index="actual", columns="predicted", values="share")
    names = TAXONOMY.class_names
    assert table.loc[names, names].to_numpy() == pytest.approx(expected)


def test_the_histogram_holds_every_image_of_a_known_loss():
    loss = {"train": np.array([0.1, 0.2, 0.2, np.nan]), "val": np.array([0.4, 1.0])}
    table = loss_histogram(loss)
    assert table.groupby("split")["share"].sum().tolist() == pytest.approx([1, 1])
    edges = table.groupby("split")[["loss", "loss_end"]].agg(list)
    assert edges.loc["train"].tolist() == edges.loc["val"].tolist()
    for split, values in loss.items():
        for row in table[table["split"] == split].itertuples():
            last = row.loss_end == 1.0
            inside = (values >= row.loss) & ((values < row.loss_end) | (last & (values == 1)))
            assert row.share == pytest.approx(inside.sum() / np.isfinite(values).sum())


def test_a_class_that_no_image_shows_has_no_shares():
    matrix = np.array([[8, 0, 0], [2, 0, 0], [0, 0, 5]])
    known = confusion_table(matrix, TAXONOMY).dropna()
    assert set(known["actual"]) == {"background", "car"}
    assert known.set_index(["actual", "predicted"])["share"].loc[("background", "person")] == 0.2


@pytest.mark.filterwarnings("error")
def test_a_split_without_a_known_loss_has_no_histogram(evaluations):
    table = loss_histogram({"train": np.array([np.nan]), "val": np.array([0.5, 0.7])}).dropna()
    assert set(table["split"]) == {"val"}
    assert loss_histogram({"val": np.array([np.nan])}).dropna().empty


@pytest.mark.filterwarnings("error")
def test_where_everything_is_ignored_nothing_is_drawn():
    tables = tables_of(val=evaluate([batch_of(3, [255])], Known(TAXONOMY)))
    assert all(table.dropna().empty for table in tables.values())
