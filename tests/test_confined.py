"""Work in a process of its own: what it gives, and what is said of it where it ends otherwise."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from segscope.confined import confined


@pytest.fixture(autouse=True)
def _found(monkeypatch):
    """This module, too, is one that a helper finds."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


BOUNDS = {"memory": 2**28, "seconds": 20}


def double(number):
    return 2 * number


def fails():
    raise KeyError("a" * 1000)


def ends():
    os.kill(os.getpid(), signal.SIGSEGV)


def exits():
    os._exit(3)


def goes_on():
    while True:
        pass


def waits():
    time.sleep(60)


def fills(n):
    return len(bytes(n))


def prints():
    os.system("echo this is no answer")
    return "one"


def test_what_is_made_is_given_back_and_what_is_printed_is_not():
    assert confined(double, 21, **BOUNDS) == 42
    assert confined(prints, **BOUNDS) == "one"


@pytest.mark.parametrize(
    ("work", "given", "said"),
    [
        (fails, (), "^'a+$"),
        (ends, (), "^it is damaged: what reads it ends at once$"),
        (exits, (), "^it is damaged: what reads it ends at once$"),
        (goes_on, (), "^it is damaged: it was not read in 1 s$"),
        (waits, (), "^it is damaged: it was not read in 1 s$"),
        (fills, (2**29,), r"^it takes more than 0\.3 GB of memory$"),
    ],
)
def test_what_goes_wrong_is_said_and_costs_nothing_else(work, given, said):
    with pytest.raises(ValueError, match=said) as raised:
        confined(work, *given, memory=2**28, seconds=1 if work in (goes_on, waits) else 20)
    assert len(str(raised.value)) <= 300
    assert confined(fills, 2**20, **BOUNDS) == 2**20


def test_it_is_done_in_the_folder_that_is_the_askers_now(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert confined(os.getcwd, **BOUNDS) == str(tmp_path / name)


def test_it_works_after_a_helper_ended_itself():
    helper = confined(os.getppid, **BOUNDS)
    os.kill(helper, signal.SIGKILL)
    with suppress(ValueError):  # unless it is gone already
        confined(os.getppid, **BOUNDS)
    assert confined(os.getppid, **BOUNDS) != helper
