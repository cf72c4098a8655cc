import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from segscope.latent.neighbors import nearest, neighbor_table, purity


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def distances(vectors: np.ndarray) -> np.ndarray:
    distance = cdist(vectors, vectors)
    np.fill_diagonal(distance, np.inf)
    return distance


def test_neighbours_are_the_nearest_others(rng):
    vectors, ids = rng.normal(size=(30, 4)), np.arange(100, 130)
    neighbors = nearest(vectors, 7, 0)
    assert neighbors.recall == 1
    distance = distances(vectors)
    for i, rows in neighbor_table(neighbors, ids, 5).groupby("image_id"):
        expected = np.argsort(distance[i - 100])[:5]
        assert rows["neighbor_id"].tolist() == ids[expected].tolist()
        assert np.allclose(rows["distance"], distance[i - 100][expected])
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5]


def test_a_few_images_have_fewer_neighbours(rng):
    assert nearest(rng.normal(size=(4, 3)), 12, 0).index.shape == (4, 3)


def test_approximate_neighbours_find_nearly_all_and_say_how_many(rng):
    vectors = rng.normal(size=(3000, 6))
    found = nearest(vectors, 10, 0, exact_below=1000)
    again = nearest(vectors, 10, 0, exact_below=1000)
    assert np.array_equal(found.index, again.index)
    assert (found.index != np.arange(3000)[:, None]).all()
    true = np.argsort(distances(vectors), 1)[:, :10]
    share = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.index, true, strict=True)])
    assert share > 0.95
    assert found.recall == pytest.approx(share, abs=0.02)
    assert (np.diff(found.distance, axis=1) >= 0).all()


def test_duplicates_are_neighbours_of_one_another_and_never_of_themselves(rng):
    vectors = np.repeat(rng.normal(size=(40, 3)), 30, 0)
    found = nearest(vectors, 5, 0, exact_below=100)
    assert (found.index != np.arange(1200)[:, None]).all()
    assert np.allclose(found.distance, 0, atol=1e-3)


def test_purity_by_hand():
    index = np.array([[1, 2], [0, 2], [0, 1]])
    assert purity(index, np.array(["a", "a", "b"])).tolist() == [0.5, 0.5, 0]


@given(st.lists(st.sampled_from("abc"), min_size=4, max_size=30))
def test_over_all_others_purity_is_the_share_of_the_own_group(groups):
    n = len(groups)
    index = np.array([[j for j in range(n) if j != i] for i in range(n)])
    expected = [(groups.count(g) - 1) / (n - 1) for g in groups]
    assert np.allclose(purity(index, np.array(groups)), expected)
