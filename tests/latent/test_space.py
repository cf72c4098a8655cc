import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from segscope.errors import SegscopeError
from segscope.latent.space import fit_latent_space, load_latent_space, pool, save_latent_space

SIZE = 16


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def random_activations(rng: np.random.Generator, n: int = 40) -> list[np.ndarray]:
    shapes = ((2, 2, 6), (4, 4, 5), (8, 8, 4))
    return [rng.gamma(1, 1 + i, (n, *shape)).astype(np.float32) for i, shape in enumerate(shapes)]


def test_attention_sums_to_the_score_exactly(rng):
    activations = random_activations(rng)
    pooled = pool(activations)
    space = fit_latent_space(pooled, ("a", "b", "c"), 5)
    direction = rng.normal(size=5)
    maps = space.write_back(direction, activations, SIZE)
    assert maps.shape == (40, SIZE, SIZE)
    score = space.transform(pooled) @ direction
    assert np.allclose(maps.sum((1, 2)), score, rtol=1e-3, atol=1e-6 * np.abs(score).max())


def test_attention_lies_where_the_activation_is(rng):
    activations = [np.zeros((30, 4, 4, 2), np.float32)]
    activations[0][..., 1] = rng.normal(0, 0.01, (30, 4, 4))
    activations[0][:15, 1, 2, 0] = 1
    space = fit_latent_space(pool(activations), ("a",), 2)
    vectors = space.transform(pool(activations))
    direction = vectors[:15].mean(0) - vectors[15:].mean(0)
    maps = space.write_back(direction, activations, SIZE)[:15].mean(0)
    assert np.unravel_index(maps.argmax(), maps.shape)[0] // 4 == 1
    assert np.unravel_index(maps.argmax(), maps.shape)[1] // 4 == 2


def test_the_space_is_standardised_pca(rng):
    pooled = rng.normal(size=(50, 8)) * np.arange(1, 9)
    space = fit_latent_space(pooled, ("a",), 8)
    standard = (pooled - pooled.mean(0)) / pooled.std(0)
    vectors = space.transform(pooled)
    assert np.allclose(cdist(vectors, vectors), cdist(standard, standard))
    covariance = np.cov(vectors.T)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    assert (np.diff(np.diag(covariance)) <= 1e-9).all()


def test_a_constant_channel_does_no_harm(rng):
    pooled = rng.normal(size=(50, 4))
    pooled[:, 2] = 7
    vectors = fit_latent_space(pooled, ("a",), 3).transform(pooled)
    assert np.isfinite(vectors).all()


def test_dimensions_that_few_images_cannot_tell_apart_are_zero(rng):
    pooled = rng.normal(size=(10, 50))
    space = fit_latent_space(pooled, ("a",), 32)
    assert space.components.shape == (32, 50)
    assert not space.components[9:].any()
    standard = (pooled - pooled.mean(0)) / pooled.std(0)
    # Nine dimensions hold all that ten images differ by.
    assert np.allclose(pdist(space.transform(pooled)), pdist(standard))
    with pytest.raises(SegscopeError, match="two images or more"):
        fit_latent_space(pooled[:1], ("a",), 32)


def test_a_space_survives_its_file(tmp_path, rng):
    space = fit_latent_space(rng.normal(size=(50, 6)), ("up_1", "up_2"), 3)
    save_latent_space(tmp_path / "space.npz", space)
    read = load_latent_space(tmp_path / "space.npz")
    assert read.layers == ("up_1", "up_2")
    pooled = rng.normal(size=(4, 6))
    assert np.array_equal(read.transform(pooled), space.transform(pooled))
