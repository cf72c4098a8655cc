"""What is kept off the screen, and what is not."""

import os
import pty
import signal
import subprocess
import sys

import pytest
from foreign_lines import foreign_lines

GREETING = "I0000 00:00:1796020814.010991   13266 port.cc:153] oneDNN custom operations are on."
HEADING = "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
WARNING = "W0000 00:00:1796021832.932405   29086 png_io.cc:96] PNG warning: iCCP: known incorrect sRGB profile"
ERROR = "E0000 00:00:1796021643.165459   27568 cuda_platform.cc:52] failed call to cuInit"
PLAIN = "Warning: something else"


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True)


IN_A_BLOCK = """
import os
from segscope.quiet import without_greetings
try:
    with without_greetings():
        os.write(2, {text!r})
        {then}
finally:
    os.write(2, {text!r})
"""


def said(then: str) -> tuple[int, list[str]]:
    """Exit status and lines of a program that says all, in the block and after it, between which it does something."""
    text = "".join(f"{line}\n" for line in (HEADING, GREETING, WARNING, ERROR, PLAIN)).encode()
    result = python(IN_A_BLOCK.format(text=text, then=then))
    return result.returncode, result.stderr.splitlines()


def test_greetings_are_left_out_and_file_descriptor_2_is_as_before():
    assert said("pass") == (0, [ERROR, PLAIN, HEADING, GREETING, WARNING, ERROR, PLAIN])


def test_an_exception_passes():
    status, lines = said("raise ValueError('wrong')")
    assert status == 1
    assert lines[:7] == [ERROR, PLAIN, HEADING, GREETING, WARNING, ERROR, PLAIN]
    assert lines[-1] == "ValueError: wrong"


def test_the_last_words_of_a_crash_are_shown():
    assert said("os.abort()") == (-signal.SIGABRT, [ERROR, PLAIN])


@pytest.mark.parametrize(("verbose", "shown"), [("1", True), ("0", False)])
def test_all_is_shown_to_who_wants_it(verbose, shown):
    """TensorFlow's own lines, which know no level."""
    result = python("from segscope import stage; import tensorflow", SEGSCOPE_VERBOSE=verbose)
    assert result.returncode == 0
    assert (HEADING in result.stderr) == shown
    assert shown or result.stderr == ""


def test_a_bar_that_is_full_goes():
    """On a terminal."""
    said = []

    def read(descriptor: int) -> bytes:
        said.append(os.read(descriptor, 1024))
        return said[-1]

    bar = "list(tqdm(range(3), desc='bar', ncols=40, nrows=20))"  # this terminal has no size
    pty.spawn([sys.executable, "-c", f"from segscope import stage; from tqdm import tqdm; {bar}; print('end')"], read)
    *_, first, blank, last = b"".join(said).decode().strip().split("\r")
    assert first.startswith("bar: ")
    assert blank.strip() == ""
    assert last == "end"


def test_a_run_is_on_one_screen_and_all_of_it_ours(finished):
    log = (finished / "said.txt").read_text()
    assert foreign_lines(log) == []
    assert len(log.splitlines()) <= 60


@pytest.mark.parametrize("line", [HEADING, GREETING, WARNING, ERROR, PLAIN, "'data/sample' is empty", "epoch 1 of 8"])
def test_what_is_not_ours_is_found(line):
    assert foreign_lines(f"masks: 3 images\n{line}\nwarning: a\n") == [line]
