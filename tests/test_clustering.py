import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import adjusted_rand_score

from segscope import clustering


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(0, 0.3, (len(truth), 4)) + 6 * np.eye(len(sizes), 4)[truth], truth


def test_planted_groups_are_found_largest_first():
    vectors, truth = blobs([15, 40, 25])
    labels, probability = clustering.find_clusters(vectors, 8, 3)
    assert adjusted_rand_score(truth, labels) > 0.95
    sizes = [int((labels == c).sum()) for c in range(labels.max() + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert ((probability > 0) == (labels >= 0)).all()


def test_enrichment_equals_fishers_exact_test():
    rng = np.random.default_rng(0)
    facts = pd.DataFrame({"a": rng.random(80) < 0.3, "b": rng.random(80) < 0.1, "never": False})
    inside = rng.random(80) < 0.25
    table = clustering.enrichment(inside, facts).set_index("feature")
    for name in ("a", "b"):
        fact = facts[name].to_numpy()
        cells = [
            [(inside & fact).sum(), (inside & ~fact).sum()],
            [(~inside & fact).sum(), (~inside & ~fact).sum()],
        ]
        assert table.loc[name, "p_value"] == pytest.approx(fisher_exact(cells, alternative="greater").pvalue)
        assert table.loc[name, "inside"] == pytest.approx(fact[inside].mean())
        assert table.loc[name, "lift"] == pytest.approx(fact[inside].mean() / fact.mean())
    assert table.loc["never", "p_value"] == 1


@pytest.fixture
def profiles():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, -1], [20, 20, 60])
    facts = pd.DataFrame({"gray": labels == 0, "chance": rng.random(100) < 0.5})
    loss = np.where(labels == 1, 2.0, 1.0) + rng.normal(0, 0.1, 100)
    loss[::7] = np.nan
    numbers = pd.DataFrame({"brightness": rng.random(100)})
    return clustering.profile_clusters(labels, facts, numbers, pd.DataFrame({"loss": loss}), 300, 0)


def test_clusters_are_named_by_what_is_over_represented(profiles):
    assert profiles.groupby("cluster")["name"].first().tolist() == ["gray", "mixed"]
    assert profiles.groupby("cluster")["size"].first().tolist() == [20, 20]


def test_performance_is_compared_with_the_rest(profiles):
    loss = profiles[profiles["feature"] == "loss"].set_index("cluster")
    assert loss.loc[1, "inside"] == pytest.approx(2, abs=0.1)
    assert loss.loc[1, "rest"] == pytest.approx(1, abs=0.1)
    assert 0.9 < loss.loc[1, "low"] < loss.loc[1, "high"] < 1.1
    assert loss.loc[1, "p_value"] < 1e-6


def test_chance_rarely_names_a_cluster():
    named = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        facts = pd.DataFrame(rng.random((120, 20)) < 0.3, columns=[f"f{i}" for i in range(20)])
        labels = rng.integers(-1, 4, 120)
        numbers = pd.DataFrame({"n": rng.random(120)})
        rows = clustering.profile_clusters(labels, facts, numbers, numbers, 100, 0)
        named += (rows["name"] != "mixed").any()
    assert named <= 2


def test_without_clusters_there_are_no_profiles():
    none = pd.DataFrame({"a": [True] * 5})
    rows = clustering.profile_clusters(np.full(5, -1), none, none * 1.0, none * 1.0, 100, 0)
    assert rows.empty


@pytest.mark.parametrize(("n", "sizes"), [(30, (5, 1)), (200, (11, 3)), (400, (15, 5)), (100_000, (237, 79))])
def test_sizes_grow_with_the_images(n, sizes):
    assert clustering.cluster_sizes(n, None, None) == sizes
    assert clustering.cluster_sizes(n, 20, 4) == (20, 4)


def test_clusters_that_come_again_are_stable_and_random_ones_are_not():
    vectors, _ = blobs([40, 40, 40])
    labels, _ = clustering.find_clusters(vectors, 8, 3)
    calls = []

    def again(chosen: np.ndarray, seed: int) -> np.ndarray:
        calls.append((len(chosen), seed))
        return clustering.find_clusters(vectors[chosen], 8, 3)[0]

    found = clustering.stability(labels, again, 3, 0)
    assert calls == [(120, 1), (120, 2), (120, 3), (96, 1), (96, 2), (96, 3)]
    assert found["seeds"] == found["seeds_lowest"] == 1
    assert found["subsamples_lowest"] > 0.9
    noise = np.random.default_rng(0)
    chance = clustering.stability(labels, lambda chosen, seed: noise.integers(0, 3, len(chosen)), 3, 0)
    assert abs(chance["seeds"]) < 0.1
    assert clustering.stability(labels, again, 0, 0) == {}


def test_a_cluster_that_appears_or_drowns_in_noise_is_not_stable():
    labels = np.repeat([0, 1], 30)
    found = clustering.stability(labels, lambda chosen, seed: np.full(len(chosen), -1), 1, 0)
    assert found["seeds"] == 0


def test_recovery_by_hand():
    labels = np.repeat([0, 1, 2, -1], [20, 20, 20, 40])
    gray = np.zeros(100, bool)
    gray[:18] = gray[20:36] = gray[95:] = True
    facts = pd.DataFrame({"gray": gray, "rare": np.arange(100) == 50})
    none = pd.DataFrame({"n": np.zeros(100)})
    profiles = clustering.profile_clusters(labels, facts, none, none, 100, 0)
    expected = {"clusters": [0, 1], "precision": 34 / 40, "recall": 34 / 39, "share": 0.39}
    assert clustering.recovery(labels, facts, profiles) == {"gray": expected}
    recall = profiles[profiles["feature"] == "gray"].set_index("cluster")["recall"]
    assert recall.loc[0] == pytest.approx(18 / 39)


def test_gray_images_by_kind_of_file_and_their_loss():
    samples = pd.DataFrame({"is_gray": [True] * 30 + [False] * 30, "is_grayscale_file": [True] * 20 + [False] * 40})
    loss = np.r_[np.full(20, 2.0), np.full(10, 1.0), np.full(30, 0.5)] + np.random.default_rng(0).normal(0, 0.01, 60)
    loss[-1] = np.nan
    found = clustering.gray_images(samples, loss, 200, 0)
    assert (found["images"], found["grayscale_files"], found["gray_rgb_files"]) == (30, 20, 10)
    file = found["loss_grayscale_against_rgb"]
    assert file["gray"] == pytest.approx(2, abs=0.02)
    assert file["rest"] == pytest.approx((10 + 29 * 0.5) / 39, abs=0.02)
    assert file["low"] < file["gray"] - file["rest"] < file["high"]
    assert file["p_value"] < 1e-6
    assert found["loss_gray_against_coloured"]["images"] == 30
