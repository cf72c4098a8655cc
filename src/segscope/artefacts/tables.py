"""Tables that fit their schema, checked on write and on read: Parquet, and JSON where `dvc plots` may read them, too.

A part of such a file is none: Parquet ends with what it holds and sums up each page, JSON ends with a bracket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segscope.artefacts.files import atomic_folder, atomic_path, read_json
from segscope.artefacts.schemas import FINITE, NUMBERS, OPEN, ROWS, USER, USER_TYPES
from segscope.confined import confined
from segscope.errors import SegscopeError, reading
from segscope.limits import MAX_TABLE_BYTES, MAX_TABLE_SECONDS

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # wide ones where Japanese is written


def write_parquet(path: Path | str, frame: pd.DataFrame, schema: pa.Schema) -> None:
    """Write a table of exactly `schema`. Raises SegscopeError if the frame does not fit it."""
    with open_parquet(path, schema) as write:
        write(frame)


@contextmanager
def open_parquet(path: Path | str, schema: pa.Schema) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that appends rows of exactly `schema`; the file appears when all are written.

    The function raises SegscopeError if its frame does not fit.
    """
    path = Path(path)
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        yield lambda frame: writer.write_table(_to_table(path, frame, schema))


def write_rows(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of the schema of its file's name as JSON, a row a line; what is not finite becomes null.

    Raises SegscopeError if the frame does not fit.
    """
    rows = _to_table(path, frame.replace([np.inf, -np.inf, np.nan], None), _of_rows(path, frame.columns)).to_pylist()
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    with atomic_path(path) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n" if rows else "[]\n", encoding="utf-8")


def write_rows_folder(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as NAME.json of a folder, which takes the place of the one that there was."""
    with atomic_folder(folder) as inside:
        for name, table in tables.items():
            write_rows(inside / f"{name}.json", table)


def read_rows(path: Path, advice: str) -> pd.DataFrame:
    """Read what `write_rows` wrote. Raises SegscopeError, which ends with the advice, if it is anything else."""
    rows = read_json(path, list[dict[str, int | float | str | None]], advice)
    schema = _of_rows(path, [name for row in rows[:1] for name in row])
    if odd := {name for row in rows for name in row.keys() ^ set(schema.names)}:
        raise _of_another_schema(path, f"columns {', '.join(sorted(odd))}", advice)
    with reading(path, advice):
        return pa.Table.from_pylist(rows, schema=schema).to_pandas()


def _of_rows(path: Path, names: Iterable[str]) -> pa.Schema:
    """The schema of a file in JSON; names: of the columns, of which there may be more than it declares."""
    schema = ROWS[path.stem]
    if NUMBERS not in (schema.metadata or {}):
        return schema
    return pa.schema([*schema, *(pa.field(name, pa.float64()) for name in names if name not in schema.names)])


def write_csv(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as CSV, its texts as of `for_spreadsheet`; numbers stay as they are."""
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    table.assign(**{name: table[name].map(for_spreadsheet) for name in texts}).to_csv(path, index=False)


def for_spreadsheet(value: Any) -> Any:
    """A value of a CSV file that people open: a text that a spreadsheet would take for a formula begins with '."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _to_table(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    if set(frame.columns) != set(schema.names):
        odd = sorted(set(frame.columns) ^ set(schema.names))
        raise SegscopeError(f"{path}: columns do not fit the schema: {', '.join(odd)}")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except pa.ArrowException as error:
        raise SegscopeError(f"{path}: a value does not fit the schema: {error}") from error
    if column := _not_finite(table, schema):
        raise SegscopeError(f"{path}: values of {column} are not finite")
    return table.replace_schema_metadata(None)


def read_parquet(path: Path | str, schema: pa.Schema, advice: str = "make it anew") -> pd.DataFrame:
    """Read a table of exactly `schema`.

    Raises SegscopeError, which ends with the advice, if the file is missing, damaged or of another schema.
    """
    return read_table(path, schema, advice).to_pandas()


def read_table(path: Path | str, schema: pa.Schema, advice: str = "make it anew") -> pa.Table:
    """As `read_parquet`, as an Arrow table: compact, for what need not be in pandas."""
    return _read(path, path, schema, advice)


def parse_table(content: bytes, name: str, schema: pa.Schema) -> pa.Table:
    """As `read_table`, of the content of a file that is not in the working folder; `name` is what errors call it."""
    advice = "it is damaged, or was made by another version of segscope"
    with reading(name, advice):
        check_parquet(content)
    return _read(pa.BufferReader(content), name, schema, advice)


def _read(source: Path | str | pa.BufferReader, name: Path | str, schema: pa.Schema, advice: str) -> pa.Table:
    with reading(name, advice), pq.ParquetFile(source, page_checksum_verification=True) as file:
        known = file.schema_arrow
        if not _fits(known, schema):
            odd = sorted(set(schema.names) ^ set(known.names))
            raise _of_another_schema(name, f"columns {', '.join(odd)}" if odd else "a column's type", advice)
        table = file.read()
    if column := _not_finite(table, schema):
        raise SegscopeError(f"{name} holds values of {column} that are not finite; {advice}")
    return table


def _not_finite(table: pa.Table, schema: pa.Schema) -> str:
    """The first column with values that are not finite of those that must not have any; empty if there is none."""
    for field in schema:
        if FINITE in (field.metadata or {}):
            column = table[field.name].combine_chunks()
            values = column.flatten() if pa.types.is_nested(field.type) else column
            if column.null_count or not pc.all(pc.is_finite(values), min_count=0).as_py():
                return str(field.name)
    return ""


def _of_another_schema(name: Path | str, what: str, advice: str) -> SegscopeError:
    return SegscopeError(f"{name} has another schema ({what}); {advice}")


def _fits(known: pa.Schema, schema: pa.Schema) -> bool:
    """Whether a file's schema is as declared, but for the user's own columns where there may be some."""
    if (schema.metadata or {}).get(OPEN) is None:
        return bool(known.equals(schema))
    own = [field for field in known if field.name.startswith(USER)]
    declared = pa.schema([field for field in known if not field.name.startswith(USER)])
    return bool(declared.equals(schema)) and all(field.type in USER_TYPES for field in own)


def check_parquet(content: bytes) -> None:
    """Raise ValueError if a Parquet file cannot be read, or takes too much memory: it may be anybody's.

    A few bytes of one may stand for any number of equal values, whatever its footer says of them.
    """
    confined(read_through, content, memory=MAX_TABLE_BYTES + 2 * len(content), seconds=MAX_TABLE_SECONDS)


def read_through(content: bytes) -> None:
    """Read all of a Parquet file, as the process does that `check_parquet` asks."""
    pa.set_memory_pool(pa.system_memory_pool())  # others reserve more than they are asked for
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        file.read(use_threads=False).to_pandas(date_as_object=False)
