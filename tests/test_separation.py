import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_score

from segscope import separation

RNG = np.random.default_rng(0)


def test_heavy_groups_by_hand():
    samples = pd.DataFrame(
        {"share.person": [0.2, 0.01, 0.04, 0.1, 0.0], "share.super.vehicle": [0.1, 0.3, 0.0, 0.06, 0.0]}
    )
    assert separation.heavy_groups(samples).tolist() == [1, 0, -1, -1, -1]


def test_heavy_groups_without_such_categories():
    assert separation.heavy_groups(pd.DataFrame({"share.dog": [1.0]})).tolist() == [-1]


@pytest.mark.parametrize(("shift", "low", "high"), [(0, 0.25, 0.75), (10, 0.99, 1)])
def test_separability_of_one_and_of_two_groups(shift, low, high):
    group = np.repeat([0, 1, -1], 40)
    vectors = RNG.normal(size=(120, 3)) + shift * (group == 1)[:, None]
    assert low <= separation.separability(vectors, group, 0) <= high


def test_the_silhouette_is_of_the_two_groups_alone():
    group = np.repeat([0, 1, -1], 20)
    vectors = RNG.normal(size=(60, 3)) + 3 * (group == 1)[:, None]
    assert separation.silhouette(vectors, group, 0) == pytest.approx(silhouette_score(vectors[:40], group[:40]))


def test_of_too_few_images_nothing_is_known():
    group = np.array([0] * 2 + [1] * 8)
    assert np.isnan(separation.separability(RNG.normal(size=(10, 2)), group, 0))
    assert np.isnan(separation.silhouette(RNG.normal(size=(10, 2)), np.array([0] + [1] * 9), 0))


def test_metrics_of_all_and_of_each_split():
    samples = pd.DataFrame(
        {
            "split": ["train"] * 20 + ["val"] * 20,
            "share.person": [0.5, 0.0] * 20,
            "share.super.vehicle": [0.0, 0.5] * 20,
            "dominant": ["person", "vehicle"] * 20,
        }
    )
    vectors = np.where(samples["dominant"] == "person", 5.0, -5.0)[:, None] + RNG.normal(size=(40, 2))
    pairs = np.array([[(i + 2) % 40, (i + 1) % 40] for i in range(40)])  # one of the own kind, one of the other
    metrics = separation.by_split(vectors, pairs, samples, 0)
    assert list(metrics) == ["all", "train", "val"]
    assert metrics["val"]["images"] == 20
    assert metrics["train"]["person_heavy"] == metrics["train"]["vehicle_heavy"] == 10
    assert metrics["all"]["separability"] == 1
    assert metrics["all"]["neighbor_purity"] == 0.5
