import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, spearmanr, ttest_ind
from test_slices import metadata

from segscope.artefacts.measures import measure_table
from segscope.artefacts.schemas import ASSOCIATIONS, INSIGHTS
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.insights.associations import associations, binned
from segscope.insights.hard import HARD, hard_images
from segscope.insights.held import rank_correlation
from segscope.insights.insights import KINDS, Insights, find_insights
from segscope.taxonomy import Taxonomy

CATEGORIES = pd.DataFrame(
    {"category_id": [1, 3], "source_id": ["1", "3"], "name": ["person", "car"], "supercategory": ["person", "vehicle"]}
)
TAXONOMY = Taxonomy(CATEGORIES, {"person": ["person"]})


def full_metadata(n: int, seed: int = 0) -> pd.DataFrame:
    """Metadata of which nothing depends on anything but the share of person on their number."""
    rng = np.random.default_rng(seed)
    samples = metadata(n, seed).assign(
        n_crowds=(rng.random(n) < 0.1).astype(np.int32),
        average_size=rng.uniform(0, 0.05, n),
        n_categories=rng.integers(0, 9, n).astype(np.int32),
        sharpness=rng.uniform(0, 3000, n),
        is_grayscale_file=rng.random(n) < 0.15,
    )
    return samples.assign(**{"share.person": samples["count.person"] * rng.uniform(0.02, 0.1, n)})


def by_share(samples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Scores that depend on the share of person alone."""
    n, share = len(samples), samples["share.person"].to_numpy()
    rng = np.random.default_rng(seed + 1)
    iou = np.where(share > 0, 0.4 + share + rng.normal(0, 0.05, n), np.nan)
    return pd.DataFrame({"loss": 0.1 + share + rng.normal(0, 0.05, n), "iou.person": iou})


def a_case(seed: int, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metadata, and scores that the share of person decides, and darkness and clutter spoil."""
    samples = full_metadata(n, seed)
    scores = by_share(samples, seed)
    scores["loss"] += 0.2 * samples["low_light"]
    scores["iou.person"] -= 0.04 * samples["n_categories"]
    return samples, scores


def insights_of(samples: pd.DataFrame, scores: pd.DataFrame, fewest: int = 10) -> Insights:
    """`find_insights` of images that are all independent."""
    return find_insights(samples, scores, TAXONOMY, np.arange(len(samples)), fewest)


def found_beyond_the_share(found: Insights) -> pd.DataFrame:
    return found.insights[~found.insights["kind"].isin(["share", "claim"])]


@pytest.fixture(scope="module")
def run() -> tuple[pd.DataFrame, pd.DataFrame, Insights]:
    samples, scores = a_case(0, 300)
    return samples, scores, insights_of(samples, scores)


def test_what_the_share_does_is_said_first_and_once(run):
    _, _, found = run
    first = found.insights.iloc[0]
    assert (found.insights["kind"] == "share").sum() == 1
    assert first["kind"] == "share"
    assert first["statement"].startswith("The loss rises with the share of person (rank correlation +0.")
    assert "the IoU of person rises with the share of person" in first["statement"]
    assert 0.3 < first["explained"] < 0.9


def test_a_share_that_does_not_move_the_loss_is_no_finding(run):
    samples, scores, _ = run
    noise = pd.DataFrame({"loss": np.random.default_rng(5).normal(1, 0.1, len(samples))})
    (row,) = insights_of(samples, noise).insights.query("name == 'person'").to_dict("records")
    assert row["kind"] == "claim"
    assert "does not clearly move with the share of person" in row["statement"]
    assert np.isnan([row["inside"], row["rest"]]).all()
    rare = samples.assign(**{"share.person": samples["share.person"].where(samples["share.person"].rank() > 260, 0)})
    row = insights_of(rare, scores).insights.iloc[0]
    assert 0 < row["images"] <= 20  # a fifth of those that show it, though most images show none
    assert row["kind"] == "claim" or np.isfinite([row["inside"], row["rest"]]).all()


def test_what_is_planted_beyond_the_share_is_found_once_each(run):
    _, _, found = run
    rows = found_beyond_the_share(found)
    dark, cluttered = rows.iloc[0], rows.iloc[1]
    if dark["metric"] != "loss":
        dark, cluttered = cluttered, dark
    assert len(rows) == 2
    assert dark["query"] == "`low_light` == True"
    assert dark["difference"] == pytest.approx(0.2, abs=0.03)
    assert "have a higher loss than others with as large a share of person: by 0." in dark["statement"]
    assert cluttered["metric"] == "iou.person"
    assert cluttered["query"].startswith("`n_categories` >= ")
    assert "have a lower IoU of person" in cluttered["statement"]
    assert cluttered["difference"] < 0


@pytest.mark.parametrize("column", ["flash", "place", "altitude", "taken"])
def test_an_effect_of_a_column_of_the_users_own_is_found(column):
    samples = full_metadata(300, 1)
    scores, rng = by_share(samples, 1), np.random.default_rng(2)
    kinds = {
        "flash": rng.random(300) < 0.3,
        "place": np.where(rng.random(300) < 0.3, "harbour", "street"),
        "altitude": rng.uniform(2000, 2100, 300),
        "taken": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 300), unit="D"),
    }
    samples = samples.assign(**{f"user.{name}": values for name, values in kinds.items()})
    effect = {
        "flash": kinds["flash"],
        "place": kinds["place"] == "harbour",
        "altitude": kinds["altitude"] > 2070,
        "taken": kinds["taken"] > "2024-08-01",
    }
    scores["loss"] += 0.2 * effect[column]
    found = found_beyond_the_share(insights_of(samples, scores)).iloc[0]
    assert f"`user.{column}`" in found["query"]
    assert found["difference"] == pytest.approx(0.2, abs=0.06)
    chosen = samples.query(found["query"]).index
    assert list(found["image_ids"]) == samples.loc[chosen, "image_id"].tolist()
    assert effect[column][chosen].mean() > 0.75  # a number's edges are those of its bins
    words = {
        "flash": "with flash have",
        "place": "with place harbour",
        "altitude": "altitude at least 20",
        "taken": "taken from 2024-0",
    }
    assert words[column] in found["statement"]


