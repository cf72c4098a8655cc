"""Small pieces of English that sentences are made of."""

from __future__ import annotations

from collections.abc import Sequence


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; items must not be empty."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
