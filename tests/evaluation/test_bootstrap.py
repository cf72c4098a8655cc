import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segscope.evaluation import bootstrap
from segscope.evaluation.bootstrap import RESAMPLES, Bootstrap, interval

GROUPS = st.lists(st.integers(-5, 5), min_size=1, max_size=40)


def test_resamples_draw_as_many_groups_with_replacement():
    weights = np.concatenate(list(Bootstrap(np.repeat(np.arange(30), 3)).weights()))
    assert weights.shape == (RESAMPLES, 30)
    assert (weights.sum(1) == 30).all()
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 30, rel=0.05)


@given(GROUPS)
def test_sums_are_those_of_the_drawn_groups_images(group):
    among = Bootstrap(np.array(group), 20)
    columns = np.random.default_rng(0).random((len(group), 2))
    weights = np.concatenate(list(among.weights()))
    assert among.sums(columns) == pytest.approx(weights[:, among.group] @ columns)


def test_drawn_in_parts_they_are_the_same(monkeypatch):
    whole = Bootstrap(np.arange(50)).sums(np.arange(50.0)[:, None])
    monkeypatch.setattr(bootstrap, "CHUNK", 120)
    assert np.array_equal(Bootstrap(np.arange(50)).sums(np.arange(50.0)[:, None]), whole)


def test_carriers_by_hand():
    group = np.array([7, 7, 3, 3, 9, 9])
    columns = np.array([[1, 1, 0, 0, 1.0, 1], [5, 5, 0, 0, 0, 0], [2, 2, 1, 1, 0, 0], [0] * 6]).T
    assert Bootstrap(group).carriers(columns).tolist() == [2, 1, pytest.approx(36 / 20), 0]


@given(GROUPS, st.floats(0.1, 100))
def test_equal_groups_all_carry_and_no_sum_is_carried_by_more(group, scale):
    among = Bootstrap(np.array(group))
    size = np.bincount(among.group)[among.group]
    assert among.carriers(scale / size[:, None])[0] == pytest.approx(among.groups)
    assert 1 - 1e-9 <= among.carriers(np.random.default_rng(0).random((len(group), 1)) + 0.01)[0] <= among.groups + 1e-9


def test_the_interval_covers_a_known_mean_of_independent_and_of_grouped_images():
    """Images of a group share most of their value: the interval over images would cover 0 in a third of the draws."""
    rng, covered = np.random.default_rng(0), {1: 0, 10: 0}
    for seed in range(200):
        for copies in covered:
            group = np.repeat(np.arange(60), copies)
            values = rng.normal(size=60)[group] + 0.1 * rng.normal(size=len(group))
            low, high = interval(Bootstrap(group, 400, seed).sums(values[:, None])[:, 0])
            covered[copies] += low <= 0 <= high
    assert all(0.88 <= each / 200 <= 0.99 for each in covered.values())


def test_the_interval_of_nothing_is_unknown():
    assert np.isnan(interval(np.array([]))).all()
    assert np.isnan(interval(np.array([np.nan, np.nan]))).all()
    assert interval(np.array([1.0, np.nan, 1.0])) == (1, 1)
