"""A trained model as a file."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import keras

from segscope.artefacts.files import atomic_path
from segscope.errors import SegscopeError, made_by, reading
from segscope.limits import MAX_LAYER_VALUES
from segscope.model.bounds import check_keras_file, try_keras_file
from segscope.model.unet import FusedNormalization


def save_model(model: keras.Model, path: Path) -> None:
    """Write the model, computing in 32 bits, as a .keras file.

    Equal models give equal bytes: no date, no time, nothing of the machine or of what the process made before.
    """
    with atomic_path(path) as temporary:
        in_float32(model).save(temporary)
        _remove_times(temporary)


def _remove_times(path: Path) -> None:
    """Write a .keras file, which is a zip archive, anew without the date and the files' times that Keras puts in."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    del metadata["date_saved"]
    members["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # a ZipInfo's own time is always 1980


def in_float32(model: keras.Model) -> keras.Model:
    """The same model of Keras's own layers, computing in 32 bits: what reads it needs neither segscope nor 16 bits."""

    def as_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, keras.layers.Layer):  # an operation, which has no weights
            return layer
        kind = keras.layers.BatchNormalization if isinstance(layer, FusedNormalization) else layer.__class__
        return kind.from_config(layer.get_config() | {"dtype": "float32"})

    # A clone of the layers alone: of a compiled model, Keras would clone the loss, too. Unnamed, it would be numbered.
    layers = keras.Model(model.input, model.output, name=model.name)
    copy = keras.models.clone_model(layers, clone_function=as_float32)
    copy.set_weights(model.get_weights())
    return copy


def read_model(path: Path, advice: str = made_by("train"), foreign: bool = False) -> keras.Model:
    """A model of a .keras file. Raises SegscopeError, which ends with the advice, if it cannot be read.

    foreign: it is none that a stage made, and so may be anybody's.
    """
    with reading(f"model {path}", advice):
        (try_keras_file if foreign else check_keras_file)(path)
        return keras.models.load_model(path, compile=False)


def check_sizes(model: keras.Model) -> None:
    """Raise SegscopeError if a layer of a network, or of one within it, gives too many values of an image."""
    for operation in getattr(model, "operations", model.layers):  # a Sequential has none but its layers
        if isinstance(operation, keras.Model) and operation is not model:
            check_sizes(operation)
        try:
            shape = operation.output.shape
        except (AttributeError, ValueError):
            continue
        if None not in shape[1:] and (values := math.prod(shape[1:])) > MAX_LAYER_VALUES:
            raise SegscopeError(
                f"layer {operation.name} of the model gives {values / 1e6:.0f} million values of an image, more than "
                f"{MAX_LAYER_VALUES / 1e6:.0f} (SEGSCOPE_MAX_LAYER_VALUES)"
            )


def load_model(path: Path, n_classes: int, image_size: int, foreign: bool = False) -> keras.Model:
    """The trained model. Raises SegscopeError if it cannot be read, or is not of this variant and size.

    foreign: as of `read_model`.
    """
    model = read_model(path, foreign=foreign)
    if model.output_shape[1:] != (image_size, image_size, n_classes):
        raise SegscopeError(
            f"model {path} gives {model.output_shape[1:]}, the params ask for {(image_size, image_size, n_classes)}; "
            f"{made_by('train')}"
        )
    if foreign:
        check_sizes(model)
    return model
