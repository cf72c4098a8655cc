"""Checksums of many files, each read once: later runs ask only for its size and time of change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from segscope.artefacts.files import sha256_of
from segscope.artefacts.schemas import CHECKSUMS
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.errors import SegscopeError

THREADS = 8


def known_checksums(paths: Sequence[str], file: Path) -> pd.Series:
    """SHA-256, by path, of those paths whose size and time of change are as the checksum file has them.

    A checksum file that is missing or damaged knows nothing.
    """
    try:
        known = read_parquet(file, CHECKSUMS)
    except SegscopeError:
        known = pd.DataFrame(columns=CHECKSUMS.names)
    return _stat(paths).merge(known, on=["path", "size", "modified"]).set_index("path")["sha256"]


def checksums(paths: Sequence[str], file: Path) -> pd.Series:
    """SHA-256, by path, of distinct files; `file` remembers them. Raises SegscopeError if one cannot be read."""
    found = _stat(paths)
    known = known_checksums(paths, file)
    unknown = [path for path in paths if path not in known.index]
    with ThreadPoolExecutor(THREADS) as pool:  # hashing releases the interpreter's lock
        try:
            fresh = list(
                tqdm(pool.map(sha256_of, unknown), total=len(unknown), desc="checksums", unit="file", disable=None)
            )
        except OSError as error:
            raise SegscopeError(f"image {error.filename} cannot be read: {error.strerror}") from error
    sums = pd.concat([known, pd.Series(fresh, unknown, dtype=object)]).reindex(list(paths))
    write_parquet(file, found.assign(sha256=found["path"].map(sums)), CHECKSUMS)
    return sums


def _stat(paths: Sequence[str]) -> pd.DataFrame:
    rows = []
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue
        rows.append((path, found.st_size, found.st_mtime_ns))
    return pd.DataFrame(rows, columns=["path", "size", "modified"]).astype({"size": "int64", "modified": "int64"})
