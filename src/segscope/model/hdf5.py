"""HDF5 files are untrusted: a few bytes that were changed in one end the library that reads it, or keep it for ever.

So a process of its own reads a file to its end first, and what becomes of that process is told. It imports little.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py

from segscope.limits import MAX_MODEL_SECONDS

ROOM = 2**30  # bytes that a file of any size may take, beside twice its own


def check_hdf5(path: Path, member: str | None = None) -> None:
    """Raise ValueError if an HDF5 file cannot be read, declares larger arrays than it holds, or names other files.

    member: the file's name in an archive `path`, that does not pack it.
    """
    command = [sys.executable, "-P", "-m", __spec__.name, str(path), *([member] if member else [])]
    try:
        read = subprocess.run(command, capture_output=True, text=True, timeout=MAX_MODEL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"it is damaged: it was not read in {MAX_MODEL_SECONDS} s") from error
    if read.returncode:
        said = read.stderr.strip().splitlines()
        raise ValueError(said[-1] if read.returncode == 1 and said else "it is damaged: what reads it ends at once")


def read_through(path: Path, size: int) -> None:
    """Read all groups, attributes and arrays of an HDF5 file of `size` bytes. Raises ValueError as `check_hdf5`."""
    with h5py.File(path, "r") as opened:
        stored, seen, waiting = 0, set(), [opened]
        arrays: list[h5py.Dataset] = []
        while waiting:
            group = waiting.pop()
            dict(group.attrs)
            for name in group:
                link = group.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    raise ValueError(f"{name} lies in another file")
                each = group[name]
                if each.id in seen:
                    continue
                seen.add(each.id)
                if isinstance(each, h5py.Group):
                    waiting.append(each)
                elif isinstance(each, h5py.Dataset):
                    if each.external or each.is_virtual:
                        raise ValueError(f"{name} lies in another file")
                    stored += each.nbytes
                    arrays.append(each)
        if stored > size:
            raise ValueError(f"its arrays are {stored} bytes, the file is {size}")
        for array in arrays:
            dict(array.attrs)
            array[()]


def _bound_memory(size: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # not everywhere
        import resource

        most = 2 * size + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(path: str, member: str | None = None) -> None:
    """Read a file through, in this process; what is wrong is its last line."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(path)
            if member:
                file = Path(scratch) / "member.h5"
                with zipfile.ZipFile(path) as archive, archive.open(member) as source, file.open("wb") as target:
                    shutil.copyfileobj(source, target)
            size = file.stat().st_size
            _bound_memory(size)
            read_through(file, size)
    except Exception as error:  # whatever a broken file provokes in h5py
        sys.exit(" ".join(str(error).split()) or type(error).__name__)


if __name__ == "__main__":
    main(*sys.argv[1:])
