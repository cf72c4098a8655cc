import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from segscope.evaluation.groups import compare, corrected, groups_of_copies, mean_interval


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def test_interval_and_p_value_of_independent_images_are_welchs():
    rng = np.random.default_rng(0)
    inside = rng.random(200) < 0.3
    loss = rng.gamma(2.0, size=200) + 0.8 * inside
    row = compare(inside, pd.DataFrame({"loss": loss}), alone(200)).iloc[0]
    expected = ttest_ind(loss[inside], loss[~inside], equal_var=False)
    assert (row["inside"], row["rest"]) == pytest.approx((loss[inside].mean(), loss[~inside].mean()))
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert (row["units"], row["rest_units"]) == (inside.sum(), (~inside).sum())


@given(st.integers(0, 1000), st.integers(2, 6))
def test_copies_of_an_image_add_nothing(seed, copies):
    rng = np.random.default_rng(seed)
    inside, loss = np.arange(30) < 12, rng.gamma(2.0, size=30)
    once = compare(inside, pd.DataFrame({"loss": loss}), alone(30)).drop(columns="feature")
    often = compare(
        np.repeat(inside, copies), pd.DataFrame({"loss": np.repeat(loss, copies)}), np.repeat(alone(30), copies)
    ).drop(columns="feature")
    assert often.to_numpy(float) == pytest.approx(once.to_numpy(float))


def test_a_groups_images_on_both_sides_are_compared_within_it():
    """Each group's two images differ by 1, whatever the group: the difference is known exactly."""
    group = np.repeat(np.arange(20), 2)
    inside = np.tile([True, False], 20)
    loss = np.random.default_rng(0).normal(0, 10, 20)[group] + inside
    row = compare(inside, pd.DataFrame({"loss": loss}), group).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((1, 1), abs=1e-4)


def test_small_groups_are_covered_as_often_as_large_ones():
    """Random images against the rest of skewed losses, as those of photographs are: nothing to find."""
    rng = np.random.default_rng(0)
    loss = pd.DataFrame({"loss": rng.gamma(1.5, size=136)})
    for size, least in ((8, 0.86), (11, 0.88), (20, 0.9)):
        inside = np.zeros((300, 136), bool)
        for row in inside:
            row[rng.choice(136, size, replace=False)] = True
        found = pd.concat(compare(row, loss, alone(136)) for row in inside)
        assert least <= ((found["low"] <= 0) & (found["high"] >= 0)).mean() <= 0.99


def test_a_side_of_few_groups_has_no_interval():
    inside = np.array([True] * 8 + [False] * 10)
    group = np.array([0, 0, 1, 1, 2, 2, 3, 3, *range(10, 20)])
    row = compare(inside, pd.DataFrame({"loss": np.arange(18.0)}), group).iloc[0]
    assert (row["inside"], row["units"]) == (3.5, 4)
    assert np.isnan([row["low"], row["high"], row["p_value"]]).all()


def test_a_p_value_is_never_0():
    inside = np.arange(4000) < 2000
    noise = np.random.default_rng(0).normal(0, 1e-6, 4000)
    assert 0 < compare(inside, pd.DataFrame({"loss": inside + noise}), alone(4000))["p_value"].iloc[0] < 1e-300


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).gamma(2.0, size=40)
    mean, low, high = mean_interval(values, alone(40))
    assert (mean, low, high) == pytest.approx((values.mean(), *ttest_1samp(values, 0).confidence_interval()))
    assert mean_interval(np.repeat(values, 3), np.repeat(alone(40), 3)) == pytest.approx((mean, low, high))
    assert np.isnan(mean_interval(values[:8], np.repeat(alone(4), 2))[1:]).all()


def test_missing_values_count_nowhere():
    inside = np.array([True, False] * 10)
    loss = np.where(np.arange(20) < 4, np.nan, 1.0 + inside)
    row = compare(inside, pd.DataFrame({"loss": loss}), alone(20)).iloc[0]
    assert (row["inside"], row["rest"]) == (2, 1)


@pytest.mark.parametrize("inside", [[False] * 8, [True] * 8, []], ids=["none inside", "none outside", "no image"])
@pytest.mark.filterwarnings("error")
def test_against_no_image_nothing_is_known(inside):
    values = pd.DataFrame({"loss": np.arange(1.0, len(inside) + 1)})
    row = compare(np.array(inside, bool), values, alone(len(inside))).iloc[0]
    assert np.isnan(row[["low", "high", "p_value"]].to_numpy(float)).all()
    assert np.isnan(row["inside"]) == (not any(inside))
    assert np.isnan(row["rest"]) == (all(inside))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_correction_is_benjamini_and_hochbergs(values):
    p = np.array(values)
    # Of each, the least p·m / rank of the p-values as large or larger.
    expected = [min(t * len(p) / (p <= t).sum() for t in p if t >= own) for own in p]
    assert corrected(pd.Series(p)).to_numpy() == pytest.approx(expected)


def test_what_has_no_p_value_does_not_count_in_the_correction():
    found = corrected(pd.Series([0.01, np.nan, 0.04]))
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.04])
    assert np.isnan(found[1])
    assert corrected(pd.Series([np.nan, np.nan])).isna().all()
    assert corrected(pd.Series([], dtype=float)).empty


def test_what_is_rare_is_not_unusual_where_it_is_missing_by_chance():
    """Of columns that are 0 in all but 2 % of the images, a random cluster differs in one of twenty."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(20):
        columns = pd.DataFrame(rng.random((2000, 20)) < 0.02).astype(float)
        inside = np.zeros(2000, bool)
        inside[rng.permutation(2000)[:30]] = True
        p_values.append(compare(inside, columns, alone(2000))["p_value"].to_numpy())
    assert np.mean(np.concatenate(p_values) < 0.05) < 0.07


def test_copies_are_of_their_images_groups_and_of_their_own_where_these_are_gone():
    groups = pd.Series([4, 4, 0], index=[1, 2, 3])
    copies = pd.DataFrame({"image_id": [7, 8, 9, 10], "other_id": [2, 98, 99, 3]})
    found = groups_of_copies(copies, groups)
    assert found.loc[[7, 10]].tolist() == [4, 0]
    assert len({*found, *groups}) == 4
