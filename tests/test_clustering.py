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


def test_a_cluster_with_few_scores_has_no_interval():
    inside = np.array([True] * 3 + [False] * 10)
    row = clustering.compare(inside, pd.DataFrame({"loss": np.arange(13.0)}), "performance", 100, 0).iloc[0]
    assert row["inside"] == 1
    assert np.isnan([row["low"], row["high"], row["p_value"]]).all()


def test_without_clusters_there_are_no_profiles():
    none = pd.DataFrame({"a": [True] * 5})
    rows = clustering.profile_clusters(np.full(5, -1), none, none * 1.0, none * 1.0, 100, 0)
    assert rows.empty


def test_what_lies_under_the_attention():
    table = clustering.attention_profile(
        np.array([1.0, 3.0, 0.0]), np.array([75, 25, 0]), ["unlabelled", "bus", "dog"]
    ).set_index("feature")
    assert table.index.tolist() == ["unlabelled", "bus"]
    assert table["inside"].tolist() == [0.25, 0.75]
    assert table.loc["bus", "lift"] == pytest.approx(3)
