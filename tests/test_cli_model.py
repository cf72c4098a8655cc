"""`segscope predict` and `segscope export`, on a model of known answers."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from segscope.cli import main
from segscope.images import EXIF_ORIENTATION
from segscope.model_card import write_card
from segscope.params import Train
from segscope.training import build_model

SIZE = 32
NAMES = ["background", "person", "car"]


@pytest.fixture
def model_path(tmp_path):
    """A model whose logits are red, green and blue: each pixel's class is its strongest colour."""
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Rescaling(1 / 10)]).save(path)
    card(path)
    return path


def card(path) -> None:
    numbers = {"loss": 0.5, "iou_person": 0.4}
    metrics = {"epoch": 3, "train": numbers, "val": numbers}
    data = {"source": "sample", "train": 5, "val": 4}
    classes = {"person": ["person"], "car": ["car"]}
    write_card(path.with_suffix(".md"), classes, SIZE, {"trained": 1}, Train().model_dump(), data, metrics)


def halves(width: int, height: int) -> Image.Image:
    """Green left, blue in the upper quarter at the right, red elsewhere."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 200
    pixels[:, : width // 2] = (0, 200, 0)
    pixels[: height // 2, width // 2 :] = (0, 0, 200)
    return Image.fromarray(pixels)


def rows(folder) -> dict[str, dict]:
    with (folder / "shares.csv").open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("size", [(300, 200), (64, 64), (33, 701), (20, 10)])
def test_a_photograph_of_any_size_is_segmented_at_its_size(model_path, tmp_path, capsys, size):
    photograph = tmp_path / "street.png"
    halves(*size).save(photograph)
    assert main(["predict", str(photograph), "--model", str(model_path), "--out", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "street-mask.png") as mask:
        assert mask.mode == "P"
        classes = np.asarray(mask)
    assert classes.shape == size[::-1]
    expected = np.asarray(halves(*size)).argmax(-1)
    assert (classes != expected).mean() < 0.07
    with Image.open(tmp_path / "out" / "street-overlay.jpg") as overlay:
        assert overlay.size == size
    shares = rows(tmp_path / "out")[str(photograph)]
    for k, name in enumerate(NAMES):
        assert float(shares[name]) == pytest.approx((classes == k).mean())
    assert f"{photograph}: background {(classes == 0).mean():.1%}, person" in capsys.readouterr().out


def test_a_turned_gray_and_transparent_photographs_are_seen_as_shown(model_path, tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    halves(60, 40).rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    halves(60, 40).convert("RGBA").save(tmp_path / "clear.png")
    halves(60, 40).convert("L").save(tmp_path / "gray.png")
    files = [str(tmp_path / name) for name in ("turned.jpg", "clear.png", "gray.png")]
    assert main(["predict", *files, "--model", str(model_path), "--out", str(tmp_path / "out")]) == 0
    turned, clear, gray = (
        np.asarray(Image.open(tmp_path / "out" / f"{n}-mask.png")) for n in ("turned", "clear", "gray")
    )
    assert turned.shape == clear.shape == gray.shape == (40, 60)
    assert (turned != clear).mean() < 0.1


def test_a_file_that_is_no_image_is_named_and_the_others_are_done(model_path, tmp_path, capsys):
    (tmp_path / "notes.jpg").write_text("not an image")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        halves(40, 40).save(tmp_path / folder / "same.png")
    files = [tmp_path / "notes.jpg", tmp_path / "a" / "same.png", tmp_path / "missing.png", tmp_path / "b" / "same.png"]
    out = tmp_path / "out"
    assert main(["predict", *map(str, files), "--model", str(model_path), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert f"error: image {tmp_path}/notes.jpg cannot be decoded" in said
    assert f"error: image {tmp_path}/missing.png cannot be decoded" in said
    assert set(rows(out)) == {str(files[1]), str(files[3])}
    assert sorted(file.name for file in out.glob("*-mask.png")) == ["same-2-mask.png", "same-mask.png"]


def test_without_a_model_or_its_card_the_error_says_what_to_run(model_path, tmp_path, capsys):
    halves(40, 40).save(tmp_path / "a.png")
    command = ["predict", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--model"]
    assert main([*command, str(tmp_path / "none.keras")]) == 1
    assert "none.md cannot be read" in capsys.readouterr().err
    model_path.write_bytes(b"damaged")
    assert main([*command, str(model_path)]) == 1
    assert "run `dvc repro train`" in capsys.readouterr().err
    model_path.with_suffix(".md").write_text("---\nclasses: 3\n---\n")
    assert main([*command, str(model_path)]) == 1
    assert "the model card" in capsys.readouterr().err


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A real network with the file and card of a training."""
    path = tmp_path_factory.mktemp("unet") / "model.keras"
    keras.utils.set_random_seed(0)
    model = build_model("none", None, SIZE, 3, Train())
    model.save(path)
    card(path)
    image = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)
    return path, image, model.predict(image, verbose=0)


def close(found, expected) -> bool:
    return np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_saved_model_computes_what_the_keras_model_does(unet, tmp_path):
    path, image, expected = unet
    assert main(["export", "--format", "saved_model", "--model", str(path), "--out", str(tmp_path / "saved")]) == 0
    assert close(tf.saved_model.load(tmp_path / "saved").serve(image).numpy(), expected)


def test_the_tflite_model_computes_what_the_keras_model_does(unet, capsys):
    path, image, expected = unet
    assert main(["export", "--format", "tflite", "--model", str(path)]) == 0
    assert "to logits of background, person, car" in capsys.readouterr().out
    interpreter = tf.lite.Interpreter(str(path.with_suffix(".tflite")))
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


def test_without_the_packages_of_onnx_the_error_says_what_to_install(unet, monkeypatch, capsys):
    path, *_ = unet
    monkeypatch.setattr("segscope.export.find_spec", lambda name: None)
    assert main(["export", "--format", "onnx", "--model", str(path)]) == 1
    assert "pip install 'segscope[onnx]'" in capsys.readouterr().err
    assert not path.with_suffix(".onnx").exists()
