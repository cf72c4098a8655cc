"""What the values of masks and the class numbers of labels mean: a table of names beside them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segscope.errors import SegscopeError
from segscope.params import shown
from segscope.sources.ids import whole
from segscope.sources.label_files import read_text
from segscope.yaml_text import parse_yaml

# In this order, in the labels' folder and those above it, up to data.root.
STEMS = ("_classes", "classes", "labels", "label_names", "codes", "names")
ENDINGS = (".txt", ".csv", ".json")
IGNORED = ("ignore", "ignored", "void", "dontcare", "don't care")
BACKGROUND = ("background", "_background_", "unlabelled", "unlabeled")
_VALUE = ("pixel value", "pixel_value", "value", "id", "index", "class_id", "label_id", "category_id")
_NAME = ("name", "class", "label", "category", "class_name")
_HOLDERS = ("names", "classes", "categories", "labels")
_NUMBERED = re.compile(r"\s*(\d+)\s*[\s:;=,]\s*(\S.*)")


@dataclass(frozen=True)
class Legend:
    """path: of the table. rows: value, name and supercategory (text or None) of each class, values distinct."""

    path: Path
    rows: list[tuple[int, str, str | None]]

    def categories(self, others: Collection[str] = ()) -> list[dict[str, Any]]:
        """COCO's categories of it, without those of other names."""
        return [
            {"id": value, "name": name} | ({"supercategory": group} if group else {})
            for value, name, group in self.rows
            if name.strip().casefold() not in others
        ]

    def values_of(self, names: Collection[str]) -> set[int]:
        """The values that are called by one of the names."""
        return {value for value, name, _ in self.rows if name.strip().casefold() in names}


def find_legend(labels: Path, root: Path) -> Legend:
    """The table nearest to a folder of labels, in it or above it, up to `root`: a YOLO data set's, or one of names.

    Raises SegscopeError if there is none, or it cannot be read.
    """
    for folder in folders_above(labels, root):
        for path in candidates(folder):
            rows = list(_rows(path))
            if rows:
                return Legend(path, _distinct(rows, path))
    raise SegscopeError(
        f"what the values in {labels} mean is said nowhere: put a file classes.txt (a name a line, from value 0), "
        f"classes.csv (value,name) or classes.json ({{name: value}}) there or above it, up to {root}"
    )


def folders_above(folder: Path, root: Path) -> Iterator[Path]:
    """A folder and those above it, up to `root`."""
    yield folder
    while folder != root and folder.is_relative_to(root) and folder != folder.parent:
        folder = folder.parent
        yield folder


def candidates(folder: Path) -> list[Path]:
    """The files of a folder that may be a table of names."""
    named = [folder / f"{stem}{ending}" for stem in STEMS for ending in ENDINGS]
    return [*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml")), *(path for path in named if path.is_file())]


def _rows(path: Path) -> Iterator[tuple[int, str, str | None]]:
    try:
        text = read_text(path)
        if path.suffix in (".yaml", ".yml"):
            if "names" not in text:
                return  # of something else
            document = parse_yaml(text, f"the table of names {path}", scale=32)
            names = document.get("names") if isinstance(document, dict) else None
            yield from _of_json(names or [], path)
        elif path.suffix == ".json":
            yield from _of_json(json.loads(text), path)
        elif path.suffix == ".csv":
            yield from _of_csv(text, path)
        else:
            yield from _of_lines([line.strip() for line in text.splitlines()])
    except SegscopeError:
        raise
    except Exception as error:  # YAML's parser lets others through beside its own
        reason = str(error).partition("\n")[0]
        raise SegscopeError(f"the table of names {path} cannot be read: {reason}") from error


def _of_lines(lines: list[str]) -> Iterator[tuple[int, str, str | None]]:
    numbered = [_NUMBERED.fullmatch(line) for line in lines if line]
    if numbered and all(numbered):
        yield from ((int(match[1]), match[2], None) for match in numbered if match)
    else:
        yield from ((value, line, None) for value, line in enumerate(lines) if line)


def _of_csv(text: str, path: Path) -> Iterator[tuple[int, str, str | None]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    if not rows:
        return
    heads = [cell.casefold() for cell in rows[0]]
    value = next((heads.index(head) for head in _VALUE if head in heads), None)
    name = next((heads.index(head) for head in _NAME if head in heads), None)
    group = heads.index("supercategory") if "supercategory" in heads else None
    if value is None or name is None:
        numeric = [i for i, cell in enumerate(rows[0]) if whole(cell) is not None]
        if len(rows[0]) != 2 or len(numeric) != 1:
            raise SegscopeError(f"the table of names {path} has no columns value and name, but {', '.join(rows[0])}")
        value, name = numeric[0], 1 - numeric[0]
    else:
        rows = rows[1:]
    for number, row in enumerate(rows, start=1):
        found = whole(row[value]) if len(row) > max(value, name) else None
        if found is None:
            raise SegscopeError(f"the table of names {path} has no value and name in row {number}: {', '.join(row)}")
        yield found, row[name], row[group] if group is not None and group < len(row) else None


def _of_json(document: Any, path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Of {name: value}, {value: name}, a list of names or of objects; or of an object that holds one of these."""
    if isinstance(document, dict):
        held = next((document[key] for key in _HOLDERS if isinstance(document.get(key), dict | list)), None)
        if held is not None:
            yield from _of_json(held, path)
            return
        for key, item in document.items():
            _require_scalar(item, path)
            if (value := whole(key)) is not None:
                yield value, str(item), None
            elif (value := whole(item)) is not None:
                yield value, str(key), None
        return
    for number, item in enumerate(document if isinstance(document, list) else []):
        if not isinstance(item, dict):
            _require_scalar(item, path)
            yield number, str(item), None
            continue
        value = next((whole(item[key]) for key in _VALUE if key in item), None)
        name = next((item[key] for key in _NAME if key in item), None)
        if value is None or name is None:
            raise SegscopeError(f"the table of names {path} has no value and name in item {number}: {shown(item)}")
        for each in (name, item.get("supercategory")):
            _require_scalar(each, path)
        yield value, str(name), item.get("supercategory")


def _require_scalar(name: Any, path: Path) -> None:
    """Raise SegscopeError if a name is a list or a mapping; written out, aliases could make it endless."""
    if isinstance(name, dict | list | set):
        raise SegscopeError(f"the table of names {path} has a name that is none: {shown(name)}")


def _distinct(rows: list[tuple[int, str, str | None]], path: Path) -> list[tuple[int, str, str | None]]:
    named: dict[int, str] = {}
    for value, name, _ in rows:
        if named.setdefault(value, name) != name:
            raise SegscopeError(f"the table of names {path} has two names for {value}: {named[value]} and {name}")
    return [row for row in dict.fromkeys(rows) if row[0] >= 0]  # Cityscapes' -1 is of no pixel
