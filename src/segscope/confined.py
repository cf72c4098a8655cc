"""Work on untrusted data that may end, detain or exhaust the process that does it: done in one of its own.

Native libraries trust what they read more than they ought to. A helper process imports what the work needs, once, and
forks for each piece of work: the death of a fork costs that piece, and a message.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from threading import Lock
from typing import Any, BinaryIO, NoReturn

PATIENCE = 10  # times as long as the work may compute it may take, beside what else the machine does
ENDS = "it is damaged: what reads it ends at once"
SHOWN = 300  # characters of what went wrong
_helpers: dict[str, subprocess.Popen[bytes]] = {}  # by the module that they import
_lock = Lock()


def confined(work: Callable[..., Any], *given: Any, memory: int, seconds: int) -> Any:
    """What a module's function gives, called in a process of its own, as JSON has it.

    memory: bytes that the process may fill, with what its libraries do; where the system cannot bound it, the time
    alone is. seconds: that it may compute. Raises ValueError saying what the function raised, or what became of the
    process.
    """
    with _lock:
        helper = _helper(work.__module__)
        assert helper.stdin
        assert helper.stdout
        try:
            pickle.dump((work.__name__, given, os.getcwd(), memory, seconds), helper.stdin)
            helper.stdin.flush()
            answer = json.loads(helper.stdout.readline())
        except (OSError, ValueError):
            _end(work.__module__)
            raise ValueError(ENDS) from None
        except BaseException:  # interrupted: its answer would be taken for that to the next question
            _end(work.__module__)
            raise
    if "wrong" in answer:
        raise ValueError(answer["wrong"])
    return answer["made"]


def _helper(module: str) -> subprocess.Popen[bytes]:
    if module in _helpers and _helpers[module].poll() is not None:
        _end(module)
    if module not in _helpers:
        command = [sys.executable, "-P", "-m", __name__, module]
        _helpers[module] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    return _helpers[module]


def _end(module: str) -> None:
    helper = _helpers.pop(module)
    helper.kill()
    helper.communicate()


@atexit.register
def _end_all() -> None:
    for module in list(_helpers):
        _end(module)


def serve(module: str, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer, a line each, the questions that `confined` puts about a module's functions, until there are no more."""
    imported = import_module(module)

    def say(kind: str, what: Any) -> None:
        answers.write(json.dumps({kind: what}).encode() + b"\n")
        answers.flush()

    while True:
        try:
            name, given, folder, memory, seconds = pickle.load(questions)
        except EOFError:
            return
        if not (child := os.fork()):
            os.chdir(folder)  # which the asking process may have changed
            _bound(memory, seconds)
            _answer(getattr(imported, name), given, say, f"it takes more than {memory / 1e9:.1f} GB of memory")
        del given  # which may be gigabytes
        _, status = os.waitpid(child, 0)
        if status:
            late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM)
            say("wrong", f"it is damaged: it was not read in {seconds} s" if late else ENDS)


def _answer(work: Callable[..., Any], given: Sequence[Any], say: Callable[[str, Any], None], full: str) -> NoReturn:
    """Do the work, say what came of it, and end the process; `full`: what to say where its memory is."""
    try:
        made = work(*given)
    except Exception as error:  # whatever hostile data provoke in libraries
        said = " ".join(str(error).split())[:SHOWN] or type(error).__name__
        say("wrong", full if any(map(_is_full, _chain(error))) else said)
    else:
        say("made", made)
    os._exit(0)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those of which it is told."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's


def _bound(memory: int, seconds: int) -> None:
    """Of its own time, for the machine may do much else; but not for ever."""
    signal.alarm(PATIENCE * seconds)
    with suppress(ImportError, ValueError, OSError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as own:
        os.dup2(2, 1)  # what libraries print is no answer
        serve(sys.argv[1], sys.stdin.buffer, own)
