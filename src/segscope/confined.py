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
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from threading import Lock
from typing import Any, BinaryIO

SHOWN = 300  # characters of what went wrong
_helpers: dict[str, subprocess.Popen[bytes]] = {}  # by the module that they import
_lock = Lock()


def confined(work: Callable[..., Any], *given: Any, memory: int, seconds: int) -> Any:
    """What a module's function gives, called in a process of its own, as JSON has it.

    memory: bytes that the process may fill, with what its libraries do; where the system cannot bound it, the time
    alone is. Raises ValueError saying what the function raised, or what became of the process.
    """
    with _lock:
        helper = _helper(work.__module__)
        assert helper.stdin
        assert helper.stdout
        try:
            pickle.dump((work.__name__, given, memory, seconds), helper.stdin)
            helper.stdin.flush()
            answer = json.loads(helper.stdout.readline())
        except (OSError, ValueError):
            _end(work.__module__)
            raise ValueError("it is damaged: what reads it ends at once") from None
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
    while True:
        try:
            name, given, memory, seconds = pickle.load(questions)
        except EOFError:
            return
        answers.flush()
        if not (child := os.fork()):
            _bound(memory, seconds)
            _say(answers, _made(getattr(imported, name), given, memory))
            os._exit(0)
        del given  # which may be gigabytes
        _, status = os.waitpid(child, 0)
        if status:
            late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
            what = f"it was not read in {seconds} s" if late else "what reads it ends at once"
            _say(answers, {"wrong": f"it is damaged: {what}"})


def _made(work: Callable[..., Any], given: tuple[Any, ...], memory: int) -> dict[str, Any]:
    try:
        return {"made": work(*given)}
    except MemoryError:
        return {"wrong": f"it takes more than {memory / 1e9:.1f} GB of memory"}
    except Exception as error:  # whatever hostile data provoke in libraries
        return {"wrong": " ".join(str(error).split())[:SHOWN] or type(error).__name__}


def _say(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def _bound(memory: int, seconds: int) -> None:
    signal.alarm(seconds)
    with suppress(ImportError, ValueError, OSError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as own:
        os.dup2(2, 1)  # what libraries print is no answer
        serve(sys.argv[1], sys.stdin.buffer, own)
