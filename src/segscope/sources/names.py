"""File names of annotation files as paths, and what is there instead of a file that is not."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote


def path_below(root: Path, folder: Path, file_name: str) -> Path | None:
    """The path that a file name means: relative to `folder`, or absolute; None unless it lies below `root`.

    Backslashes part folders, as Windows writes them, unless there is a file whose name holds them.
    """
    if not file_name or any(unicodedata.category(c) == "Cc" for c in file_name):
        return None
    if "\\" in file_name and not os.path.lexists(folder / file_name):
        file_name = file_name.replace("\\", "/")
    if file_name.endswith("/"):
        return None
    # Without following links: a folder may be one, and lie elsewhere.
    path, top = Path(os.path.abspath(folder / file_name)), Path(os.path.abspath(root))
    return root / path.relative_to(top) if path != top and path.is_relative_to(top) else None


def near_misses(paths: Iterable[str], root: Path) -> dict[str, list[str]]:
    """Of files that are not there: what is there, below `root`, that they may be meant for, in a list of a sentence."""
    wanted = {path: _key(Path(path).name) for path in paths}
    found: dict[str, list[Path]] = {key: [] for key in wanted.values()}
    for folder in {str(root), *(str(Path(path).parent) for path in wanted)}:  # of which some may be links
        for where, _, names in os.walk(folder):
            for name in names:
                if (key := _key(name)) in found:
                    found[key].append(Path(where, name))
    return {path: [_said(Path(path), found[key])] for path, key in wanted.items() if found[key]}


def _said(path: Path, found: list[Path]) -> str:
    there = min(found, key=lambda other: (other.parent != path.parent, other.name != path.name, other))
    if there.parent != path.parent:
        return f"there is {there}"
    for same, how in (
        (_composed, "in another form of Unicode"),
        (lambda name: _composed(unquote(name)), "percent-encoded"),
        (lambda name: _composed(unquote(name)).casefold(), "in other case"),
    ):
        if same(path.name) == same(there.name):
            return f"there is {there.name!r}, {how}"
    return f"there is {there.name!r}, with another ending"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


def _key(name: str) -> str:
    """What names that differ in case, Unicode's form, percent-encoding or ending have in common."""
    name = _composed(unquote(name)).casefold().replace("\\", "/")
    stem, ending = os.path.splitext(name.rsplit("/", 1)[-1])
    return stem if ending[1:].isalnum() and len(ending) <= 5 else stem + ending
