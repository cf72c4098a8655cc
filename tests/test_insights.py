import numpy as np
import pandas as pd
import pytest
from test_slices import metadata

from segscope.insights import associations, binned, find_insights, hard_images, insight_metrics
from segscope.schemas import ASSOCIATIONS, INSIGHTS, read_parquet, write_parquet


def full_metadata(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return metadata(n, seed).assign(
        n_crowds=(rng.random(n) < 0.1).astype(np.int32),
        average_size=rng.uniform(0, 0.05, n),
        n_categories=rng.integers(0, 9, n).astype(np.int32),
        sharpness=rng.uniform(0, 3000, n),
        is_grayscale_file=rng.random(n) < 0.15,
    )


@pytest.fixture(scope="module")
def run():
    samples = full_metadata(300)
    rng = np.random.default_rng(1)
    persons = samples["count.person"].to_numpy()
    scores = pd.DataFrame({"loss": 0.1 + 0.05 * persons + rng.normal(0, 0.05, 300)})
    scores["iou.person"] = np.where(persons > 0, 0.9 - 0.1 * persons + rng.normal(0, 0.05, 300), np.nan)
    return samples, scores, find_insights(samples, scores, 10, 200, 300, 0)


def test_more_persons_cost_loss_and_iou(run):
    samples, _, found = run
    row = found.insights[found.insights["kind"] == "association"].iloc[0]
    assert row["name"] == "count.person"
    assert row["statement"].startswith(
        "As the number of person instances grows, the loss rises and the IoU of person falls (Spearman +0."
    )
    assert row["inside"] > row["rest"]
    assert row["low"] > 0
    assert len(samples.query(row["query"])) == row["images"]


def test_correlations_are_those_of_ranks(run):
    samples, scores, found = run
    for row in found.associations.itertuples():
        both = pd.DataFrame({"x": samples[row.column], "y": scores[row.metric]}).dropna().astype(float)
        assert len(both) == row.images
        ranks = both.rank()
        assert row.rho == pytest.approx(ranks["x"].corr(ranks["y"]), abs=1e-9)
    assert set(found.associations["metric"]) == {"loss", "iou.person"}
    assert "image_id" not in set(found.associations["column"])


def test_every_insight_has_a_sentence_figures_and_a_query(run):
    samples, _, found = run
    assert set(found.insights["kind"]) >= {"association", "hard", "slice"}
    for row in found.insights.itertuples():
        assert row.statement.endswith(".")
        assert len(samples.query(row.query)) == row.images
    explained = found.insights["explained"].dropna()
    assert explained.is_monotonic_decreasing


def test_the_tables_fit_their_schemas(run, tmp_path):
    _, _, found = run
    write_parquet(tmp_path / "a.parquet", found.associations, ASSOCIATIONS)
    write_parquet(tmp_path / "i.parquet", found.insights, INSIGHTS)
    assert len(read_parquet(tmp_path / "a.parquet", ASSOCIATIONS)) == len(found.associations)
    figures = insight_metrics(found)
    assert figures["insights"]["hard"] == (found.insights["kind"] == "hard").sum()
    assert figures["hard"]["low light"]["images"] == run[0]["low_light"].sum()


def test_bins_are_means_of_all_images_once():
    rng = np.random.default_rng(0)
    x, y = rng.random(200), rng.random(200)
    table = binned(x, y, 500, 0)
    assert len(table) == 5
    assert table["images"].sum() == 200
    for row in table.itertuples():
        inside = (x >= row.low) & (x <= row.high)
        assert inside.sum() == row.images
        assert row.mean == pytest.approx(y[inside].mean())
        error = y[inside].std() / np.sqrt(row.images)
        assert row.mean - row.mean_low == pytest.approx(1.96 * error, rel=0.2)


def test_a_count_that_is_mostly_zero_has_zero_as_a_bin():
    x = np.repeat([0.0, 1, 2, 3, 4, 5, 6], [90, 2, 2, 2, 2, 1, 1])
    table = binned(x, x, 100, 0)
    assert (table["low"].iloc[0], table["high"].iloc[0], table["images"].iloc[0]) == (0, 0, 90)
    assert table["low"].iloc[1] == 1


def test_named_slices_are_compared_with_the_rest(run):
    samples, scores, _ = run
    table = hard_images(samples, scores, 200, 0)
    row = table[(table["name"] == "grayscale file") & (table["metric"] == "loss")].iloc[0]
    gray = samples["is_grayscale_file"]
    assert row["inside"] == pytest.approx(scores["loss"][gray].mean())
    assert row["images"] == gray.sum()
    assert row["p_value"] >= table["p_value"].min()


def test_chance_is_rarely_an_association():
    found = 0
    for seed in range(60):
        samples = metadata(100, seed)
        scores = pd.DataFrame({"loss": np.random.default_rng(500 + seed).gamma(1.0, size=100)})
        found += (associations(samples, scores, 100, 0)["p_value"] < 0.05).any()
    assert found <= 8


def test_columns_that_repeat_or_say_nothing_are_left_out():
    samples = pd.DataFrame({"share.person": np.arange(30.0), "constant": 1.0})
    samples["share.super.person"] = samples["share.person"]
    samples["size.rare"] = np.where(np.arange(30) < 10, np.arange(30.0), np.nan)
    table = associations(samples, pd.DataFrame({"loss": np.arange(30.0) ** 2}), 100, 0)
    assert table["column"].tolist() == ["share.person"]
    assert table["rho"].iloc[0] == pytest.approx(1)


def test_images_without_a_loss_count_nowhere():
    samples = full_metadata(60)
    scores = pd.DataFrame({"loss": np.where(np.arange(60) < 20, np.nan, 1.0 * samples["low_light"])})
    found = find_insights(samples, scores, 10, 100, 100, 0)
    assert found.hard["images"].max() <= 40
