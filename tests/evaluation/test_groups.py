import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, mannwhitneyu

from segscope.evaluation.groups import compare, corrected


def test_interval_and_p_value_are_scipys():
    rng = np.random.default_rng(0)
    inside = rng.random(200) < 0.3
    loss = rng.gamma(2.0, size=200) + 0.8 * inside
    row = compare(inside, pd.DataFrame({"loss": loss})).iloc[0]
    assert row["inside"] == pytest.approx(loss[inside].mean())
    assert row["rest"] == pytest.approx(loss[~inside].mean())
    assert row["p_value"] == mannwhitneyu(loss[inside], loss[~inside]).pvalue
    other = bootstrap(
        (loss[inside], loss[~inside]),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        method="percentile",
        n_resamples=5000,
        rng=1,
    ).confidence_interval
    assert (row["low"], row["high"]) == pytest.approx((other.low, other.high), abs=0.05)


def test_a_group_with_few_values_has_no_interval():
    inside = np.array([True] * 3 + [False] * 10)
    row = compare(inside, pd.DataFrame({"loss": np.arange(13.0)})).iloc[0]
    assert row["inside"] == 1
    assert np.isnan([row["low"], row["high"], row["p_value"]]).all()


def test_missing_values_count_nowhere():
    inside = np.array([True, False] * 10)
    loss = np.where(np.arange(20) < 4, np.nan, 1.0 + inside)
    row = compare(inside, pd.DataFrame({"loss": loss})).iloc[0]
    assert (row["inside"], row["rest"]) == (2, 1)


@pytest.mark.parametrize("inside", [[False] * 8, [True] * 8, []], ids=["none inside", "none outside", "no image"])
@pytest.mark.filterwarnings("error")
def test_against_no_image_nothing_is_known(inside):
    row = compare(np.array(inside, bool), pd.DataFrame({"loss": np.arange(1.0, len(inside) + 1)})).iloc[0]
    assert np.isnan(row[["low", "high", "p_value"]].to_numpy(float)).all()
    assert np.isnan(row["inside"]) == (not any(inside))
    assert np.isnan(row["rest"]) == (all(inside))


def test_equal_groups_have_equal_comparisons():
    """The columns' resamples are the same ones: of two equal columns, one is not better known than the other."""
    rng = np.random.default_rng(0)
    inside, loss = rng.random(60) < 0.4, rng.random(60)
    table = compare(inside, pd.DataFrame({"a": loss, "other": np.where(loss > 0.5, np.nan, loss), "b": loss}))
    first, _, again = table.drop(columns="feature").to_numpy(float)
    assert first.tolist() == again.tolist()


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