def test_figures_are_of_the_images_that_the_query_selects(run):
    samples, scores, found = run
    assert found.statements() == found.insights["statement"].tolist()
    for row in found_beyond_the_share(found).itertuples():
        inside = samples["image_id"].isin(row.image_ids)
        assert row.image_ids == samples.query(row.query)["image_id"].tolist()
        assert row.images == row.units == len(row.image_ids)
        assert row.inside == pytest.approx(scores.loc[inside, row.metric].mean())
        assert row.rest == pytest.approx(scores.loc[~inside, row.metric].mean())
        assert row.low < row.difference < row.high
        assert row.low * row.high > 0
        assert 0 < row.p_value < 0.05
        assert 0.01 <= row.explained < 1
    assert found_beyond_the_share(found)["explained"].is_monotonic_decreasing


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_the_images_of_an_insight_are_those_that_its_query_selects(seed):
    samples, scores = a_case(seed, 80)
    for row in insights_of(samples, scores, 5).insights.itertuples():
        assert row.image_ids == samples.query(row.query)["image_id"].tolist()


def test_what_follows_from_the_share_alone_is_not_said_again():
    """The number of persons moves the loss by their share alone; raw, it is among the strongest associations."""
    samples = full_metadata(300, 4)
    found = insights_of(samples, by_share(samples, 4))
    table = found.associations.set_index(["column", "metric"])
    assert table.loc[("count.person", "loss"), "rho"] > 0.5
    assert table.loc[("count.person", "loss"), "p_value"] < 1e-10
    assert abs(table.loc[("count.person", "loss"), "held"]) < 0.2
    assert found_beyond_the_share(found).empty


def test_chance_is_rarely_an_insight():
    """At 5 % for trends, hard images and slices each, at most a few of 30 runs say anything."""
    said = 0
    for seed in range(30):
        samples = full_metadata(120, seed)
        said += len(found_beyond_the_share(insights_of(samples, by_share(samples, seed)))) > 0
    assert said <= 6


def test_near_copies_are_no_evidence():
    """Forty pictures of eight near copies each, of whose metadata the scores know nothing but the share."""
    said = 0
    for seed in range(15):
        group = np.repeat(np.arange(40), 8)
        rng = np.random.default_rng(seed)
        samples = full_metadata(40, seed).loc[group].reset_index(drop=True).assign(image_id=np.arange(320))
        scores = by_share(full_metadata(40, seed), seed).loc[group].reset_index(drop=True)
        scores += rng.normal(0, 0.001, scores.shape)
        found = find_insights(samples, scores, TAXONOMY, group, 10)
        said += len(found_beyond_the_share(found)) > 0
        assert found.associations["units"].max() == 40
    assert said <= 4


def test_a_column_of_some_images_is_compared_within_them():
    """Among images with the column its size does nothing; that they have it at all costs loss."""
    samples = full_metadata(300, 1)
    has = samples["size.person"].notna()
    scores = by_share(samples, 1)
    scores["loss"] += 0.3 * has
    rows = insights_of(samples, scores).insights
    assert not rows["query"].str.contains("size.person").any()


