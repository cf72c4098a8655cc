import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from segscope import stage
from segscope.errors import SegscopeError
from segscope.run import Run

PARAMS = Path(__file__).parent.parent / "params.yaml"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    monkeypatch.chdir(tmp_path)
    # Set and taken away: what a test's stage sets is undone after it.
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    return tmp_path


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SegscopeError("wrong"), "error: wrong\n"),
        (PermissionError(errno.EACCES, "Permission denied", "a.parquet"), "error: a.parquet: Permission denied; "),
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device; `segscope doctor`"),
        (MemoryError("Unable to allocate 8 GiB"), "error: there is not enough memory (Unable to allocate 8 GiB); "),
    ],
)
def test_what_the_user_or_the_machine_lacks_is_said_without_a_traceback(error, said, capsys):
    def failing(run: Run) -> None:
        raise error

    with pytest.raises(SystemExit, match="1"):
        stage.main(failing)
    assert capsys.readouterr().err.startswith(said)


def test_what_a_reader_says_that_runs_ahead_in_tensorflow_is_said_without_a_traceback(capsys):
    def read(number: np.ndarray) -> np.ndarray:
        raise SegscopeError(f"a.tfrecord is damaged at {number}; run `dvc repro masks`")

    def failing(run: Run) -> None:
        numbers = tf.data.Dataset.range(3).map(lambda i: tf.numpy_function(read, [i], tf.int64, stateful=False))
        list(numbers.batch(2))

    with pytest.raises(SystemExit, match="1"):
        stage.main(failing)
    assert capsys.readouterr().err == "error: a.tfrecord is damaged at 0; run `dvc repro masks`\n"


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file", "a"), ValueError("a")])
def test_what_segscope_does_wrong_keeps_its_traceback(error):
    def failing(run: Run) -> None:
        raise error

    with pytest.raises(type(error)):
        stage.main(failing)


def numba_cache() -> str | None:
    """What a stage finds of it."""
    found: list[str | None] = []
    stage.main(lambda run: found.append(os.environ.get("NUMBA_CACHE_DIR")))
    return found[0]


def test_numba_gets_a_folder_where_it_has_none_of_its_own(project, monkeypatch):
    home, package = project / "home", "umap"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    locked: list[str] = []
    monkeypatch.setattr(os, "access", lambda path, mode: not any(part in str(path) for part in locked))
    assert numba_cache() is None
    locked.append(package)
    assert numba_cache() is None  # the user's cache folder, which Numba would make
    locked.append(str(project))
    assert numba_cache() == str(project / "data" / "cache" / "numba")


def test_numba_gets_one_where_the_user_has_no_home(project, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does of a user id without a name
    monkeypatch.setattr(os, "access", lambda path, mode: "umap" not in str(path))
    assert numba_cache() == str(project / "data" / "cache" / "numba")


def test_a_folder_that_the_user_chose_for_numba_stays(project, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    assert numba_cache() == "mine"
