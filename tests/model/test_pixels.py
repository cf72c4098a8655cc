import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from pictures import SIZE, TAXONOMY, write_pictures

from segscope.evaluation.merges import Heads
from segscope.model import pixels
from segscope.model.unet import keras_encoder, unet


@pytest.fixture(scope="module")
def probe() -> keras.Model:
    """Of the picture itself, of the means over 8 × 8 pixels, and some logits."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    coarse = keras.layers.AveragePooling2D(8)(image)
    return keras.Model(image, [keras.layers.Identity()(image), coarse, keras.layers.Conv2D(3, 1)(image)])


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path)
    return tmp_path


def test_features_lie_over_their_pixels(probe, folder):
    """Category 1 is red and fills the left half, category 3 is blue; the coarse layer's cells are of one half each."""
    found = pixels.sample_pixels(probe, folder, "train", np.arange(8), TAXONOMY)
    assert found.features.shape == (8, 64, 6)
    red, blue = found.features[..., 0], found.features[..., 2]
    assert ((found.position == 1) == (red > 0)).all()
    assert ((found.position == 2) == (blue > 0)).all()
    assert (found.position == 255).any()  # the last row is ignored
    shade = 250 - found.image_id[:, None]
    assert (red[found.position == 1] == np.broadcast_to(shade, red.shape)[found.position == 1]).all()
    coarse_red = found.features[..., 3]
    assert (coarse_red[found.position == 1] > 200).all()
    assert (coarse_red[found.position == 2] == 0).all()


def test_no_more_is_held_than_the_limits_allow(probe, folder, monkeypatch):
    monkeypatch.setattr(pixels, "IMAGES", 4)
    monkeypatch.setattr(pixels, "PIXELS", 40)
    found = pixels.sample_pixels(probe, folder, "train", np.arange(8), TAXONOMY)
    assert found.features.shape == (4, 10, 6)
    assert len(set(found.image_id)) == 4
    again = pixels.sample_pixels(probe, folder, "train", np.arange(8), TAXONOMY)
    assert np.array_equal(found.features, again.features)
    assert np.array_equal(found.image_id, again.image_id)


def test_heads_are_of_train_measured_on_val(tmp_path):
    """Pictures of which a network of random weights shows the colour."""
    for file in map(Path, write_pictures(tmp_path, 64)):
        shutil.copy(file, file.with_name(file.name.replace("train", "val")))
    samples = pd.DataFrame({"image_id": np.tile(np.arange(8), 2), "split": ["train"] * 8 + ["val"] * 8})
    model = unet(keras_encoder(64, None), 3, "separable")
    heads = pixels.pixel_heads(model, tmp_path, samples, pd.Series(np.arange(8)), TAXONOMY)
    assert isinstance(heads, Heads)
    gain = heads.merge(np.array([False, True, False]), [2])[1]
    assert gain.carriers == pytest.approx(8, abs=1)
