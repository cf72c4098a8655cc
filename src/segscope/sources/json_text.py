"""JSON as it really comes: in UTF-8, UTF-16 or UTF-32, with a byte order mark, with numbers that JSON does not know."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TypeVar

import msgspec

from segscope.errors import SegscopeError

_STRING_OR_ODD = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b')
Document = TypeVar("Document")


def utf8(text: bytes) -> bytes:
    """The text in UTF-8, without a byte order mark. Raises UnicodeDecodeError."""
    encoding = json.detect_encoding(text[:4])
    if encoding == "utf-8":
        return text  # the largest files are not copied
    return text.decode(encoding).encode()


def without_odd_numbers(text: bytes) -> tuple[bytes, int]:
    """The text with null for each NaN, Infinity and -Infinity outside strings, and how many there are."""
    odd = 0

    def plain(match: re.Match[bytes]) -> bytes:
        nonlocal odd
        if match[0].startswith(b'"'):
            return match[0]
        odd += 1
        return b"null"

    return _STRING_OR_ODD.sub(plain, text), odd


def decode(text: bytes, kind: type[Document], path: Path | str) -> tuple[Document, list[str]]:
    """Decode JSON, and what had to be read otherwise than it is written; `path` names it in errors.

    Raises SegscopeError if it is no JSON, msgspec.ValidationError if it is not of `kind`.
    """
    try:
        text = utf8(text)
        try:
            return msgspec.json.decode(text, type=kind), []
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            text, odd = without_odd_numbers(text)
            if not odd:
                raise
            said = f"{path}: {odd} NaN or Infinity, which JSON does not know, are read as null"
            return msgspec.json.decode(text, type=kind), [said]
    except RecursionError:
        raise SegscopeError(f"annotation file {path} is nested too deeply to be read") from None
    except UnicodeDecodeError as error:
        encoding = error.encoding.upper()
        raise SegscopeError(
            f"annotation file {path} is not text in {encoding} ({error.reason}: byte {error.object[error.start]:#x}); "
            "convert it: `iconv -f LATIN1 -t UTF-8 FILE`, where LATIN1 is the encoding that it is in"
        ) from error
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        cut = "truncated" in str(error)
        raise SegscopeError(
            f"annotation file {path} is not JSON{' (is it truncated?)' if cut else ''}: {error}"
        ) from error
