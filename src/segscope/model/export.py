"""The model in the formats of other programs. Each takes and gives what the Keras model does: see the model card."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import keras
import tensorflow as tf

from segscope.artefacts.files import atomic_folder, atomic_path
from segscope.errors import SegscopeError


def export_model(model: keras.Model, path: Path, kind: str) -> None:
    """Write the model to `path`, replacing it. kind: `saved_model` (a folder), `tflite` or `onnx`.

    Raises SegscopeError if a package that the format needs is missing.
    """
    if kind == "onnx" and not (find_spec("onnx") and find_spec("tf2onnx")):
        raise SegscopeError("ONNX needs the packages onnx and tf2onnx: pip install 'segscope[onnx]'")
    if kind == "saved_model":
        with atomic_folder(path) as folder:
            model.export(folder, format="tf_saved_model", verbose=False)
        return
    with atomic_path(path) as temporary:
        if kind == "onnx":
            # Keras refuses a model that has not been called since it was loaded.
            model(tf.zeros((1, *model.input_shape[1:])))
            model.export(temporary, format="onnx", verbose=False)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                model.export(scratch, format="tf_saved_model", verbose=False)
                temporary.write_bytes(tf.lite.TFLiteConverter.from_saved_model(scratch).convert())
