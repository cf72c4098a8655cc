"""`segscope export`: each format computes what the Keras model does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segscope.cli import main
from segscope.model.saving import save_model
from segscope.model.training import build_model
from segscope.params import Train

SIZE = 32


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A real network with the file and card of a training."""
    path = tmp_path_factory.mktemp("unet") / "model.keras"
    keras.utils.set_random_seed(0)
    model = build_model("none", None, SIZE, 3, Train())
    save_model(model, path)
    path.with_suffix(".md").write_text(f"---\nclasses: [background, person, car]\nimage_size: {SIZE}\n---\n")
    image = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)
    return path, image, model.predict(image, verbose=0)


def close(found, expected) -> bool:
    return np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_saved_model_computes_what_the_keras_model_does(unet, tmp_path):
    path, image, expected = unet
    assert main(["export", "--format", "saved_model", "--model", str(path), "--out", str(tmp_path / "saved")]) == 0
    assert close(tf.saved_model.load(tmp_path / "saved").serve(image).numpy(), expected)


def test_the_tflite_model_computes_what_the_keras_model_does(unet, tmp_path, monkeypatch, capsys):
    path, image, expected = unet
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--format", "tflite", "--model", str(path)]) == 0
    assert "to logits of background, person, car" in capsys.readouterr().out
    interpreter = tf.lite.Interpreter(f"exports/{path.stem}.tflite")
    given, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(given, image.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, image)
    interpreter.invoke()
    assert close(interpreter.get_tensor(result), expected)


def test_the_onnx_model_computes_what_the_keras_model_does(unet, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path, image, expected = unet
    assert main(["export", "--format", "onnx", "--model", str(path), "--out", str(tmp_path / "m.onnx")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert close(session.run(None, {session.get_inputs()[0].name: image})[0], expected)


def test_without_the_packages_of_onnx_the_error_says_what_to_install(unet, tmp_path, monkeypatch, capsys):
    path, *_ = unet
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("segscope.model.export.find_spec", lambda name: None)
    assert main(["export", "--format", "onnx", "--model", str(path)]) == 1
    assert "pip install 'segscope[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "exports").exists()
