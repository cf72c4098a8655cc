import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, mannwhitneyu
from test_slices import metadata

from segscope.artefacts.measures import measure_table
from segscope.artefacts.schemas import ASSOCIATIONS, INSIGHTS
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.insights.associations import associations, binned
from segscope.insights.hard import HARD, hard_images
from segscope.insights.insights import Insights, find_insights


def full_metadata(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return metadata(n, seed).assign(
        n_crowds=(rng.random(n) < 0.1).astype(np.int32),
        average_size=rng.uniform(0, 0.05, n),
        n_categories=rng.integers(0, 9, n).astype(np.int32),
        sharpness=rng.uniform(0, 3000, n),
        is_grayscale_file=rng.random(n) < 0.15,
    )


def a_case(seed: int, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metadata, and scores that persons spoil."""
    samples = full_metadata(n, seed)
    rng = np.random.default_rng(seed + 1)
    persons = samples["count.person"].to_numpy()
    scores = pd.DataFrame({"loss": 0.1 + 0.05 * persons + rng.normal(0, 0.05, n)})
    scores["iou.person"] = np.where(persons > 0, 0.9 - 0.1 * persons + rng.normal(0, 0.05, n), np.nan)
    return samples, scores


@pytest.fixture(scope="module")
def run() -> tuple[pd.DataFrame, pd.DataFrame, Insights]:
    samples, scores = a_case(0, 300)
    return samples, scores, find_insights(samples, scores, 10)


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
    samples, scores, found = run
    assert set(found.insights["kind"]) == {"association", "hard", "slice"}
    assert found.statements() == found.insights["statement"].tolist()
    for row in found.insights.itertuples():
        assert row.statement.endswith(".")
        chosen = samples.query(row.query)
        assert row.image_ids == chosen["image_id"].tolist()
        assert row.images == len(row.image_ids) > 0
        inside = samples["image_id"].isin(row.image_ids)
        assert row.inside == pytest.approx(scores.loc[inside, row.metric].mean())
        assert row.rest == pytest.approx(scores.loc[~inside, row.metric].mean())
        assert np.isnan(row.low) or row.low <= row.inside - row.rest <= row.high
    explained = found.insights["explained"].dropna()
    assert explained.is_monotonic_decreasing


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_the_images_of_an_insight_are_those_that_its_query_selects(seed):
    samples, scores = a_case(seed, 80)
    for row in find_insights(samples, scores, 5).insights.itertuples():
        assert row.image_ids == samples.query(row.query)["image_id"].tolist()


def test_the_measures_are_counts_and_comparisons(run):
    samples, scores, found = run
    rows = {row.measure: row for row in found.measures()}
    kinds = {f"insights.{kind}": (found.insights["kind"] == kind).sum() for kind in ("association", "hard", "slice")}
    assert {name: rows[name].value for name in kinds} == kinds
    groups = {f"{name}.{metric}" for name in HARD for metric in scores}
    assert set(rows) == {*kinds, *(f"{kind}.{group}" for kind in ("inside", "difference") for group in groups)}
    dark = samples["low_light"]
    for metric in scores:
        inside, difference = (rows[f"{kind}.low light.{metric}"] for kind in ("inside", "difference"))
        assert inside.value == pytest.approx(scores.loc[dark, metric].mean())
        assert difference.value == pytest.approx(inside.value - scores.loc[~dark, metric].mean())
        assert difference.low < difference.value < difference.high


def test_the_measures_count_the_images_that_they_are_made_of(run):
    """The IoU is of images that show the class: others of the group count nowhere."""
    samples, scores, found = run
    rows = {row.measure: row for row in found.measures()}
    for name, chosen in HARD.items():
        for metric in scores:
            counted = scores.loc[chosen.holds(samples), metric].notna().sum()
            assert {rows[f"{kind}.{name}.{metric}"].images for kind in ("inside", "difference")} == {counted}


def test_the_tables_fit_their_schemas(run, tmp_path):
    _, _, found = run
    write_parquet(tmp_path / "a.parquet", found.associations, ASSOCIATIONS)
    write_parquet(tmp_path / "i.parquet", found.insights, INSIGHTS)
    assert len(read_parquet(tmp_path / "a.parquet", ASSOCIATIONS)) == len(found.associations)
    write_parquet(tmp_path / "i.parquet", found.insights[:0], INSIGHTS)


def test_bins_are_means_of_all_images_once():
    rng = np.random.default_rng(0)
    x, y = rng.random(200), rng.random(200)
    table = binned(x, y)
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
    table = binned(x, x)
    assert (table["low"].iloc[0], table["high"].iloc[0], table["images"].iloc[0]) == (0, 0, 90)
    assert table["low"].iloc[1] == 1


def test_named_slices_are_compared_with_the_rest(run):
    samples, scores, _ = run
    table = hard_images(samples, scores)
    row = table[(table["name"] == "grayscale file") & (table["metric"] == "loss")].iloc[0]
    gray = samples["is_grayscale_file"]
    assert row["inside"] == pytest.approx(scores["loss"][gray].mean())
    assert row["images"] == gray.sum()
    p_values = []
    for each in table.itertuples():
        inside, values = HARD[each.name].holds(samples), scores[each.metric]
        p_values.append(mannwhitneyu(values[inside].dropna(), values[~inside].dropna()).pvalue)
    assert table["p_value"].to_numpy() == pytest.approx(false_discovery_control(p_values))


def test_chance_is_rarely_an_association():
    found = 0
    for seed in range(40):
        samples = metadata(100, seed)
        scores = pd.DataFrame({"loss": np.random.default_rng(500 + seed).gamma(1.0, size=100)})
        found += (associations(samples, scores)["p_value"] < 0.05).any()
    assert found <= 6


def test_columns_that_repeat_or_say_nothing_are_left_out():
    samples = pd.DataFrame({"share.person": np.arange(30.0), "constant": 1.0})
    samples["share.super.person"] = samples["share.person"]
    samples["size.rare"] = np.where(np.arange(30) < 10, np.arange(30.0), np.nan)
    table = associations(samples, pd.DataFrame({"loss": np.arange(30.0) ** 2}))
    assert table["column"].tolist() == ["share.person"]
    assert table["rho"].iloc[0] == pytest.approx(1)


def test_images_without_a_loss_count_nowhere():
    samples, scores = a_case(3, 90)
    known = np.arange(90) >= 30
    scores.loc[~known] = np.nan
    found = find_insights(samples, scores, 10)
    expected = find_insights(samples[known].reset_index(drop=True), scores[known].reset_index(drop=True), 10)
    pd.testing.assert_frame_equal(found.insights, expected.insights)
    pd.testing.assert_frame_equal(found.associations, expected.associations)
    pd.testing.assert_frame_equal(found.hard, expected.hard)
    assert set().union(*found.insights["image_ids"]) <= set(samples.loc[known, "image_id"])


def unknown_scores(n: int) -> pd.DataFrame:
    return pd.DataFrame({"loss": np.full(n, np.nan), "iou.person": np.full(n, np.nan)})


@pytest.mark.parametrize("n", [0, 30])
@pytest.mark.filterwarnings("error")
def test_of_no_known_loss_nothing_is_said(n, tmp_path):
    found = find_insights(full_metadata(n), unknown_scores(n), 10)
    assert found.statements() == []
    known = measure_table(found.measures())
    assert known["measure"].tolist() == ["insights.association", "insights.hard", "insights.slice"]
    assert known["value"].tolist() == [0, 0, 0]
    write_parquet(tmp_path / "a.parquet", found.associations, ASSOCIATIONS)
    write_parquet(tmp_path / "i.parquet", found.insights, INSIGHTS)


@pytest.mark.filterwarnings("error")
def test_one_image_is_compared_with_nothing():
    samples = full_metadata(1).assign(low_light=True)
    found = find_insights(samples, pd.DataFrame({"loss": [0.5]}), 5)
    assert found.associations.empty
    assert set(found.insights["kind"]) == {"hard"}
    assert found.insights[["low", "high", "p_value", "explained", "rest"]].isna().all(axis=None)
    assert not any("nan" in statement for statement in found.statements())
    known = measure_table(found.measures())["measure"]
    assert not known.str.startswith("difference").any()
    assert "inside.low light.loss" in set(known)


@pytest.mark.filterwarnings("error")
def test_a_group_of_all_images_is_compared_with_nothing():
    samples, scores = a_case(0, 40)
    found = find_insights(samples.assign(low_light=True), scores, 5)
    (row,) = found.insights[found.insights["name"] == "low light"].itertuples()
    assert row.images == 40
    assert np.isnan([row.rest, row.low, row.high, row.p_value, row.explained]).all()
    assert "nan" not in row.statement
    assert "too few (40)" not in row.statement


@pytest.mark.filterwarnings("error")
def test_a_class_that_no_image_shows_is_not_spoken_of():
    samples, scores = a_case(0, 100)
    found = find_insights(samples, scores.assign(**{"iou.car": np.nan}), 10)
    assert "iou.car" not in set(found.associations["metric"])
    assert not any("car" in statement.split() for statement in found.statements())
    assert not measure_table(found.measures())["measure"].str.endswith("iou.car").any()


@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_the_same_everywhere_is_explained_by_nothing():
    found = find_insights(full_metadata(60), pd.DataFrame({"loss": np.ones(60)}), 10)
    assert found.associations.empty
    assert set(found.insights["kind"]) == {"hard"}
    assert found.insights["explained"].isna().all()
    assert all("not measurably" in statement or "too few" in statement for statement in found.statements())
