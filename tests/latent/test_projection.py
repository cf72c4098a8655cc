import numpy as np
import pandas as pd
import pytest
from scipy.spatial import procrustes
from sklearn.manifold import trustworthiness

from segscope.errors import SegscopeError
from segscope.latent import projection
from segscope.latent.neighbors import nearest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(4)
    centers = 8 * rng.normal(size=(4, 6))
    return (centers[np.arange(120) % 4] + rng.normal(size=(120, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def xy(vectors) -> np.ndarray:
    return projection.map_of(vectors, 10, 0.1, 0)


def test_the_map_is_as_trustworthy_as_umaps_own_and_the_same_again(vectors, xy):
    import umap  # takes long, and no other test needs it

    own = umap.UMAP(n_neighbors=10, min_dist=0.1, random_state=0, n_jobs=1).fit_transform(vectors)
    scores = [trustworthiness(vectors, shown, n_neighbors=10) for shown in (xy, own)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    assert np.array_equal(projection.map_of(vectors, 10, 0.1, 0), xy)


def test_more_neighbours_than_the_map_needs_change_nothing(vectors, xy):
    assert np.array_equal(projection.fit_map(vectors, nearest(vectors, 30, 0), 10, 0.1, 0), xy)


def test_a_map_to_cluster_in_has_the_dimensions_asked_for(vectors):
    assert projection.map_of(vectors, 10, 0.0, 0, dimensions=5).shape == (120, 5)


@pytest.mark.parametrize("n", [4, 7, 13, 18])
@pytest.mark.parametrize("dimensions", [2, 5, 20])
def test_few_images_have_a_map(vectors, n, dimensions):
    points = projection.map_of(vectors[:n], 15, 0.0, 0, dimensions)
    assert points.shape == (n, dimensions)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("shown", ["umap", "noise"])
def test_trustworthiness_is_scikit_learns(vectors, xy, shown, rng):
    shown = xy if shown == "umap" else rng.normal(size=(120, 2))
    expected = trustworthiness(vectors, shown, n_neighbors=10)
    assert projection.trustworthiness(vectors, shown, 10, 0) == pytest.approx(expected, abs=1e-9)
    assert projection.trustworthiness(vectors, shown, 10, 0, queries=60) == pytest.approx(expected, abs=0.06)


def turned(xy: np.ndarray, angle: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return 2 * xy * [1, -1] @ turn + [3, -7]


def test_a_map_that_is_only_turned_mirrored_and_scaled_is_laid_over_the_other_exactly(xy):
    ids = np.arange(120)
    moved, images, disparity = projection.lay_over(ids, turned(xy, 2.0), ids[::-1], xy[::-1])
    assert np.allclose(moved, xy, atol=1e-4)
    assert images == 120
    assert disparity == pytest.approx(0, abs=1e-9)


def test_the_disparity_of_unrelated_maps_is_near_one(xy, rng):
    ids = np.arange(120)
    _, _, disparity = projection.lay_over(ids, rng.normal(size=(120, 2)), ids, xy)
    assert disparity > 0.8


def test_images_that_the_other_map_lacks_start_amid_their_neighbours(vectors, xy):
    neighbors = nearest(vectors, 5, 0)
    known = np.arange(120) != 7
    start = projection.start_from(np.arange(120), neighbors, np.arange(120)[known], xy[known])
    assert np.array_equal(start[known], xy[known].astype(float))
    assert np.allclose(start[7], xy[neighbors.index[7]].mean(0), atol=1e-4)


def test_a_map_started_from_another_lies_closer_to_it_than_one_of_its_own(vectors, xy, rng):
    ids, changed = np.arange(120), vectors + rng.normal(0, 1, vectors.shape).astype(np.float32)
    neighbors = nearest(changed, 9, 0)
    start = projection.start_from(ids, neighbors, ids, xy)
    near = projection.fit_map(changed, neighbors, 10, 0.1, 0, start=start)
    free = projection.fit_map(changed, neighbors, 10, 0.1, 1)
    disparity = [projection.lay_over(ids, other, ids, xy)[2] for other in (near, free)]
    assert disparity[0] < disparity[1] / 2


def a_map(ids: np.ndarray, xy: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"image_id": ids, "x": xy[:, 0], "y": xy[:, 1]})


def test_an_aligned_map_lies_on_the_other_one(vectors, xy, rng):
    """The other map shows 100 of the images, turned, in another order, and beside them images that are not here."""
    ids = np.arange(500, 620)
    changed = vectors + rng.normal(0, 1, vectors.shape).astype(np.float32)
    shown, there = rng.permutation(120)[:100], turned(xy, 1.0)
    other = a_map(np.r_[ids[shown], 7, 8], np.r_[there[shown], np.zeros((2, 2))])
    found, rows = projection.align_map(ids, changed, nearest(changed, 9, 1), other, 10, 0.1, 1)
    images, disparity = rows
    assert (images.measure, images.value) == ("aligned.images", 100)
    assert (disparity.measure, disparity.images) == ("aligned.disparity", 100)
    assert found.shape == (120, 2)
    assert disparity.value == pytest.approx(procrustes(there[shown], found[shown].astype(float))[2], abs=1e-6)
    free = projection.map_of(changed, 10, 0.1, 1)
    assert disparity.value < procrustes(there[shown], free[shown].astype(float))[2] / 2
    # It lies there, too, and has not only the shape: apart by no more than what is left of the shapes.
    apart = ((found - there)[shown] ** 2).sum()
    assert apart / ((there[shown] - there[shown].mean(0)) ** 2).sum() == pytest.approx(disparity.value, rel=1e-3)


def test_a_map_can_be_aligned_to_nothing_that_it_does_not_share(vectors, xy):
    neighbors = nearest(vectors, 5, 0)
    for other in (a_map(np.arange(900, 1020), xy), a_map(np.arange(0), xy[:0])):
        with pytest.raises(SegscopeError, match="shows 0 of these 120 images, which is too few"):
            projection.align_map(np.arange(120), vectors, neighbors, other, 6, 0.1, 0)


def test_maps_that_share_too_few_images_are_an_error(vectors, xy):
    neighbors = nearest(vectors, 5, 0)
    with pytest.raises(SegscopeError, match="shows 2 of these 120 images, which is too few"):
        projection.start_from(np.arange(120), neighbors, np.array([0, 1, 999]), xy[:3])
