"""Faults of disks, seeded: damaged files, and what a stage makes of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import yaml
from project import ROOT

from segscope.artefacts import records
from segscope.artefacts.files import sha256_of

Damage = Callable[[Path, Random], None]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARTS = ("data", "artifacts", "metrics", "reports")  # of a project, where the stages' outputs lie
# What is read of the outputs that are folders. A photograph that cannot be read is left out, and listed.
READ = {
    "data/sample": (),
    "data/weights": ("encoder.json", "encoder.npz"),
    "artifacts/dataset": ("train-00000-of-00001.tfrecord", "val-00000-of-00001.tfrecord"),
    "artifacts/folds": (),
    "artifacts/repeats": ("seeds.json",),
    "artifacts/training": ("history.json",),
    "artifacts/plots": ("confusion.json", "categories.json", "reliability.json"),
}


def inputs(name: str) -> list[str]:
    """The files of earlier stages that a stage reads, by dvc.yaml; with the params as they are."""
    paths = [path for path in STAGES[name]["deps"] if path.startswith(("data/", "artifacts/"))]
    if name == "embed":
        paths.remove("data/index.parquet")  # is read with embed.align_to
    return [file for path in paths for file in ([f"{path}/{each}" for each in READ[path]] if path in READ else [path])]


def makers() -> dict[str, str]:
    """The stage that makes each output."""
    return {out: name for name, each in STAGES.items() for out in each["outs"]}


def maker(path: str) -> str:
    """The stage that makes a file."""
    return next(name for out, name in makers().items() if path == out or path.startswith(f"{out}/"))


def cut(path: Path, random: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(1, len(content) - 1)])


def cut_at_a_line(path: Path, random: Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: random.randrange(len(lines) or 1)]))


def garbage(path: Path, random: Random) -> None:
    path.write_bytes(random.randbytes(path.stat().st_size))


def empty(path: Path, random: Random) -> None:
    path.write_bytes(b"")


def missing(path: Path, random: Random) -> None:
    path.unlink()


def folder(path: Path, random: Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "a.txt").write_text("a")


def of_another_kind(path: Path, random: Random) -> None:
    """A sound file of its format that holds something else."""
    match path.suffix:
        case ".parquet":
            pd.DataFrame({"image_id": [1], "a": ["b"]}).to_parquet(path)
        case ".npz":
            np.savez(path, a=np.zeros(3))
        case ".json":
            path.write_text(
                random.choice(["3", "null", '{"a": [1]}', '{"val": {"car": 3}, "train": []}', '[{"a": 1}]'])
            )
        case ".md":
            path.write_text("# A card\n\n---\na: 1\n---\n")
        case ".keras":
            small_network().save(path)
        case ".tfrecord":
            with path.open("wb") as file:
                records.RecordWriter(file).write(records.example({"image_id": 1, "a": b"b"}))
        case _:
            path.write_text("something else")


@cache
def small_network() -> Any:
    import keras

    return keras.Sequential([keras.layers.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)])


def with_text_for_numbers(path: Path, random: Random) -> None:
    """The numbers become text: those of a document, of an archive, of a table's column."""
    match path.suffix:
        case ".parquet":
            table = pd.read_parquet(path)
            numbers = table.select_dtypes("number").columns
            table.astype(dict.fromkeys(numbers[:1], str)).assign(**{} if len(numbers) else {"a": 1}).to_parquet(path)
        case ".npz":
            with np.load(path) as arrays:
                np.savez(path, **{name: array.astype(str) for name, array in arrays.items()})
        case ".json":
            path.write_text(json.dumps(_as_text(json.loads(path.read_text()))))
        case _:
            of_another_kind(path, random)


def _as_text(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _as_text(value) for key, value in document.items()} | {"kind": 3}
    if isinstance(document, list):
        return [_as_text(value) for value in document]
    return "many" if isinstance(document, int | float) else document


DAMAGES: dict[str, Damage] = {
    each.__name__: each
    for each in (cut, cut_at_a_line, garbage, empty, missing, folder, of_another_kind, with_text_for_numbers)
}


def harmless(stage: str, path: str, damage: str) -> bool:
    """Whether a stage need not see a damage: the report knows the model by its checksum, and reads its card's head."""
    other = damage in ("of_another_kind", "with_text_for_numbers")
    return stage == "report" and (path, other) in (("artifacts/model.keras", True), ("artifacts/model.md", False))


def named(path: str, damage: str) -> tuple[str, str]:
    """What an error must name: the file, or of a missing one among many its folder; and the command."""
    missed = damage == "missing" and path.endswith(".tfrecord")
    return str(Path(path).parent) if missed else path, f"dvc repro {maker(path)}"


@contextmanager
def damaged(path: Path, damage: Damage, random: Random) -> Iterator[None]:
    """Within, the file is damaged; then it is again as it was."""
    content = path.read_bytes()
    try:
        damage(path, random)
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(content)


def made(project: Path) -> dict[str, str]:
    """Checksums of all files that stages made."""
    files = (file for part in PARTS for file in (project / part).rglob("*") if file.is_file())
    return {str(file.relative_to(project)): sha256_of(file) for file in files if "cache" not in file.parts}


def fault(said: str, *named: str) -> str | None:
    """What is wrong with what a stage said that ended with an error, if anything; named: what the error must name."""
    *before, last = said.rstrip("\n").split("\n")
    if not last.startswith("error: "):
        return f"it does not end with an error: {last}"
    if any(re.match("error|Traceback", line) for line in before):
        return f"it says more than one thing: {said}"
    lacking = [each for each in named if each not in last]
    return f"it does not say {lacking}: {last}" if lacking else None
