import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_score

from segscope.artefacts.measures import measure_table
from segscope.latent import separability


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_heavy_groups_by_hand():
    samples = pd.DataFrame(
        {"share.person": [0.2, 0.01, 0.04, 0.1, 0.0], "share.super.vehicle": [0.1, 0.3, 0.0, 0.06, 0.0]}
    )
    assert separability.heavy_groups(samples).tolist() == [1, 0, -1, -1, -1]


def test_heavy_groups_without_such_categories():
    assert separability.heavy_groups(pd.DataFrame({"share.dog": [1.0]})).tolist() == [-1]


@pytest.mark.parametrize(("shift", "low", "high"), [(0, 0.25, 0.75), (10, 0.99, 1)])
def test_separability_of_one_and_of_two_groups(shift, low, high, rng):
    group = np.repeat([0, 1, -1], 40)
    vectors = rng.normal(size=(120, 3)) + shift * (group == 1)[:, None]
    assert low <= separability.separability(vectors, group, 0) <= high


def test_the_silhouette_is_of_the_two_groups_alone(rng):
    group = np.repeat([0, 1, -1], 20)
    vectors = rng.normal(size=(60, 3)) + 3 * (group == 1)[:, None]
    assert separability.silhouette(vectors, group, 0) == pytest.approx(silhouette_score(vectors[:40], group[:40]))


@pytest.mark.filterwarnings("error")
def test_of_too_few_images_nothing_is_known(rng):
    group = np.array([0] * 2 + [1] * 8)
    assert np.isnan(separability.separability(rng.normal(size=(10, 2)), group, 0))
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
    pairs = np.array([[(i + 2) % 40, (i + 1) % 40] for i in range(40)])  # one of the own kind, one of the other
    rows = {(row.split, row.measure): row for row in separability.separation_measures(vectors, pairs, samples, 0)}
    names = ["images", "person_heavy", "vehicle_heavy", "separability", "silhouette", "neighbor_purity"]
    assert list(rows) == [(split, name) for split in ("all", "train", "val") for name in names]
    counts = {split: [rows[split, name].value for name in names[:3]] for split in ("all", "train", "val")}
    assert counts == {"all": [40, 19, 20], "train": [20, 9, 10], "val": [20, 10, 10]}
    assert rows["all", "separability"].value == 1
    assert rows["all", "neighbor_purity"].value == 0.5
    person = (samples["dominant"] == "person").to_numpy()
    for split, chosen in (("all", slice(1, 40)), ("train", slice(1, 20)), ("val", slice(20, 40))):
        expected = silhouette_score(vectors[chosen], person[chosen])
        assert rows[split, "silhouette"].value == pytest.approx(expected)
        heavy = chosen.stop - chosen.start
        assert [rows[split, name].images for name in names[3:]] == [heavy, heavy, counts[split][0]]


@pytest.mark.filterwarnings("error")
def test_without_heavy_images_only_the_purity_is_known(rng):
    samples = samples_of(6).assign(**{"share.person": 0.0})
    neighbors = np.array([[(i + 1) % 12] for i in range(12)])
    table = measure_table(separability.separation_measures(rng.normal(size=(12, 2)), neighbors, samples, 0))
    known = table[table["split"] == "val"].set_index("measure")["value"].to_dict()
    assert known == {"images": 6, "person_heavy": 0, "vehicle_heavy": 3, "neighbor_purity": 0}
