import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.difference import Difference, differences, holm
from segscope.evaluation.metrics import Ratio

N = 200


def training(loss: np.ndarray, n: int = N) -> dict[str, Ratio]:
    return {"loss": Ratio(np.broadcast_to(loss, n).astype(float), np.ones(n), np.ones(n, bool))}


def compared(a: list[np.ndarray], b: list[np.ndarray], group: np.ndarray | None = None) -> Difference:
    (found,) = differences(
        [training(x) for x in a], [training(x) for x in b], Bootstrap(np.arange(N) if group is None else group)
    )
    return found


def test_of_images_that_do_not_vary_it_is_welchs_test_of_the_trainings():
    a, b = [0.50, 0.52, 0.51], [0.60, 0.66, 0.62, 0.61]
    found = compared([np.array(x) for x in a], [np.array(x) for x in b])
    expected = stats.ttest_ind(b, a, equal_var=False)
    assert found.freedom == pytest.approx(expected.df)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert [found.low, found.high] == pytest.approx([*expected.confidence_interval(0.95)])
    assert (found.a, found.b) == pytest.approx((np.mean(a), np.mean(b)))


def test_of_single_trainings_it_is_over_images_and_tells_no_change():
    rng = np.random.default_rng(0)
    a, change = rng.gamma(2, size=N), rng.normal(0.05, 0.1, N)
    found = compared([a], [a + change])
    assert np.isnan(found.p_value)
    half = stats.t.ppf(0.975, N - 1) * change.std(ddof=1) / np.sqrt(N)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_near_copies_are_drawn_together():
    """Five copies of each image: the interval is that of the images, not more than twice as narrow."""
    rng = np.random.default_rng(0)
    a, change = rng.gamma(2, size=40), rng.normal(0.05, 0.1, 40)
    wide = compared([np.repeat(a, 5)], [np.repeat(a + change, 5)], np.repeat(np.arange(40), 5))
    narrow = compared([np.repeat(a, 5)], [np.repeat(a + change, 5)])
    assert wide.error == pytest.approx(narrow.error * np.sqrt(5), rel=0.15)
    assert wide.freedom < 40


def test_a_single_training_varies_as_those_of_the_other_side():
    a = [0.50, 0.52, 0.54]
    found = compared([np.array(x) for x in a], [np.array(0.6)])
    assert found.error == pytest.approx(0.02 * np.sqrt(1 + 1 / 3))
    assert found.freedom == pytest.approx(2)
    turned = compared([np.array(0.6)], [np.array(x) for x in a])
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_what_few_groups_carry_has_no_interval():
    found = compared([np.array(0.5)] * 2, [np.array(0.6)] * 2, np.arange(N) % 19)
    assert (found.a, found.b) == pytest.approx((0.5, 0.6))
    assert np.isnan([found.low, found.high, found.p_value]).all()


def test_a_metric_that_one_training_lacks_or_does_not_know_is_left_out():
    one, other = training(np.array(1.0)), training(np.array(2.0))
    unknown = Ratio(np.zeros(N), np.zeros(N), np.zeros(N, bool))
    found = differences([one | {"x": one["loss"]}, one], [other | {"x": one["loss"]}, other], Bootstrap(np.arange(N)))
    assert [row.metric for row in found] == ["loss"]
    found = differences([one | {"x": unknown}], [other | {"x": unknown}], Bootstrap(np.arange(N)))
    assert [row.metric for row in found] == ["loss"]


@pytest.mark.parametrize(("k", "variant"), [(2, 0.0), (3, 0.0), (3, 0.05)])
def test_trainings_of_one_configuration_seldom_differ(k, variant):
    """Losses of the size and the variance components that six trainings of the drawn sample have.

    variant: what another configuration moves in single images, without being better or worse.
    """
    rng, false, marked, trials, n = np.random.default_rng(k), 0, 0, 300, 136
    for _ in range(trials):
        image = rng.gamma(1.5, 0.1, n)
        sides = [
            [image + of + rng.normal(0, 0.0031) + rng.normal(0, 0.0277, n) for _ in range(k)]
            for of in (0, rng.normal(0, variant, n) if variant else 0)
        ]
        trainings = [[training(each, n) for each in side] for side in sides]
        (found,) = differences(*trainings, Bootstrap(np.arange(n), resamples=200))
        false += found.low > 0 or found.high < 0
        marked += found.p_value < 0.05
    assert marked <= false <= stats.binom.ppf(0.999, trials, 0.05)


def test_a_change_that_is_there_is_found():
    rng, n = np.random.default_rng(0), 136
    image = rng.gamma(1.5, 0.1, n)
    sides = [
        [training(image + of + rng.normal(0, 0.003) + rng.normal(0, 0.03, n), n) for _ in range(3)] for of in (0, 0.03)
    ]
    (found,) = differences(*sides, Bootstrap(np.arange(n)))
    assert found.p_value < 0.01
    assert found.low < 0.03 < found.high


def test_holm_by_hand():
    found = holm([0.01, np.nan, 0.04, 0.03, 0.005])
    assert found[[0, 2, 3, 4]].tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(found[1])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_the_value_and_bonferronis(values):
    found, given_ = holm(values), np.array(values)
    assert (found >= given_ - 1e-12).all()
    assert (found <= np.minimum(given_ * len(values), 1) + 1e-12).all()
    order = np.argsort(given_, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_a_few_trainings_that_vary_tell_no_change_by_many_that_do_not():
    rng = np.random.default_rng(0)
    steady = [np.array(0.35 + 0.001 * x) for x in rng.normal(size=6)]
    found = compared([np.array(0.5), np.array(0.6)], steady)
    assert found.low < 0 < found.high
    assert found.p_value > 0.05
