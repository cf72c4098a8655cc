import time
from pathlib import Path

import keras
import numpy as np
import pytest
from pictures import tiny_encoder

from segscope.errors import SegscopeError
from segscope.model import training
from segscope.model.saving import load_model, save_model
from segscope.model.training import build_model
from segscope.params import Train

SIZE = 32


def unet(decoder: str) -> keras.Model:
    """Equal weights each time."""
    keras.utils.set_random_seed(0)
    return build_model("none", None, SIZE, 3, Train(decoder=decoder))


@pytest.mark.parametrize("decoder", ["separable", "transposed"])
def test_equal_models_give_equal_bytes_whenever_they_were_made(tmp_path, decoder, monkeypatch):
    monkeypatch.setattr(training, "build_encoder", tiny_encoder)
    save_model(unet(decoder), tmp_path / "first.keras")
    time.sleep(2)  # a zip archive's times are even seconds
    other = unet(decoder)
    save_model(other, tmp_path / "later.keras")
    assert (tmp_path / "later.keras").read_bytes() == (tmp_path / "first.keras").read_bytes()
    other.get_layer("up_1_bn").gamma.assign_add(other.get_layer("up_1_bn").gamma)
    save_model(other, tmp_path / "other.keras")
    assert (tmp_path / "other.keras").read_bytes() != (tmp_path / "first.keras").read_bytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[keras.Model, Path]:
    """A model, and its file, which replaced an older one."""
    model, path = unet("separable"), tmp_path_factory.mktemp("saved") / "model.keras"
    path.write_bytes(b"an older one")
    save_model(model, path)
    return model, path


def test_a_saved_model_computes_what_it_did_and_may_be_replaced(saved):
    model, path = saved
    image = np.random.default_rng(0).uniform(0, 255, (1, SIZE, SIZE, 3)).astype(np.float32)
    loaded = load_model(path, 3, SIZE)
    assert np.array_equal(loaded.predict(image, verbose=0), model.predict(image, verbose=0))
    assert {type(layer).__module__.partition(".")[0] for layer in loaded.layers} == {"keras"}
    assert [file.name for file in path.parent.iterdir()] == ["model.keras"]


def test_a_model_of_another_shape_and_a_broken_file_are_errors(saved, tmp_path):
    with pytest.raises(SegscopeError, match=r"gives \(32, 32, 3\), the params ask for \(32, 32, 4\)"):
        load_model(saved[1], 4, SIZE)
    (tmp_path / "model.keras").write_bytes(b"broken")
    with pytest.raises(SegscopeError, match=r"cannot be read .* run `dvc repro train`"):
        load_model(tmp_path / "model.keras", 3, SIZE)