def test_the_claim_is_answered_whatever_the_answer(run):
    samples, scores, found = run
    claims = found.insights[found.insights["kind"] == "claim"]
    assert claims["metric"].tolist() == ["loss", "iou.person"]
    loss, iou = claims["statement"]
    assert loss.startswith("The more instances of person, the higher the loss? As they are: yes (rank correlation +0.")
    assert "at a given share of person: not shown (" in loss
    assert "the lower the IoU of person? As they are: no, the opposite (" in iou
    rho = spearmanr(samples["count.person"], scores["loss"])[0]
    assert f"rank correlation {rho:+.2f}" in loss
    assert f"{len(samples)} groups of images" in loss


@pytest.mark.parametrize("held", [False, True])
def test_rank_correlations_cover_what_is_so(held):
    """Normal quantities correlated by 0.5 at a given third; Spearman's of them is 6/π·asin(0.25)."""
    rng = np.random.default_rng(0)
    true, covered = 6 / np.pi * np.arcsin(0.25), 0
    for _ in range(300):
        x = rng.normal(size=80)
        y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=80)
        z = rng.normal(size=80)
        found = rank_correlation(x + 2 * z * held, y + 2 * z * held, z if held else None)
        covered += found.low <= true <= found.high
        assert (found.p_value < 0.05) == (found.low * found.high > 0)
    assert 0.88 <= covered / 300 <= 0.99


def test_a_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 60).astype(float), rng.random(60)
    x[:5] = np.nan
    found = rank_correlation(x, y)
    assert found.rho == pytest.approx(spearmanr(x[5:], y[5:])[0])
    assert found.units == 55
    assert np.isnan(rank_correlation(x, np.ones(60)).rho)
    assert np.isnan(rank_correlation(x[:8], y[:8]).rho)


def test_correlations_are_of_the_images_that_have_both(run):
    samples, scores, found = run
    for row in found.associations.itertuples():
        both = pd.DataFrame({"x": samples[row.column], "y": scores[row.metric]}).dropna().astype(float)
        assert len(both) == row.images == row.units
        assert row.rho == pytest.approx(spearmanr(both["x"], both["y"])[0])
        assert row.low < row.rho < row.high
    assert set(found.associations["metric"]) == {"loss", "iou.person"}
    assert "image_id" not in set(found.associations["column"])


def test_the_measures_are_counts_and_comparisons(run):
    samples, scores, found = run
    rows = {row.measure: row for row in found.measures()}
    kinds = {f"insights.{kind}": (found.insights["kind"] == kind).sum() for kind in KINDS}
    assert {name: rows[name].value for name in kinds} == kinds
    groups = {f"{name}.{metric}" for name in HARD for metric in scores}
    expected = {f"{kind}.{group}" for kind in ("inside", "difference", "held") for group in groups}
    assert set(rows) == {*kinds, *expected}
    dark = samples["low_light"]
    for metric in scores:
        inside, difference, held = (rows[f"{kind}.low light.{metric}"] for kind in ("inside", "difference", "held"))
        assert inside.value == pytest.approx(scores.loc[dark, metric].mean())
        assert difference.value == pytest.approx(inside.value - scores.loc[~dark, metric].mean())
        assert difference.low < difference.value < difference.high
        assert held.low < held.value < held.high
        counted = scores[metric].notna()
        assert inside.images == (dark & counted).sum()
        assert held.carriers == min((dark & counted).sum(), (~dark & counted).sum())


def test_the_tables_fit_their_schemas(run, tmp_path):
    _, _, found = run
    write_parquet(tmp_path / "a.parquet", found.associations, ASSOCIATIONS)
    write_parquet(tmp_path / "i.parquet", found.insights, INSIGHTS)
    assert len(read_parquet(tmp_path / "a.parquet", ASSOCIATIONS)) == len(found.associations)
    write_parquet(tmp_path / "i.parquet", found.insights[:0], INSIGHTS)


def test_bins_are_means_of_all_images_once():
    rng = np.random.default_rng(0)
    x, y = rng.random(200), rng.random(200)
    table = binned(x, y, np.arange(200))
    assert len(table) == 5
    assert table["images"].sum() == 200
    for row in table.itertuples():
        inside = (x >= row.low) & (x <= row.high)
        assert inside.sum() == row.images
        assert row.mean == pytest.approx(y[inside].mean())
        error = y[inside].std(ddof=1) / np.sqrt(row.images)
        assert row.mean - row.mean_low == pytest.approx(2.023 * error, rel=0.01)  # Student's t of 39
        assert row.mean_high - row.mean == pytest.approx(row.mean - row.mean_low)


