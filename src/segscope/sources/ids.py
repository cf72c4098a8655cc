"""Ids of any kind as numbers. Exporters write whole numbers, digits in quotes, 7.0, UUIDs, file names, null."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

ID_BITS = 46  # raised by a power of ten for each split, an id still is one that JavaScript and float64 hold exactly
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
    """The number of an id's text: itself where it is a whole number of ID_BITS, else the head of its SHA-256."""
    if re.fullmatch(r"-?[0-9]{1,15}", text) and abs(number := int(text)) < 2**ID_BITS:
        return number
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) >> (256 - ID_BITS)


def own_id(text: str) -> int | str:
    """An id as a file would have it: the number where its text is one."""
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else text


def id_numbers(values: Sequence[object]) -> pd.Series:
    """The numbers of ids, Int64: equal ids of whatever spelling get equal numbers; NA where a value is no id."""
    if all(type(value) is int and abs(value) < 2**ID_BITS for value in values):
        return pd.Series(np.array(values, np.int64), dtype="Int64")
    number = {text: id_number(text) for text in {id_text(value) for value in values} if text is not None}
    return pd.Series([number.get(id_text(value)) for value in values], dtype="Int64")  # type: ignore[arg-type]


def free_ids(taken: Sequence[int], n: int) -> np.ndarray:
    """n ids that are not taken, int64: those after all that are, or, where these would be too large, the first free."""
    first = max([0, *taken]) + 1
    if first + n <= 2**ID_BITS:
        return np.arange(first, first + n)
    return np.setdiff1d(np.arange(1, len(taken) + n + 1), np.asarray(taken))[:n]


def whole(value: object) -> int | None:
    """A whole number, however it is spelt; None if it is none."""
    text = id_text(value)
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,18}", text) else None
