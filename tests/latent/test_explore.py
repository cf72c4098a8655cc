import keras
import numpy as np
import pandas as pd
import pytest
from conftest import instances_of, square
from PIL import Image
from scipy.spatial.distance import cdist
from small import CATEGORIES

from segscope.artefacts.images import open_image, resize_image
from segscope.errors import SegscopeError
from segscope.labels.masks import compose_mask
from segscope.latent.explore import Explorer, Photograph
from segscope.latent.space import embedding_table, fit_latent_space, pool, save_latent_space
from segscope.model.saving import save_model
from segscope.model.unet import BOTTLENECK, activations
from segscope.params import Data, Embed, Params
from segscope.run import Run

SIZE, WIDTH, HEIGHT = 32, 80, 40
IDS = np.arange(101, 109)
PARAMS = Params(data=Data(image_size=SIZE), embed=Embed(dimensions=3, layers=[BOTTLENECK]))


def small_model() -> keras.Model:
    """Built as the U-Net is, of a few layers that have learned nothing."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x, skips = keras.layers.Rescaling(1 / 64, -1)(inputs), []
    for name in ("half", "quarter", BOTTLENECK):
        x = keras.layers.Conv2D(6, 2, strides=2, activation="relu", name=name)(x)
        skips.append(x)
    for i, skip in enumerate(skips[-2::-1], start=1):
        x = keras.layers.Concatenate(name=f"skip_{i}")([keras.layers.UpSampling2D()(x), skip])
    centred = keras.layers.LayerNormalization(axis=(1, 2))(keras.layers.UpSampling2D()(x))
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(centred))


@pytest.fixture(scope="module")
def explorer(tmp_path_factory) -> Explorer:
    """Of a run of eight images of noise, a person in each."""
    run = Run(PARAMS, tmp_path_factory.mktemp("run"))
    rng = np.random.default_rng(0)
    pictures = []
    (run.folder / "pictures").mkdir()
    for i in IDS:
        noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3)) * rng.random(3)
        path = run.folder / "pictures" / f"{i}.png"
        Image.fromarray(noise.astype(np.uint8)).save(path)
        pictures.append(np.asarray(resize_image(open_image(path), SIZE), np.float32))
    model = small_model()
    save_model(model, run.path("model"))
    pooled = pool(activations(model, tuple(PARAMS.embed.layers)).predict_on_batch(np.stack(pictures))[:-1])
    space = fit_latent_space(pooled, PARAMS.embed.layers, 3)
    save_latent_space(run.path("latent_space"), space)
    vectors = space.transform(pooled)
    split = np.array(["train"] * 4 + ["val"] * 4, dtype=object)
    run.write("embeddings", embedding_table(IDS, split, vectors, vectors[:, :2]))
    index = {
        "image_id": IDS,
        "source_id": [str(i) for i in IDS],
        "split": split,
        "width": WIDTH,
        "height": HEIGHT,
        "sha256": "0",
    }
    run.write("index", pd.DataFrame(index).assign(path=[f"pictures/{i}.png" for i in IDS]))
    run.write("categories", CATEGORIES)
    labels = [{"id": 1, "category_id": 1, "segmentation": square(4, 4, 20)}]
    instances = pd.concat([instances_of(labels, HEIGHT, WIDTH).assign(image_id=i) for i in IDS])
    run.write("instances", instances.assign(split="val"))
    return Explorer(run)


@pytest.fixture
def own(explorer, tmp_path) -> Photograph:
    """The second image as a file of the user's."""
    explorer.photograph("102").picture.save(tmp_path / "own.png")
    return explorer.photograph(str(tmp_path / "own.png"))


def test_a_photograph_is_an_image_of_the_dataset_or_a_file(explorer, own):
    listed = explorer.photograph("102")
    assert (listed.image_id, listed.picture.size) == (102, (WIDTH, HEIGHT))
    assert own.image_id is None
    assert np.array_equal(own.picture, listed.picture)
    for query in ("999", "nowhere.png", "-1"):
        with pytest.raises(SegscopeError, match=f"{query} is neither a file nor an image_id"):
            explorer.photograph(query)


