"""Ids of any kind as numbers. Exporters write whole numbers, digits in quotes, 7.0, UUIDs, file names, null."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

HASH_DIGITS = 46  # bits: raised by a power of ten for each split, an id still is one that JavaScript holds exactly
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(\.0*)?")


def id_text(value: object) -> str | None:
    """An id as text, a whole number always as its digits; None if the value is none."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return str(int(whole[1])) if whole else text or None


def id_number(text: str) -> int:
    """The number of an id's text: itself where it is a whole number of 64 bits, else the head of its SHA-256."""
    if re.fullmatch(r"-?[0-9]{1,19}", text) and -(2**63) <= (number := int(text)) < 2**63:
        return number
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) >> (256 - HASH_DIGITS)


def own_id(text: str) -> int | str:
    """An id as a file would have it: the number where its text is one."""
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else text


def id_numbers(values: Sequence[object]) -> pd.Series:
    """The numbers of ids, Int64: equal ids of whatever spelling get equal numbers; NA where a value is no id."""
    if all(type(value) is int for value in values):
        try:
            return pd.Series(np.array(values, np.int64), dtype="Int64")
        except OverflowError:
            pass
    number = {text: id_number(text) for text in {id_text(value) for value in values} if text is not None}
    return pd.Series([number.get(id_text(value)) for value in values], dtype="Int64")  # type: ignore[arg-type]


def whole(value: object) -> int | None:
    """A whole number, however it is spelt; None if it is none."""
    text = id_text(value)
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,18}", text) else None
