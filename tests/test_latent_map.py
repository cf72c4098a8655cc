import numpy as np
import pytest
import umap
from sklearn.manifold import trustworthiness

from segscope import latent_map
from segscope.errors import SegscopeError
from segscope.neighbors import nearest

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    centers = 8 * RNG.normal(size=(4, 6))
    return (centers[np.arange(120) % 4] + RNG.normal(size=(120, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def xy(vectors) -> np.ndarray:
    return latent_map.map_of(vectors, 10, 0.1, 0)


def test_the_map_is_as_trustworthy_as_umaps_own_and_the_same_again(vectors, xy):
    own = umap.UMAP(n_neighbors=10, min_dist=0.1, random_state=0, n_jobs=1).fit_transform(vectors)
    scores = [trustworthiness(vectors, shown, n_neighbors=10) for shown in (xy, own)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    assert np.array_equal(latent_map.map_of(vectors, 10, 0.1, 0), xy)


def test_more_neighbours_than_the_map_needs_change_nothing(vectors, xy):
    assert np.array_equal(latent_map.fit_map(vectors, nearest(vectors, 30, 0), 10, 0.1, 0), xy)


def test_a_map_to_cluster_in_has_the_dimensions_asked_for(vectors):
    assert latent_map.map_of(vectors, 10, 0.0, 0, dimensions=5).shape == (120, 5)


@pytest.mark.parametrize("shown", ["umap", "noise"])
def test_trustworthiness_is_scikit_learns(vectors, xy, shown):
    shown = xy if shown == "umap" else RNG.normal(size=(120, 2))
    expected = trustworthiness(vectors, shown, n_neighbors=10)
    assert latent_map.trustworthiness(vectors, shown, 10, 0) == pytest.approx(expected, abs=1e-9)
    assert latent_map.trustworthiness(vectors, shown, 10, 0, queries=60) == pytest.approx(expected, abs=0.06)


def turned(xy: np.ndarray, angle: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return 2 * xy * [1, -1] @ turn + [3, -7]


def test_a_map_that_is_only_turned_mirrored_and_scaled_is_laid_over_the_other_exactly(xy):
    ids = np.arange(120)
    moved, fit = latent_map.lay_over(ids, turned(xy, 2.0), ids[::-1], xy[::-1])
    assert np.allclose(moved, xy, atol=1e-4)
    assert fit == {"images": 120, "disparity": pytest.approx(0, abs=1e-9)}


def test_the_disparity_of_unrelated_maps_is_near_one(xy):
    ids = np.arange(120)
    _, fit = latent_map.lay_over(ids, RNG.normal(size=(120, 2)), ids, xy)
    assert fit["disparity"] > 0.8


def test_images_that_the_other_map_lacks_start_amid_their_neighbours(vectors, xy):
    neighbors = nearest(vectors, 5, 0)
    known = np.arange(120) != 7
    start = latent_map.start_from(np.arange(120), neighbors, np.arange(120)[known], xy[known])
    assert np.array_equal(start[known], xy[known].astype(float))
    assert np.allclose(start[7], xy[neighbors.index[7]].mean(0), atol=1e-4)


def test_a_map_started_from_another_lies_closer_to_it_than_one_of_its_own(vectors, xy):
    ids, changed = np.arange(120), vectors + RNG.normal(0, 1, vectors.shape).astype(np.float32)
    neighbors = nearest(changed, 9, 0)
    start = latent_map.start_from(ids, neighbors, ids, xy)
    near = latent_map.fit_map(changed, neighbors, 10, 0.1, 0, start=start)
    free = latent_map.fit_map(changed, neighbors, 10, 0.1, 1)
    disparity = [latent_map.lay_over(ids, other, ids, xy)[1]["disparity"] for other in (near, free)]
    assert disparity[0] < disparity[1] / 2


def test_maps_that_share_too_few_images_are_an_error(vectors, xy):
    neighbors = nearest(vectors, 5, 0)
    with pytest.raises(SegscopeError, match="shows 2 of these 120 images, which is too few"):
        latent_map.start_from(np.arange(120), neighbors, np.array([0, 1, 999]), xy[:3])
