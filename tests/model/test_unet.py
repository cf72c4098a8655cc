from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format
from pictures import tiny_encoder, tiny_model

from segscope.errors import SegscopeError
from segscope.model import training
from segscope.model import unet as network
from segscope.model.encoder import read_encoder
from segscope.model.layers import decoder_inputs, hypercolumn
from segscope.model.training import build_model
from segscope.params import Train

REFERENCE = Path(__file__).parent.parent / "data" / "encoder_reference.npz"
SIZE = 64


def test_the_converted_encoder_computes_what_pytorch_does(encoder_folder):
    with np.load(REFERENCE) as reference, np.load(read_encoder(encoder_folder)[1]) as arrays:
        encoder = network.torch_encoder(SIZE, arrays)
        features = encoder.predict(reference["image"].astype(np.float32), verbose=0)
        expected = reference["features"]
    assert np.abs(features - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.linalg.norm(features - expected) <= 1e-4 * np.linalg.norm(expected)


def test_the_unet_has_the_references_shape(encoder_folder):
    model = build_model(*read_encoder(encoder_folder), SIZE, 3, Train(recipe="reference").applied())
    assert model.output_shape == (None, SIZE, SIZE, 3)
    shapes = {name: model.get_layer(name).output.shape[1:] for name in ("up_1_relu", "up_4_relu", network.BOTTLENECK)}
    assert shapes == {"up_1_relu": (4, 4, 512), "up_4_relu": (32, 32, 64), network.BOTTLENECK: (2, 2, 320)}


@pytest.mark.parametrize(("enlarge", "sizes"), [(1, [2, 4, 8, 16, 32]), (2, [4, 8, 16, 32])])
@pytest.mark.parametrize("decoder", ["separable", "transposed"])
def test_a_decoder_gives_logits_of_every_pixel_and_its_steps_end_at_half_the_size(decoder, enlarge, sizes, monkeypatch):
    monkeypatch.setattr(training, "build_encoder", tiny_encoder)
    model = build_model("none", None, SIZE, 4, Train(decoder=decoder, enlarge=enlarge))
    assert model.output_shape == (None, SIZE, SIZE, 4)
    assert [model.get_layer(name).output.shape[1] for name in hypercolumn(model)] == sizes
    assert [tensor.shape[1] for tensor in decoder_inputs(model)] == sizes


def test_an_enlarging_encoder_computes_what_a_larger_one_does_of_the_enlarged_picture(encoder_folder):
    with np.load(REFERENCE) as reference, np.load(read_encoder(encoder_folder)[1]) as arrays:
        picture = reference["image"].astype(np.float32)
        enlarging, larger = network.torch_encoder(SIZE, arrays, 2), network.torch_encoder(2 * SIZE, arrays)
    enlarged = keras.layers.UpSampling2D(interpolation="bilinear")(picture)
    expected = larger.predict(enlarged, verbose=0)
    assert np.allclose(enlarging.predict(picture, verbose=0), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("decoder", "last"), [("transposed", "logits"), ("separable", "half_logits")])
def test_only_the_decoder_is_trained(encoder_folder, decoder, last):
    model = build_model(*read_encoder(encoder_folder), SIZE, 3, Train(decoder=decoder, enlarge=1))
    before = {v.path: v.numpy() for v in model.variables}
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    model.fit(rng.uniform(0, 255, (2, SIZE, SIZE, 3)), rng.integers(0, 3, (2, SIZE, SIZE)), verbose=0)
    changed = {v.path.split("/")[0] for v in model.variables if not np.array_equal(before[v.path], v.numpy())}
    parts = {"transposed": ("conv", "bn"), "separable": ("narrow_conv", "narrow_bn", "conv", "bn")}[decoder]
    assert changed == {f"up_{i}_{part}" for i in range(1, 5) for part in parts} | {last}


@pytest.fixture
def served_weights(tmp_path, monkeypatch):
    """Keras's weights host, replaced by a local server with random weights under the file name Keras asks for."""
    folder = tmp_path / "served"
    folder.mkdir()
    keras.utils.set_random_seed(1)
    base = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=None)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    with h5py.File(folder / name, "w") as file:  # the format of the files that Keras's host serves
        legacy_h5_format.save_weights_to_hdf5_group(file, base)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(
        "keras.src.applications.mobilenet_v2.BASE_WEIGHT_PATH", f"http://127.0.0.1:{server.server_port}/"
    )
    (tmp_path / "keras").mkdir()
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "keras"))
    yield base
    server.shutdown()


def test_imagenet_is_kerass_own_download_with_its_preprocessing(served_weights):
    encoder = network.keras_encoder(224, "imagenet")
    image = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    expected = served_weights.predict(keras.applications.mobilenet_v2.preprocess_input(image.copy()), verbose=0)
    assert np.allclose(encoder.predict(image, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_a_weights_file_of_another_network_is_an_error(tmp_path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(SegscopeError, match=r"other\.weights\.h5 cannot be read"):
        network.keras_encoder(SIZE, tmp_path / "other.weights.h5")


@pytest.mark.parametrize(("seed", "encoder"), [(0, training.build_encoder), (2**32 - 1, tiny_encoder)])
def test_starting_weights_are_a_function_of_the_seed_alone(seed, encoder, monkeypatch):
    monkeypatch.setattr(training, "build_encoder", encoder)
    models = []
    for other in (1, 2):
        keras.utils.set_random_seed(other)  # as another thread of the process may
        models.append(build_model("none", None, 32, 3, Train(seeds=[seed])))
    one, same = ([variable.numpy() for variable in model.variables] for model in models)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    drawn = [each for each in one if each.ndim > 1 and each.size > 2000]
    widths = [np.sqrt(2 / np.prod(each.shape[:-2]) / sum(each.shape[-2:])) for each in drawn]  # Glorot and Bengio's
    assert np.allclose([each.std() for each in drawn], widths, rtol=0.1)
    assert len({each.tobytes() for each in drawn}) == len(drawn)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_fused_normalisation_computes_and_learns_what_kerass_does(dtype):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (4, 6, 5, 7)), tf.float32)
    weights = [rng.uniform(0.5, 2, 7).astype(np.float32) for _ in range(4)]
    found = []
    for kind in (network.FusedNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9, dtype=dtype)
        layer.build(x.shape)
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            trained = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(trained, tf.float32) ** 3)
        gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
        found.append([trained, *gradients, *layer.get_weights(), layer(x, training=False)])
    tolerance = 2e-5 if dtype == "float32" else 2e-2
    for fused, own in zip(*found, strict=True):
        assert fused.dtype == own.dtype
        fused, own = np.asarray(fused, np.float32), np.asarray(own, np.float32)
        assert np.abs(fused - own).max() <= tolerance * np.abs(own).max()


def test_an_unknown_layer_is_an_error():
    with pytest.raises(SegscopeError, match=r"embed\.layers: No such layer: up_9"):
        network.activations(tiny_model(), ("up_9",))
