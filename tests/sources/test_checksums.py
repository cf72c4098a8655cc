import os

import pytest

from segscope.artefacts.files import sha256_of
from segscope.errors import SegscopeError
from segscope.sources.checksums import checksums, known_checksums


@pytest.fixture
def files(tmp_path):
    paths = []
    for i in range(5):
        (tmp_path / f"{i}.bin").write_bytes(bytes([i]) * (i + 1))
        paths.append(str(tmp_path / f"{i}.bin"))
    return paths


def hashed(monkeypatch) -> list[str]:
    """The files that are read from now on."""
    read = []
    monkeypatch.setattr("segscope.sources.checksums.sha256_of", lambda path: read.append(path) or sha256_of(path))
    return read


def test_only_what_changed_is_read_again(files, tmp_path, monkeypatch):
    memory = tmp_path / "cache" / "checksums.parquet"
    first = checksums(files, memory)
    assert first.to_dict() == {path: sha256_of(path) for path in files}
    read = hashed(monkeypatch)
    assert checksums(files, memory).equals(first)
    assert read == []
    with open(files[1], "wb") as file:
        file.write(b"other")
    os.utime(files[2], ns=(1, 1))
    assert checksums(files, memory)[files[1]] == sha256_of(files[1])
    assert sorted(read) == files[1:3]


def test_a_damaged_memory_knows_nothing(files, tmp_path):
    memory = tmp_path / "checksums.parquet"
    memory.write_bytes(b"PAR1")
    assert known_checksums(files, memory).empty
    assert len(checksums(files, memory)) == 5
    assert len(known_checksums([*files, str(tmp_path / "gone")], memory)) == 5


def test_a_file_that_cannot_be_read_is_named(files, tmp_path):
    with pytest.raises(SegscopeError, match=r"gone\.bin cannot be read: No such file"):
        checksums([*files, str(tmp_path / "gone.bin")], tmp_path / "checksums.parquet")
