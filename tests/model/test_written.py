import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segscope.errors import SegscopeError
from segscope.model import written
from segscope.model.written import find_predictions, read_probabilities

WIDE = (40, 20)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def png(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def npz(path: Path, values: np.ndarray) -> Path:
    np.savez_compressed(path, p=values)
    return path


def test_class_numbers_are_taken_from_the_nearest_pixel(tmp_path, rng):
    numbers = rng.choice([0, 7, 15, 255], (20, 40)).astype(np.uint8)
    found = read_probabilities(png(tmp_path / "a.png", numbers), WIDE, 10, [[15, 3], [7]], 3)
    centre = numbers[1::2, 2::4]  # of 2 × 4 pixels each, the one right and below of the middle
    assert (found.argmax(-1) == np.select([centre == 15, centre == 7], [1, 2], 0)).all()
    assert set(np.unique(found)) == {0, 1}


def test_probabilities_are_averaged_over_each_pixel_and_summed_over_each_class(tmp_path, rng):
    p = rng.dirichlet(np.ones(4), (20, 40)).astype(np.float16)
    found = read_probabilities(npz(tmp_path / "a.npz", p), WIDE, 10, [[1, 3]], 2)
    wanted = p.astype(float).reshape(10, 2, 10, 4, 4).mean((1, 3))[..., [1, 3]].sum(-1)
    assert np.allclose(found[..., 1], wanted, atol=2e-3)
    assert np.allclose(found.sum(-1), 1, atol=1e-6)


def test_a_single_plane_is_the_probability_of_the_only_class(tmp_path):
    found = read_probabilities(npz(tmp_path / "a.npz", np.full((5, 10), 0.25, np.float32)), WIDE, 20, None, 2)
    assert np.allclose(found, [0.75, 0.25])


def hidden(path: Path, **header: object) -> Path:
    """An array that claims more than it holds."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (2, 2, 2)} | header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p.npy", buffer.getvalue() + bytes(32))
    return path


WRONG = {
    "transposed": (lambda p: npz(p, np.full((40, 20, 2), 0.5)), "it is 20×40, the image 40×20"),
    "logits": (lambda p: npz(p, np.full((20, 40, 2), 3.0)), "add up to 6 to 6 at a pixel; they must be probabilities"),
    "nan": (lambda p: npz(p, np.full((20, 40, 2), np.nan)), "must be probabilities"),
    "outputs": (lambda p: npz(p, np.full((20, 40, 4), 0.25)), "class 3, and there are 2"),
    "integers": (lambda p: npz(p, np.ones((20, 40, 2), int)), "must be floating"),
    "objects": (lambda p: npz(p, np.array([[None]])), "must be floating"),
    "huge": (lambda p: hidden(p, shape=(30000, 30000, 2)), "unpacks to more than"),
    "larger": (lambda p: hidden(p, shape=(100, 100, 2)), "larger than the file"),
    "none": (lambda p: p.write_bytes(b"PK") and p, "not an NPZ of one array"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_are_no_probabilities_is_refused(kind, tmp_path):
    make, said = WRONG[kind]
    with pytest.raises(SegscopeError, match=f"prediction .*a.npz: .*{said}"):
        read_probabilities(make(tmp_path / "a.npz"), WIDE, 10, None, 2)


def test_class_numbers_that_are_none_are_refused(tmp_path):
    with pytest.raises(SegscopeError, match=r"class 9, and there are 2.*model.outputs"):
        read_probabilities(png(tmp_path / "a.png", np.full((20, 40), 9, np.uint8)), WIDE, 10, None, 2)
    with pytest.raises(SegscopeError, match="pixels are RGB"):
        read_probabilities(png(tmp_path / "a.png", np.zeros((20, 40, 3), np.uint8)), WIDE, 10, None, 2)
    with pytest.raises(SegscopeError, match="beyond 255"):
        read_probabilities(png(tmp_path / "a.png", np.full((20, 40), 300, np.uint16)), WIDE, 10, None, 2)


def test_a_file_is_its_images_by_name_and_the_folders_that_it_takes(tmp_path):
    for name in ("train/1.png", "val/1.png", "2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images = {1: "/data/train/1.jpg", 2: "/data/val/1.jpg", 3: "/data/val/2.jpg", 4: "/data/val/3.jpg"}
    found = find_predictions(tmp_path, images)
    assert found == {1: tmp_path / "train/1.png", 2: tmp_path / "val/1.png", 3: tmp_path / "2.png"}
    with pytest.raises(SegscopeError, match=r"2.png would be the prediction of .*as train/2.png"):
        find_predictions(tmp_path, images | {5: "/data/train/2.jpg"})
    (tmp_path / "3.npz").touch()
    with pytest.raises(SegscopeError, match="PNGs and NPZs"):
        find_predictions(tmp_path, images)
    with pytest.raises(SegscopeError, match="is no folder"):
        find_predictions(tmp_path / "none", images)


def test_a_prediction_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(written, "MAX_PREDICTION_BYTES", 1000)
    with pytest.raises(SegscopeError, match="unpacks to more than"):
        read_probabilities(npz(tmp_path / "a.npz", np.full((20, 40, 2), 0.5)), WIDE, 10, None, 2)
