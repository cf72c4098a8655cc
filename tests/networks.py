"""Networks of a user's, small."""

from pathlib import Path

import keras
from keras import layers


def network(height: int, width: int, outputs: int, activation: str | None = None) -> keras.Model:
    """One with a network in it, an operation that is no layer, and maps of two sizes."""
    base = keras.Sequential(
        [layers.Input((height, width, 3)), layers.Conv2D(4, 3, strides=2, padding="same", name="fine")], name="base"
    )
    image = layers.Input((height, width, 3))
    fine = base(image)
    coarse = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="coarse")(fine)
    both = layers.Concatenate(name="both")([fine, layers.UpSampling2D(name="up")(coarse)])
    last = layers.Conv2D(5, 3, padding="same", name="last")(both * 2.0)
    return keras.Model(image, layers.Conv2D(outputs, 1, activation=activation, name="head")(last))


def saved(path: Path, model: keras.Model) -> Path:
    """Its file."""
    model.save(path)
    return path
