"""HDF5 files are untrusted: a few bytes that were changed in one end the library that reads it, or keep it for ever.

So a process of its own reads a file to its end first. What is imported here, that process imports, too.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import h5py

from segscope.confined import confined
from segscope.limits import MAX_MODEL_SECONDS

ROOM = 2**30  # bytes that a file of any size may take, beside three times its own


def check_hdf5(path: Path, member: str | None = None) -> None:
    """Raise ValueError if an HDF5 file cannot be read, declares larger arrays than it holds, or names other files.

    member: the file's name in an archive `path`, that does not pack it.
    """
    most = 3 * path.stat().st_size + ROOM
    confined(read_through, path, member, memory=most, seconds=MAX_MODEL_SECONDS)


def read_through(path: Path, member: str | None) -> None:
    """Read all groups, attributes and arrays. Arguments and errors as of `check_hdf5`, which alone is to call it."""
    size = path.stat().st_size
    source: Path | BytesIO = path
    if member is not None:
        with zipfile.ZipFile(path) as archive:
            source = BytesIO(archive.read(member))
    with h5py.File(source, "r") as opened:
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
