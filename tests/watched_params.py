"""Which params each stage reads, of a pipeline that DVC runs.

python -P watched_params.py FOLDER stages/STAGE.py: run it, and write what it read to FOLDER/STAGE.json.
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def watched_environment(folder: Path, path: str) -> str:
    """PATH with a `python` before all others that watches what it runs. path: PATH until now."""
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -P {__file__} {folder} "$@"\n')
    (folder / "python").chmod(0o755)
    return f"{folder}:{path}"


def params_read(folder: Path) -> dict[str, list[str]]:
    """By stage, as `data.image_size`."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def _watch(read: set[str]) -> None:
    """Note what of a run's params is read from when they have been loaded."""
    from segscope import params_file

    prefixes: dict[int, str] = {}
    kept = []  # else another object may come to have the id of one that is gone
    load, look_up = params_file.load_params, BaseModel.__getattribute__

    def enter(group: BaseModel, prefix: str) -> None:
        prefixes[id(group)] = prefix
        for name in type(group).model_fields:
            value = look_up(group, name)
            if isinstance(value, BaseModel):
                enter(value, f"{prefix}{name}.")

    def get(self: BaseModel, name: str) -> Any:
        value, prefix = look_up(self, name), prefixes.get(id(self))
        if prefix is not None and name in type(self).model_fields and not isinstance(value, BaseModel):
            read.add(prefix + name)
        if prefix is not None and name in ("model_dump", "model_copy", "__dict__"):
            read.update(prefix + field for field in type(self).model_fields)
        return value

    def load_and_watch(*arguments: Any) -> Any:
        found = load(*arguments)
        enter(found, "")
        kept.append(found)
        read.clear()
        return found

    BaseModel.__getattribute__ = get  # type: ignore[method-assign]
    params_file.load_params = load_and_watch


if __name__ == "__main__":
    folder, script, *_ = sys.argv[1:]
    read: set[str] = set()
    _watch(read)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        (Path(folder) / Path(script).with_suffix(".json").name).write_text(json.dumps(sorted(read)))
