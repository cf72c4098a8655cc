"""Writing files so that a killed process leaves none half written."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from segscope.errors import SegscopeError, reading

MARKER = ".segscope"  # a file in a folder of segscope's own, which says what may become of it
Document = TypeVar("Document")
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.partial-(?P<process>[0-9a-f]{6})[0-9a-f]{4}(?P<endings>(\..*)?)", re.DOTALL)
REPLACED = b"segscope made this folder and replaces it as a whole: keep nothing of yours in it.\n"
WRITTEN = b"segscope writes files into this folder, over those of its own names.\n"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write a file to; on success it replaces the file `path`.

    On an error the temporary is removed and `path` stays as it was. A killed process leaves the temporary, and the
    next one to write `path` removes it, but none of a process that is still at work. Nobody can know its name before,
    nor has a file that is called so. Raises SegscopeError if `path` is a folder or cannot be written.
    """
    path = Path(path)
    require_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in _left_over(path.parent.absolute()).get(path.name, []):
        left_over.unlink(missing_ok=True)
    # With all its endings: some writers choose the format by them.
    own = f"{os.getpid():06x}{secrets.token_hex(2)}{''.join(path.suffixes)}"
    temporary = path.with_name(f".{path.name}.partial-{own}")
    temporary.open("xb").close()
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@lru_cache(maxsize=256)
def _left_over(folder: Path) -> dict[str, list[Path]]:
    """What killed processes left in a folder, by the name of the file that it was to become.

    Looked for once by a process: a folder of many thousand images takes milliseconds to list.
    """
    found: dict[str, list[Path]] = {}
    for file in folder.glob(".*.partial-*"):
        parts = _TEMPORARY.fullmatch(file.name)
        if not parts or "".join(Path(parts["name"]).suffixes) != parts["endings"] or _runs(int(parts["process"], 16)):
            continue
        if file.is_file() and not file.is_symlink():
            found.setdefault(parts["name"], []).append(file)
    return found


def _runs(process: int) -> bool:
    """Whether a process of this id runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a new folder beside `path` to fill; on success it takes the place of `path`.

    A folder that is there already is replaced only if this function made it, which a file named `.segscope` in it
    says, and is removed only when the new one is in place. Raises SegscopeError for any other folder or file, for the
    working folder and for its parents.
    """
    path = Path(path)
    refuse_foreign(path)
    new, old = (path.with_name(f".{path.name}.{state}") for state in ("partial", "replaced"))
    refuse_foreign(new)
    refuse_foreign(old)
    if old.exists() and not path.exists():  # who swapped them was killed
        os.replace(old, path)
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    new.mkdir(parents=True)
    (new / MARKER).write_bytes(REPLACED)
    try:
        yield new
        _swap(new, path, old)
    finally:
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)


def _swap(new: Path, path: Path, old: Path) -> None:
    """Move `path`, if there is one, to `old` and `new` to `path`, or leave all as it was."""
    replaced = path.exists()
    if replaced:
        os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        if replaced:
            os.replace(old, path)
        raise


def require_writable(path: Path) -> None:
    """Raise SegscopeError if nothing can be made at this path, before any work is done for it."""
    parent = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        why = "may not be written to" if parent.is_dir() else "is no folder"
        raise SegscopeError(f"{path} cannot be written: {parent} {why}")


def require_file(path: Path) -> None:
    """Raise SegscopeError if no file can be written at this path, before any work is done for it."""
    require_writable(path)
    if path.is_dir() and not path.is_symlink():
        raise SegscopeError(f"{path} is a folder, and is not replaced by a file: remove it yourself")


def refuse_foreign(folder: Path, marked: bytes = REPLACED) -> None:
    """Raise SegscopeError if there is anything at this path but a folder marked so: one that `atomic_folder` made."""
    require_writable(folder)
    if Path.cwd().is_relative_to(folder.resolve()):
        raise SegscopeError(f"{folder} is the working folder or holds it: name another folder to write to")
    if folder.is_symlink() or (folder.exists() and _mark(folder) != marked):
        kind = "a folder" if folder.is_dir() else "a file"
        raise SegscopeError(
            f"{folder} is {kind} that segscope did not make, and is not replaced: name another, or remove it yourself"
        )


def _mark(folder: Path) -> bytes | None:
    file = folder / MARKER
    return file.read_bytes() if file.is_file() else None


def output_folder(path: Path) -> Path:
    """The folder, made if need be, to write files into whose names are ours to choose; it is never replaced as a whole.

    Raises SegscopeError if it holds anything and is none that this function marked.
    """
    if not path.is_dir() or any(path.iterdir()):
        refuse_foreign(path, WRITTEN)
    path.mkdir(parents=True, exist_ok=True)
    (path / MARKER).write_bytes(WRITTEN)
    return path


def megabytes(folder: Path) -> float:
    """The size of all files below a folder, in 10⁶ bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def refuse_existing(path: Path, overwrite: bool, endings: Sequence[str]) -> None:
    """Raise SegscopeError if `path` is a folder, cannot be written, or is a file that is not to be overwritten.

    It is to be if `overwrite` is set and its name ends as those of its kind do: others are no earlier result.
    """
    require_writable(path)
    if path.is_dir():
        raise SegscopeError(f"{path} is a folder: name a file to write")
    if os.path.lexists(path) and not overwrite:
        raise SegscopeError(f"{path} exists already: name another file, or add --overwrite")
    if path.exists() and path.suffix.lower() not in endings:
        raise SegscopeError(f"{path} exists already, and is no {' or '.join(endings)}: name another file")


def write_json(path: Path | str, document: Mapping[str, Any]) -> None:
    """Write JSON, indented, keys in the order given; a value that is not finite becomes null."""
    with atomic_path(path) as temporary:
        text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path | str, kind: type[Document], advice: str) -> Document:
    """What a JSON file holds, of `kind` as msgspec takes it.

    Raises SegscopeError, which ends with the advice, if it cannot be read or holds something else.
    """
    import msgspec  # only here: the command line starts without packages

    with reading(path, advice):
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def sha256_of(path: Path | str) -> str:
    """The file's SHA-256, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
