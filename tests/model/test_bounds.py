"""Model files that ask for more than they hold."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from segscope.errors import SegscopeError
from segscope.model.saving import read_model
from segscope.model.unet import keras_encoder

HUGE = 2**40


@pytest.fixture
def model(tmp_path) -> Path:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def rewritten(path: Path, packed: int = zipfile.ZIP_STORED, **changed: bytes) -> Path:
    """The archive with other members: config or weights."""
    names = {"config": "config.json", "weights": "model.weights.h5"}
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {names[key]: content for key, content in changed.items()}
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def hdf5(path: Path, fill) -> bytes:
    with h5py.File(path, "w") as file:
        fill(file)
    return path.read_bytes()


def read(path: Path) -> keras.Model:
    return read_model(path, foreign=True)


def test_a_model_of_a_user_is_read(model):
    assert read(model).output_shape == (None, 3)


def test_a_model_that_was_trained_is_read(tmp_path):
    """Its file tells its optimizer, and the loss."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 4)), np.zeros((2, 3)), verbose=0)
    model.save(tmp_path / "model.keras")
    assert read(tmp_path / "model.keras").output_shape == (None, 3)


def sequential(layer: str, **config: object) -> dict:
    layers = [{"module": "keras.layers", "class_name": layer, "config": config}]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": layers}}


def with_input(document: dict, *shape: int | None) -> dict:
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32"}}
    document["config"]["layers"].insert(0, first)
    return document


NORMAL = {"axis": -1, "mean": 0.5, "variance": 1.0}
TAKING = {  # gigabytes, though they have no weights
    "an input": with_input(sequential("Normalization", **NORMAL), None, 10**9),
    "a state": with_input(sequential("LSTM", units=10**6, stateful=True), 10**6, 4, 4),
    "a shape to be built for": sequential("Normalization", **NORMAL) | {"build_config": {"input_shape": [None, 10**9]}},
    "an index": with_input(sequential("IntegerLookup", vocabulary=[1], num_oov_indices=10**9), None, 8),
}


@pytest.mark.parametrize("kind", TAKING)
def test_layers_that_take_too_much_memory_are_refused(model, kind):
    with pytest.raises(SegscopeError, match=r"it takes more than 1\.1 GB of memory|cannot be built"):
        read(rewritten(model, config=json.dumps(TAKING[kind]).encode()))


def test_layers_larger_than_the_file_are_refused(model):
    config = zipfile.ZipFile(model).read("config.json")
    assert config.count(b'"units": 3') == 1
    rewritten(model, config=config.replace(b'"units": 3', b'"units": %d' % HUGE))
    with pytest.raises(SegscopeError, match="weights, more than the file holds"):
        read(model)


def test_arrays_larger_than_the_file_are_refused(model, tmp_path):
    fill = lambda file: file.create_dataset("layers/dense/vars/0", (HUGE,), "f4", chunks=(2**20,))  # noqa: E731
    content = hdf5(tmp_path / "huge.h5", fill)
    assert len(content) < 10_000
    with pytest.raises(SegscopeError, match=f"its arrays are {4 * HUGE} bytes"):
        read(rewritten(model, weights=content))
    with pytest.raises(SegscopeError, match=f"its arrays are {4 * HUGE} bytes"):
        keras_encoder(64, tmp_path / "huge.h5")


def test_a_packed_model_is_refused(model):
    rewritten(model, zipfile.ZIP_DEFLATED, weights=bytes(10**7))
    with pytest.raises(SegscopeError, match="what it holds is larger than the file"):
        read(model)


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_arrays_of_other_files_are_refused(model, tmp_path, kind):
    other = tmp_path / "other.h5"
    hdf5(other, lambda file: file.create_dataset("secret", data=np.ones(4, np.float32)))

    def fill(file: h5py.File) -> None:
        if kind == "link":
            file["layers"] = h5py.ExternalLink(str(other), "secret")
        elif kind == "storage":
            file.create_dataset("layers", (4,), "f4", external=[(str(other), 0, 16)])
        else:
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource(str(other), "secret", (4,))
            file.create_virtual_dataset("layers", layout)

    with pytest.raises(SegscopeError, match="layers lies in another file"):
        read(rewritten(model, weights=hdf5(tmp_path / "w.h5", fill)))


@pytest.mark.parametrize("content", [b"", b"no archive", json.dumps({}).encode()])
def test_what_is_no_model_is_one_line(tmp_path, content):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(SegscopeError, match="cannot be read") as raised:
        read(tmp_path / "model.keras")
    assert len(str(raised.value)) < 500


def test_code_in_a_model_is_not_run(model):
    config = json.loads(zipfile.ZipFile(model).read("config.json"))
    function = keras.layers.Lambda(lambda x: x)
    config["config"]["layers"].append(keras.saving.serialize_keras_object(function))
    with pytest.raises(SegscopeError, match="lambda"):
        read(rewritten(model, config=json.dumps(config).encode()))


def test_a_model_loads_no_other(model, tmp_path):
    """TFSMLayer runs whatever a SavedModel holds."""
    config = json.loads(zipfile.ZipFile(model).read("config.json"))
    layer = {"name": "other", "filepath": str(tmp_path), "call_endpoint": "serve"}
    config["config"]["layers"].append({"module": "keras.layers", "class_name": "TFSMLayer", "config": layer})
    with pytest.raises(SegscopeError, match="TFSMLayer"):
        read(rewritten(model, config=json.dumps(config).encode()))