def test_a_count_that_is_mostly_zero_has_zero_as_a_bin():
    x = np.repeat([0.0, 1, 2, 3, 4, 5, 6], [90, 2, 2, 2, 2, 1, 1])
    table = binned(x, x, np.arange(100))
    assert (table["low"].iloc[0], table["high"].iloc[0], table["images"].iloc[0]) == (0, 0, 90)
    assert table["low"].iloc[1] == 1


def test_named_slices_are_compared_with_the_rest(run):
    samples, scores, _ = run
    left = scores - 1
    table = hard_images(samples, scores, left, np.arange(len(samples)))
    row = table[(table["name"] == "grayscale file") & (table["metric"] == "loss")].iloc[0]
    gray = samples["is_grayscale_file"]
    assert row["inside"] == pytest.approx(scores["loss"][gray].mean())
    assert (row["held"], row["held_low"]) == pytest.approx((row["difference"], row["low"]))
    assert row["images"] == row["units"] == gray.sum()
    p_values = []
    for each in table.itertuples():
        inside, values = HARD[each.name].holds(samples), scores[each.metric]
        p_values.append(ttest_ind(values[inside].dropna(), values[~inside].dropna(), equal_var=False).pvalue)
    assert table["p_value"].to_numpy() == pytest.approx(false_discovery_control(p_values))


def test_columns_that_repeat_or_say_nothing_are_left_out():
    samples = pd.DataFrame({"share.person": np.arange(30.0), "constant": 1.0})
    samples["share.super.person"] = samples["share.person"]
    samples["size.rare"] = np.where(np.arange(30) < 10, np.arange(30.0), np.nan)
    scores = pd.DataFrame({"loss": np.arange(30.0) ** 2})
    table = associations(samples, scores, {"loss": np.random.default_rng(0).random(30)}, np.arange(30))
    assert table["column"].tolist() == ["share.person"]
    assert table["rho"].iloc[0] == pytest.approx(1)


def test_images_without_a_loss_count_nowhere():
    samples, scores = a_case(3, 90)
    known = np.arange(90) >= 30
    scores.loc[~known] = np.nan
    found = insights_of(samples, scores)
    expected = insights_of(samples[known].reset_index(drop=True), scores[known].reset_index(drop=True))
    pd.testing.assert_frame_equal(found.insights, expected.insights)
    pd.testing.assert_frame_equal(found.associations, expected.associations)
    pd.testing.assert_frame_equal(found.hard, expected.hard)
    assert set().union(*found.insights["image_ids"]) <= set(samples.loc[known, "image_id"])


def unknown_scores(n: int) -> pd.DataFrame:
    return pd.DataFrame({"loss": np.full(n, np.nan), "iou.person": np.full(n, np.nan)})


@pytest.mark.parametrize("n", [0, 30])
@pytest.mark.filterwarnings("error")
def test_of_no_known_loss_nothing_is_said(n, tmp_path):
    found = insights_of(full_metadata(n), unknown_scores(n))
    assert found_beyond_the_share(found).empty
    assert all("too few images to say (0)" in statement for statement in found.statements())
    assert measure_table(found.measures()).set_index("measure")["value"].to_dict() == {
        f"insights.{kind}": int(kind == "claim") for kind in KINDS
    }
    write_parquet(tmp_path / "a.parquet", found.associations, ASSOCIATIONS)
    write_parquet(tmp_path / "i.parquet", found.insights, INSIGHTS)


@pytest.mark.filterwarnings("error")
def test_of_one_image_nothing_is_said():
    found = insights_of(full_metadata(1).assign(low_light=True), pd.DataFrame({"loss": [0.5]}), 5)
    assert found.associations.empty
    assert found.insights.empty
    known = measure_table(found.measures())["measure"]
    assert not known.str.startswith("difference").any()
    assert "inside.low light.loss" in set(known)


@pytest.mark.filterwarnings("error")
def test_a_slice_of_all_images_is_compared_with_nothing():
    samples, scores = a_case(0, 40)
    found = insights_of(samples.assign(low_light=True), scores, 5)
    assert not found.insights["query"].str.contains("low_light").any()
    assert not any("nan" in statement for statement in found.statements())


@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_the_same_everywhere_is_explained_by_nothing():
    found = insights_of(full_metadata(60), pd.DataFrame({"loss": np.ones(60)}))
    assert found.associations.empty
    assert found.insights.empty
