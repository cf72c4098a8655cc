"""The one exception that a user is meant to read."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

MOST_SAID = 300  # characters of another library's words
JOINERS = "\u200c\u200d"  # which Persian, Hindi and emoji need
_SURROUNDINGS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EFBIG,
    errno.EIO,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}


class SegscopeError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""


def reason(error: BaseException, path: object) -> str:
    """What an error says, in a line, for a message that names the file already."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = shorten(said.replace(f" {str(path)!r}", ""), MOST_SAID, placeholder=" …")
    return said or type(error).__name__


def made_by(stage: str) -> str:
    """What to do about a file of a stage that cannot be used."""
    return f"run `dvc repro {stage}` to make it anew"


@contextmanager
def reading(path: object, advice: str) -> Iterator[None]:
    """Within, whatever a file provokes in what reads it becomes a SegscopeError that names it, and says what to do."""
    try:
        yield
    except SegscopeError:
        raise
    except Exception as error:
        raise SegscopeError(f"{path} cannot be read ({reason(error, path)}); {advice}") from error


def surroundings(error: BaseException) -> str | None:
    """What to say of an error that is the machine's: no permission, no space, no memory. None of any other."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory ({error or 'none left'}); `segscope doctor` says how much it takes"
    if isinstance(error, OSError) and error.errno in _SURROUNDINGS:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; `segscope doctor` looks at permissions and at the disk's space"
    return None


def carried(error: BaseException) -> str | None:
    """What a SegscopeError said that is only text in another error: TensorFlow's, of what reads ahead for it."""
    found = re.search(r"\bSegscopeError: (.+)", str(error))
    return found[1] if found else None


def printable(text: str, keep: str = "\n") -> str:
    """The text with what would not be shown, or would steer a terminal, as escape sequences."""
    return "".join(c if c.isprintable() or c in JOINERS + keep else c.encode("unicode_escape").decode() for c in text)
