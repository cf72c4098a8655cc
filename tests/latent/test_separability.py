import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, silhouette_score
from small import CATEGORIES, TAXONOMY

from segscope.artefacts.measures import measure_table
from segscope.latent import separability
from segscope.taxonomy import Taxonomy


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("shift", "low", "high"), [(0, 0.25, 0.75), (10, 0.99, 1)])
def test_separability_of_one_and_of_two_groups(shift, low, high, rng):
    heavy = np.repeat([0, 1, -1], 40)
    vectors = rng.normal(size=(120, 3)) + shift * (heavy == 1)[:, None]
    value, (lower, upper) = separability.separability(vectors, heavy, np.arange(120), 0)
    assert low <= value <= high
    assert lower <= value <= upper <= 1


def test_separability_is_of_no_fold_seed(rng):
    """Averaged over ways of folding, another seed moves it by less than its interval is wide."""
    heavy = np.repeat([0, 1], 60)
    vectors = rng.normal(size=(120, 8)) + 0.6 * heavy[:, None]
    values, ends = zip(
        *(separability.separability(vectors, heavy, np.arange(120), 10 * s) for s in range(3)), strict=True
    )
    assert np.ptp(values) < 0.2 * (ends[0][1] - ends[0][0])


def test_copies_of_an_image_are_never_in_two_folds(rng):
    """Random labels of groups: a classifier that saw a copy of an image would know its label."""
    group = np.repeat(np.arange(40), 6)
    vectors = rng.normal(size=(40, 30))[group] + 0.01 * rng.normal(size=(240, 30))
    heavy = rng.permutation(np.repeat([0, 1], 20))[group]
    value, (low, high) = separability.separability(vectors, heavy, group, 0)
    assert value < 0.75
    assert high - low > 0.15
    leaking, _ = separability.separability(vectors, heavy, np.arange(240), 0)
    assert leaking > 0.99


@given(st.integers(0, 1000))
def test_the_area_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 25).astype(float), np.arange(25) < 10
    weights = rng.integers(0, 4, (3, 25)).astype(float) + 0.1
    expected = [roc_auc_score(positive, scores, sample_weight=each) for each in weights]
    assert separability.auc(scores, positive, weights) == pytest.approx(expected)


def test_near_copies_are_no_neighbours():
    """Three copies each of four images in a row, a, a, b, b: the next image is what counts, not the own copies."""
    group = np.repeat(np.arange(4), 3)
    vectors = (np.array([0.0, 1.0, 2.1, 3.3])[group] + np.tile([0, 0.01, 0.02], 4))[:, None]
    pure, chance = separability.neighbor_purity(vectors, np.array(["a", "a", "b", "b"])[group], group, 1, 0)
    assert pure.tolist() == np.array([1, 1, 0, 1.0])[group].tolist()
    assert chance.tolist() == pytest.approx([1 / 3] * 12)


def test_the_silhouette_is_of_the_two_groups_alone(rng):
    group = np.repeat([0, 1, -1], 20)
    vectors = rng.normal(size=(60, 3)) + 3 * (group == 1)[:, None]
    assert separability.silhouette(vectors, group, 0) == pytest.approx(silhouette_score(vectors[:40], group[:40]))


@pytest.mark.filterwarnings("error")
def test_of_too_few_images_nothing_is_known(rng):
    group = np.array([0] * 2 + [1] * 8)
    value, ends = separability.separability(rng.normal(size=(10, 2)), group, np.arange(10), 0)
    assert np.isnan([value, *ends]).all()
    assert np.isnan(separability.silhouette(rng.normal(size=(10, 2)), np.array([0] + [1] * 9), 0))


def samples_of(n: int) -> pd.DataFrame:
    """Half of each split person-heavy, half vehicle-heavy; the splits' images one after the other."""
    return pd.DataFrame(
        {
            "split": ["train"] * n + ["val"] * n,
            "share.person": [0.5, 0.0] * n,
            "share.super.vehicle": [0.0, 0.5] * n,
            "dominant": ["person", "vehicle"] * n,
        }
    )


def test_measures_of_all_and_of_each_split(rng):
    samples = samples_of(20)
    samples.loc[0, "share.person"] = 0.0
    vectors = np.where(samples["dominant"] == "person", 5.0, -5.0)[:, None] + rng.normal(size=(40, 2))
    rows = {
        (row.split, row.measure): row
        for row in separability.separation_measures(vectors, samples, TAXONOMY, np.arange(40), 3, 0)
    }
    names = ["images", "groups", "person_heavy", "vehicle_heavy", "separability", "silhouette", "neighbor_purity"]
    names.append("chance.neighbor_purity")
    assert list(rows) == [(split, name) for split in ("all", "train", "val") for name in names]
    counts = {split: [rows[split, name].value for name in ("images", *names[2:4])] for split in ("all", "train", "val")}
    assert counts == {"all": [40, 19, 20], "train": [20, 9, 10], "val": [20, 10, 10]}
    assert rows["all", "separability"].value == 1
    assert rows["all", "neighbor_purity"].value == 1
    assert rows["all", "chance.neighbor_purity"].value == pytest.approx(19 / 39)
    person = (samples["dominant"] == "person").to_numpy()
    for split, chosen in (("all", slice(1, 40)), ("train", slice(1, 20)), ("val", slice(20, 40))):
        expected = silhouette_score(vectors[chosen], person[chosen])
        assert rows[split, "silhouette"].value == pytest.approx(expected)
        heavy = chosen.stop - chosen.start
        assert [rows[split, name].images for name in names[4:7]] == [heavy, heavy, counts[split][0]]


@pytest.mark.filterwarnings("error")
def test_without_heavy_images_only_the_purity_is_known(rng):
    samples = samples_of(6).assign(**{"share.person": 0.0})
    table = measure_table(
        separability.separation_measures(rng.normal(size=(12, 2)), samples, TAXONOMY, np.arange(12), 3, 0)
    )
    known = table[table["split"] == "val"].set_index("measure")["value"].to_dict()
    assert set(known) == {
        "images",
        "groups",
        "person_heavy",
        "vehicle_heavy",
        "neighbor_purity",
        "chance.neighbor_purity",
    }
    assert (known["images"], known["person_heavy"], known["vehicle_heavy"]) == (6, 0, 3)


@pytest.mark.filterwarnings("error")
def test_of_one_class_and_one_category_nothing_is_measured(rng):
    """What would be 100 % by what the labels are, or nothing against nothing."""
    samples = samples_of(6).assign(dominant="person", **{"share.super.vehicle": 0.0})
    one = Taxonomy(CATEGORIES, {"person": ["person"]})
    rows = separability.separation_measures(rng.normal(size=(12, 2)), samples, one, np.arange(12), 3, 0)
    assert set(measure_table(rows)["measure"]) == {"images", "groups"}
