import keras
import numpy as np
import pytest
from keras import layers
from networks import network, saved
from PIL import Image
from scipy.special import expit, softmax

from segscope.errors import SegscopeError
from segscope.model.adoption import adopt, read_network
from segscope.model.layers import chosen_layers, default_layers, feature_maps
from segscope.model.saving import load_model, save_model
from segscope.params import Embed

CLASSES = ["background", "person", "car"]
SIZE = 16


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def probabilities(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    return softmax(model.predict_on_batch(pictures), axis=-1)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_outputs_are_summed_over_each_class_and_averaged_over_each_pixel(pictures, activation):
    user = network(64, 64, 6, activation)  # its map is of 32 × 32 pixels
    model = adopt(user, CLASSES, {"person": [1, 4], "car": [2]}, "zero_one", pictures)
    planes = [
        [np.asarray(Image.fromarray(plane).resize((64, 64), Image.Resampling.BILINEAR)) for plane in picture]
        for picture in np.moveaxis(pictures, -1, 1)
    ]
    made = user.predict_on_batch(np.moveaxis(np.array(planes), 1, -1) / 255)
    made = made if activation else softmax(made, axis=-1)
    wanted = np.stack([made[..., [0, 3, 5]].sum(-1), made[..., [1, 4]].sum(-1), made[..., 2]], -1)
    wanted = wanted.reshape(3, SIZE, 2, SIZE, 2, 3).mean((2, 4))
    assert np.abs(probabilities(model, pictures) - wanted).max() < 1e-4


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_single_output_is_of_the_only_class(pictures, activation):
    user = network(32, 32, 1, activation)
    model = adopt(user, CLASSES[:2], None, "none", pictures)
    other = adopt(user, CLASSES[:2], {"person": [0]}, "none", pictures)
    person = probabilities(model, pictures)[..., 1]
    assert np.allclose(probabilities(other, pictures)[..., 0], person, atol=1e-4)
    planes = np.repeat(np.repeat(pictures[..., :1] * 0, 2, 1), 2, 2).repeat(3, -1)  # of black, any resizing is black
    made = user.predict_on_batch(planes)[..., 0]
    made = made if activation else expit(made)
    assert np.allclose(probabilities(model, pictures * 0)[..., 1], made, atol=1e-4)


@pytest.mark.parametrize(
    ("preprocessing", "wanted"),
    [("none", 51), ("zero_one", 0.2), ("minus_one_one", -0.6), ("imagenet", (51 - 123.675) / 58.395)],
)
def test_pixels_are_prepared_as_the_params_say(pictures, preprocessing, wanted):
    image = layers.Input((SIZE, SIZE, 3))
    own = layers.Conv2D(1, 1, name="red", use_bias=False)
    user = keras.Model(image, layers.Conv2D(2, 1)(own(image)))
    own.set_weights([np.array([1, 0, 0], np.float32).reshape(1, 1, 3, 1)])
    model = adopt(user, CLASSES[:2], None, preprocessing, pictures)
    seen = keras.Model(model.input, model.get_layer("red").output).predict_on_batch(np.full_like(pictures, 51))
    assert np.allclose(seen, wanted, atol=1e-5)


def test_an_adopted_network_keeps_its_layers_and_equal_files_give_equal_bytes(pictures, tmp_path):
    user = saved(tmp_path / "user.keras", network(40, 48, 3))
    for name in ("a", "b"):
        model = adopt(read_network(user), CLASSES, None, "imagenet", pictures)
        save_model(model, tmp_path / f"{name}.keras")
        network(8, 8, 2)  # what Keras numbers next is another
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    read = load_model(tmp_path / "a.keras", 3, SIZE)
    assert np.allclose(read.predict_on_batch(pictures), model.predict_on_batch(pictures), atol=1e-4)
    maps = {"fine": (20, 24, 4), "coarse": (10, 12, 6), "up": (20, 24, 6), "both": (20, 24, 10), "last": (20, 24, 5)}
    assert {name: feature_maps(read).get(name) for name in maps} == maps
    assert default_layers(read) == ("coarse", "last")
    assert chosen_layers(read, Embed().layers) == ("coarse", "last")
    assert chosen_layers(read, ["fine", "up"]) == ("fine", "up")
    with pytest.raises(SegscopeError, match="no feature map fien; it has fine, coarse"):
        chosen_layers(read, ["fien"])


def two_heads() -> keras.Model:
    image = layers.Input((16, 16, 3))
    return keras.Model(image, [layers.Conv2D(2, 1)(image), layers.Conv2D(2, 1)(image)])


def gray() -> keras.Model:
    image = layers.Input((16, 16, 1))
    return keras.Model(image, layers.Conv2D(2, 1)(image))


def classifier() -> keras.Model:
    image = layers.Input((16, 16, 3))
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(image)))


@pytest.mark.parametrize(
    ("make", "said"), [(two_heads, "1 inputs and 2 outputs"), (gray, "N × 16 × 16 × 1"), (classifier, "gives N × 2")]
)
def test_what_is_no_network_of_a_picture_to_a_map_is_refused(make, said, tmp_path):
    with pytest.raises(SegscopeError, match=said):
        read_network(saved(tmp_path / "user.keras", make()))


def test_what_is_no_keras_file_is_refused(tmp_path):
    (tmp_path / "saved_model.keras").mkdir()
    with pytest.raises(SegscopeError, match="SavedModel is a program"):
        read_network(tmp_path / "saved_model.keras")
    with pytest.raises(SegscopeError, match="does not exist"):
        read_network(tmp_path / "user.keras")
    (tmp_path / "user.keras").write_bytes(b"no zip")
    with pytest.raises(SegscopeError, match="safe_mode"):
        read_network(tmp_path / "user.keras")


def test_outputs_that_do_not_fit_are_refused(pictures):
    user = network(16, 16, 5)
    with pytest.raises(SegscopeError, match=r"5 outputs for 3 classes.*model.outputs"):
        adopt(user, CLASSES, None, "none", pictures)
    with pytest.raises(SegscopeError, match="car: 5; the model's outputs are 0 to 4"):
        adopt(user, CLASSES, {"person": [1], "car": [5]}, "none", pictures)
    with pytest.raises(SegscopeError, match="do not add up to 1"):
        adopt(network(16, 16, 3, "sigmoid"), CLASSES, None, "zero_one", pictures)


def test_a_layer_may_not_be_larger_than_its_bound(pictures):
    image = layers.Input((16, 16, 3))
    huge = layers.AveragePooling2D(4096)(layers.UpSampling2D(4096, name="huge")(image))
    with pytest.raises(SegscopeError, match=r"layer huge of the model gives .*SEGSCOPE_MAX_LAYER_VALUES"):
        adopt(keras.Model(image, layers.Conv2D(3, 1)(huge)), CLASSES, None, "none", pictures)