def test_a_file_is_turned_as_its_orientation_says(explorer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    explorer.photograph("101").picture.save(tmp_path / "turned.jpg", exif=exif)
    assert explorer.photograph(str(tmp_path / "turned.jpg")).picture.size == (HEIGHT, WIDTH)


def test_similar_images_are_the_nearest_others(explorer):
    distance = cdist(explorer.vectors, explorer.vectors)
    for i, image_id in enumerate(IDS):
        found = explorer.similar(explorer.photograph(str(image_id)), 5)
        order = [j for j in np.argsort(distance[i], kind="stable") if j != i][:5]
        assert found["image_id"].tolist() == IDS[order].tolist()
        assert found["distance"].to_numpy() == pytest.approx(distance[i, order])
        assert found["path"].tolist() == [f"pictures/{j}.png" for j in IDS[order]]
        assert found["split"].tolist() == ["train" if j < 4 else "val" for j in order]


def test_a_file_of_the_same_pixels_is_its_images_twin(explorer, own):
    found = explorer.similar(own, 20)
    assert sorted(found["image_id"]) == IDS.tolist()
    assert found["image_id"].iloc[0] == 102
    spread = np.linalg.norm(explorer.vectors.std(0))
    assert found["distance"].iloc[0] < 1e-3 * spread
    assert explorer.vector(own) == pytest.approx(explorer.vectors[1], abs=1e-3 * spread)


def test_what_images_share_sums_to_their_scores(explorer):
    first, *others = (explorer.photograph(str(i)) for i in IDS[:3])
    maps = explorer.shared(first, others)
    assert maps.shape == (3, SIZE, SIZE)
    direction = explorer.vectors[:3].mean(0) - explorer.vectors.mean(0)
    direction /= np.linalg.norm(direction)
    scores = explorer.vectors[:3] @ direction
    assert maps.sum((1, 2)) == pytest.approx(scores, rel=1e-3, abs=1e-3 * np.abs(scores).max())


def test_maps_lie_on_categories_where_the_labels_are_known(explorer, own):
    listed = explorer.photograph("103")
    labels = explorer.instances[explorer.instances["image_id"] == 103]
    mask = explorer.category_mask(listed)
    assert np.array_equal(mask, compose_mask(labels, HEIGHT, WIDTH, size=SIZE))
    assert explorer.category_mask(own) is None
    maps = np.where(mask == 1, 3.0, 1.0)[None] - 2.0 * (np.arange(SIZE) < 4)
    found = explorer.lies_on([own, listed], np.concatenate([maps + 7, maps]))
    positive = np.maximum(maps[0], 0)
    assert found["person"] == pytest.approx(positive[mask == 1].sum() / positive.sum())
    assert found["person"] + found["unlabelled"] == pytest.approx(1)
    assert explorer.lies_on([own], maps) == {}


def test_a_class_is_explained_where_the_model_sees_it(explorer):
    photograph = explorer.photograph("104")
    predicted = explorer.model.predict(explorer.pixels([photograph]), verbose=0)[0].argmax(-1)
    region, support = explorer.explain(photograph, "car")
    assert np.array_equal(region, predicted == 2)
    assert support.maps.shape == (1, SIZE, SIZE)
    assert support.maps.sum() + support.constant[0] == pytest.approx(support.score[0])
    # A box is in the picture's own pixels: here up to the middle one of the columns that show the class.
    shown = np.flatnonzero(region.any(0))
    middle = shown[len(shown) // 2]
    inside, _ = explorer.explain(photograph, "car", (0, 0, (middle + 1) * WIDTH // SIZE, HEIGHT))
    assert np.array_equal(inside, region & (np.arange(SIZE) <= middle))
    assert 0 < inside.sum() < region.sum()


def test_what_the_model_does_not_see_cannot_be_explained(explorer):
    photograph = explorer.photograph("104")
    with pytest.raises(SegscopeError, match="variant category has no class dog; choices: person, car"):
        explorer.explain(photograph, "dog")
    with pytest.raises(SegscopeError, match="no class background"):
        explorer.explain(photograph, "background")
    with pytest.raises(SegscopeError, match="predicts no pixel of car there"):
        explorer.explain(photograph, "car", (WIDTH + 5, 0, 10, 10))
