import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import adjusted_rand_score
from small import CATEGORIES

from segscope.artefacts.measures import measure_table
from segscope.artefacts.schemas import CLUSTER_PROFILES
from segscope.artefacts.tables import write_parquet
from segscope.latent import clusters
from segscope.latent.projection import map_of
from segscope.params import Cluster

FOUND = np.ones((3, 9))  # as of clusters that are found again each time


def profiled(labels, facts, numbers, scores, group=None, jaccard=None) -> pd.DataFrame:
    """`profile_clusters` of independent images in clusters that are found again."""
    group = np.arange(len(labels)) if group is None else group
    found = FOUND[:, : max(labels) + 1] if jaccard is None else jaccard
    return clusters.profile_clusters(labels, facts, numbers, scores, group, found)


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(0, 0.3, (len(truth), 4)) + 6 * np.eye(len(sizes), 4)[truth], truth


def test_planted_groups_are_found_largest_first():
    vectors, truth = blobs([15, 40, 25])
    labels, probability = clusters.find_clusters(vectors, 8, 3)
    assert adjusted_rand_score(truth, labels) > 0.95
    sizes = [int((labels == c).sum()) for c in range(labels.max() + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert ((probability > 0) == (labels >= 0)).all()


def test_enrichment_equals_fishers_exact_test():
    rng = np.random.default_rng(0)
    facts = pd.DataFrame({"a": rng.random(80) < 0.3, "b": rng.random(80) < 0.1, "never": False})
    inside = rng.random(80) < 0.25
    table = clusters.enrichment(inside, facts).set_index("feature")
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
    return profiled(labels, facts, numbers, pd.DataFrame({"loss": loss}))


def test_clusters_are_named_by_what_is_over_represented(profiles):
    assert profiles.groupby("cluster")["name"].first().tolist() == ["gray", "mixed"]
    assert profiles.groupby("cluster")["size"].first().tolist() == [20, 20]


def test_performance_is_compared_with_the_rest(profiles):
    loss = profiles[profiles["feature"] == "loss"].set_index("cluster")
    assert loss.loc[1, "inside"] == pytest.approx(2, abs=0.1)
    assert loss.loc[1, "rest"] == pytest.approx(1, abs=0.1)
    assert 0.9 < loss.loc[1, "low"] < loss.loc[1, "high"] < 1.1
    assert loss.loc[1, "p_value"] < 1e-6
    assert loss.loc[1, "units"] == 17


def test_chance_rarely_names_a_cluster():
    named = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        facts = pd.DataFrame(rng.random((120, 20)) < 0.3, columns=[f"f{i}" for i in range(20)])
        labels = rng.integers(-1, 4, 120)
        unknown = pd.DataFrame({"n": np.full(120, np.nan)})
        rows = profiled(labels, facts, unknown, unknown)
        named += (rows["name"] != "mixed").any()
    assert named <= 2


def test_without_clusters_there_are_no_profiles():
    none = pd.DataFrame({"a": [True] * 5})
    rows = profiled(np.full(5, -1), none, none * 1.0, none * 1.0)
    assert rows.empty


@pytest.mark.parametrize(("n", "sizes"), [(30, (5, 1)), (200, (11, 3)), (400, (15, 5)), (100_000, (237, 79))])
def test_sizes_grow_with_the_images(n, sizes):
    assert clusters.cluster_sizes(n, None, None) == sizes
    assert clusters.cluster_sizes(n, 20, 4) == (20, 4)


def test_clusters_that_come_again_are_stable_and_random_ones_are_not():
    vectors, _ = blobs([40, 40, 40])
    labels, _ = clusters.find_clusters(vectors, 8, 3)
    calls = []

    def again(chosen: np.ndarray, seed: int) -> np.ndarray:
        calls.append((len(chosen), seed))
        return clusters.find_clusters(vectors[chosen], 8, 3)[0]

    found = clusters.stability(labels, again, 3, 0)
    assert calls == [(120, 1), (120, 2), (120, 3), (96, 1), (96, 2), (96, 3)]
    assert found.rand["seeds"] == found.rand["seeds_lowest"] == 1
    assert found.rand["subsamples_lowest"] > 0.9
    assert found.jaccard.shape == (3, 3)
    assert found.jaccard.min() > 0.9
    noise = np.random.default_rng(0)
    chance = clusters.stability(labels, lambda chosen, seed: noise.integers(0, 3, len(chosen)), 3, 0)
    assert abs(chance.rand["seeds"]) < 0.1
    assert chance.jaccard.max() < clusters.STABLE
    none = clusters.stability(labels, again, 0, 0)
    assert none.rand == {}
    assert none.jaccard.shape == (0, 3)


def test_a_cluster_that_appears_or_drowns_in_noise_is_not_stable():
    labels = np.repeat([0, 1], 30)
    found = clusters.stability(labels, lambda chosen, seed: np.full(len(chosen), -1), 1, 0)
    assert found.rand["seeds"] == 0
    assert found.jaccard.tolist() == [[0, 0]]


def test_the_best_match_by_hand():
    labels, found = np.array([0, 0, 0, 0, 1, 1, -1, -1]), np.array([2, 2, 2, 0, 0, 0, 0, -1])
    assert clusters.best_match(labels, found, 2).tolist() == [3 / 4, 2 / 4]


def named(share: float, jaccard: float = 0.9) -> str:
    """The name of a cluster of 50 of 400 images, of which a share is gray, as 4 % of the others are."""
    labels = np.repeat([0, -1], [50, 350])
    gray = np.r_[np.arange(50) < 50 * share, np.arange(350) < 14]
    none = pd.DataFrame({"n": np.zeros(400)})
    rows = profiled(labels, pd.DataFrame({"gray": gray}), none, none, jaccard=np.full((3, 1), jaccard))
    return rows["name"].iloc[0]


def test_a_name_holds_for_half_of_its_cluster_and_a_cluster_that_is_not_found_again_has_none():
    assert named(0.6) == "gray"
    assert named(0.16) == "mixed, more often gray (16 % against 4 %)"
    assert named(0.04) == "mixed"
    assert named(0.6, jaccard=0.5) == "not stable"


def test_of_facts_that_say_the_same_one_names_the_cluster():
    labels = np.repeat([0, -1], [40, 160])
    car = labels == 0
    facts = pd.DataFrame({"vehicle": car | (np.arange(200) == 199), "car": car, "dark": car & (np.arange(200) % 2 > 0)})
    none = pd.DataFrame({"n": np.zeros(200)})
    assert profiled(labels, facts, none, none)["name"].iloc[0] == "car"


def test_near_copies_make_no_name():
    """Ten copies each of 60 pictures, facts shuffled over the pictures: taken as images every cluster has a name."""
    found, naive = 0, 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(60), 10)
        labels = rng.integers(-1, 4, 60)[group]
        facts = pd.DataFrame(rng.random((60, 20)) < 0.3, columns=[f"f{i}" for i in range(20)]).loc[group]
        facts = facts.reset_index(drop=True)
        none = pd.DataFrame({"n": np.zeros(600)})
        found += (profiled(labels, facts, none, none, group)["name"] != "mixed").any()
        naive += (profiled(labels, facts, none, none)["name"] != "mixed").any()
    assert found <= 1
    assert naive >= 13


def test_purity_is_shown_above_chance():
    labels = np.repeat([0, 1], 50)
    pure = clusters.cluster_purity(labels, np.repeat(["a", "b"], 50), np.arange(100))
    assert (pure.purity, pure.above) == (1, 1)
    assert 0.5 < pure.chance < 0.65
    random = clusters.cluster_purity(
        labels, np.random.default_rng(0).permutation(np.repeat(["a", "b"], 50)), np.arange(100)
    )
    assert abs(random.above) < 0.25
    # Of two pictures in fifty copies each there is nothing to be impure.
    assert clusters.cluster_purity(labels, np.repeat(["a", "b"], 50), labels).chance == 1
    assert np.isnan(clusters.cluster_purity(labels, np.repeat("a", 100), np.arange(100))).all()
    assert np.isnan(clusters.cluster_purity(np.full(5, -1), np.full(5, "a"), np.arange(5)).purity)


def test_recovery_by_hand():
    labels = np.repeat([0, 1, 2, -1], [20, 20, 20, 40])
    gray = np.zeros(100, bool)
    gray[:18] = gray[20:36] = gray[95:] = True
    facts = pd.DataFrame({"gray": gray, "rare": np.arange(100) == 50})
    none = pd.DataFrame({"n": np.zeros(100)})
    profiles = profiled(labels, facts, none, none)
    alone = np.arange(100)
    rows = {row.measure: (row.value, row.images) for row in clusters.recovery_measures(labels, facts, profiles, alone)}
    assert rows == {"precision.gray": (34 / 40, 40), "recovered.gray": (34 / 39, 39), "share.gray": (0.39, 100)}
    recall = profiles[profiles["feature"] == "gray"].set_index("cluster")["recall"]
    assert recall.loc[0] == pytest.approx(18 / 39)


def test_the_measures_of_clusters(profiles):
    labels = np.repeat([0, 1, -1], [20, 20, 60])
    dominant = np.repeat(["a", "b", "a"], [20, 20, 60])
    stable = {"seeds": 0.9, "seeds_lowest": 0.8}
    rows = clusters.cluster_measures(labels, dominant, np.arange(100), profiles, stable)
    found = {row.measure: row.value for row in rows}
    assert 0.5 < found.pop("chance.purity") < 0.7
    assert found == {
        "clusters": 2,
        "named": 1,
        "unstable": 0,
        "unclustered": 0.6,
        "stability.seeds": 0.9,
        "stability.seeds_lowest": 0.8,
        "purity": 1,
        "above_chance.purity": 1,
    }


@pytest.mark.filterwarnings("error")
def test_without_clusters_the_measures_say_so(tmp_path):
    labels, facts = np.full(30, -1), pd.DataFrame({"a": [True] * 30})
    profiles = profiled(labels, facts, facts * 1.0, facts * 1.0)
    alone = np.arange(30)
    rows = measure_table(clusters.cluster_measures(labels, np.full(30, "a"), alone, profiles, {}))
    expected = {"clusters": 0, "named": 0, "unstable": 0, "unclustered": 1}
    assert rows.set_index("measure")["value"].to_dict() == expected
    assert clusters.recovery_measures(labels, facts, profiles, alone) == []
    write_parquet(tmp_path / "profiles.parquet", profiles, CLUSTER_PROFILES)


def test_latent_vectors_are_clustered_in_a_map_of_them():
    """The options' sizes, or those that suit the number of images."""
    vectors, truth = blobs([40, 40, 40])
    labels, _ = clusters.cluster_vectors(vectors, Cluster(dimensions=2), 10, 0)
    assert adjusted_rand_score(truth, labels) == 1
    points = map_of(vectors, 10, 0.0, 0, 2)
    for options, sizes in ((Cluster(dimensions=2), (8, 2)), (Cluster(dimensions=2, min_cluster_size=60), (60, 20))):
        expected = clusters.find_clusters(points, *sizes)
        for found, own in zip(clusters.cluster_vectors(vectors, options, 10, 0), expected, strict=True):
            assert np.array_equal(found, own)


def test_gray_images_by_kind_of_file_and_their_loss():
    samples = pd.DataFrame({"is_gray": [True] * 30 + [False] * 30, "is_grayscale_file": [True] * 20 + [False] * 40})
    loss = np.r_[np.full(20, 2.0), np.full(10, 1.0), np.full(30, 0.5)] + np.random.default_rng(0).normal(0, 0.01, 60)
    loss[-1] = loss[0] = np.nan
    rows = {row.measure: row for row in clusters.gray_measures(samples, loss, np.arange(len(loss)))}
    counts = {name: rows[name].value for name in ("gray", "grayscale_files", "gray_rgb_files")}
    assert counts == {"gray": 30, "grayscale_files": 20, "gray_rgb_files": 10}
    difference = rows["difference.gray.loss"]
    assert difference.value == pytest.approx((19 * 2 + 10) / 29 - 0.5, abs=0.02)
    assert difference.low < difference.value < difference.high
    assert (difference.images, difference.split) == (29, "val")


@pytest.mark.parametrize(
    ("gray", "loss"), [([False] * 8, np.ones(8)), ([True] * 8, np.ones(8)), ([True, False] * 4, np.full(8, np.nan))]
)
@pytest.mark.filterwarnings("error")
def test_gray_images_that_cannot_be_compared_have_no_difference(gray, loss):
    samples = pd.DataFrame({"is_gray": gray, "is_grayscale_file": False})
    table = measure_table(clusters.gray_measures(samples, loss, np.arange(len(loss)))).set_index("measure")["value"]
    assert table.to_dict() == {"gray": sum(gray), "grayscale_files": 0, "gray_rgb_files": sum(gray)}


def test_facts_are_words_and_hold_of_the_images_that_show_them():
    samples = pd.DataFrame(
        {
            "is_gray": [True, True, False],
            "is_grayscale_file": [True, False, False],
            "low_light": [False, False, True],
            "n_crowds": [0, 2, 0],
        }
    )
    for group in ("person", "car", "bus", "dog", "super.person", "super.vehicle", "super.animal"):
        samples[f"count.{group}"], samples[f"crowd.{group}"] = 0, 0
    samples["count.car"] = samples["count.super.vehicle"] = [0, 1, 0]
    samples["crowd.person"] = samples["crowd.super.person"] = [0, 2, 0]
    samples["count.bus"] = [0, 0, 1]
    samples["count.super.vehicle"] += samples["count.bus"]
    facts = clusters.binary_features(samples, CATEGORIES)
    assert {name: facts[name].tolist() for name in facts} == {
        "gray": [True, True, False],
        "grayscale file": [True, False, False],
        "gray RGB file": [False, True, False],
        "dark": [False, False, True],
        "crowd": [False, True, False],
        "person": [False, True, False],
        "car": [False, True, False],
        "bus": [False, False, True],
        "vehicle": [False, True, True],
    }


@pytest.mark.parametrize("n", [4, 7, 18])
def test_few_images_are_clustered_and_clustered_again(n):
    vectors = np.random.default_rng(0).normal(size=(n, 8))
    options = Cluster(dimensions=20)

    def again(chosen: np.ndarray, seed: int) -> np.ndarray:
        return clusters.cluster_vectors(vectors[chosen], options, 15, seed)[0]

    labels = again(np.arange(n), 0)
    assert len(labels) == n
    assert -1 <= clusters.stability(labels, again, 2, 0).rand["seeds"] <= 1
