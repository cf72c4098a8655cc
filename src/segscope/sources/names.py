"""File names of annotation files as paths, and what is there instead of a file that is not."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


def by_file_name(names: Iterable[str | None], paths: Sequence[str]) -> list[list[int]]:
    """The places among `paths` that each name may mean, of any spelling of Unicode and slashes.

    A relative name means the paths that end with it; an absolute one, of another machine maybe, those that have most
    folders at the end in common with it, and the file's own name at least.
    """
    names = list(names)
    longest = max((len(_parts(name)) for name in names if name), default=0)
    ending: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, of in enumerate(map(_parts, paths)):
        for n in range(1, min(len(of), longest) + 1):
            ending[tuple(of[-n:])].append(place)
    return [_meant(name, ending) for name in names]


def _meant(name: str | None, ending: Mapping[tuple[str, ...], list[int]]) -> list[int]:
    wanted = tuple(_parts(name)) if name else ()
    if not name or not wanted:
        return []
    absolute = name.startswith(("/", "\\")) or name[1:2] == ":"
    ends = [wanted[n:] for n in (range(len(wanted)) if absolute else [0])]
    return next((ending[end] for end in ends if end in ending), [])


def _parts(name: str) -> list[str]:
    parts = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".")]


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
