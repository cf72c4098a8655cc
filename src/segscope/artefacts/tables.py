"""Parquet files that fit their schema, checked on write and on read; folders of CSV files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from segscope.artefacts.files import atomic_folder, atomic_path
from segscope.artefacts.schemas import OPEN, USER, USER_TYPES
from segscope.confined import confined
from segscope.errors import SegscopeError, reason
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
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        yield lambda frame: writer.write_table(_to_table(path, frame, schema))


def write_csv_folder(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as NAME.csv of a folder, which takes the place of the one that there was."""
    with atomic_folder(folder) as inside:
        for name, table in tables.items():
            write_csv(inside / f"{name}.csv", table)


def write_csv(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as CSV, its texts as of `for_spreadsheet`; numbers stay as they are."""
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    table.assign(**{name: table[name].map(for_spreadsheet) for name in texts}).to_csv(path, index=False)


def read_csv(path: Path | str, *texts: str) -> pd.DataFrame:
    """Read a table of `write_csv`, whose columns are numbers but for `texts`: these are as they were, of any name."""
    table = pd.read_csv(path, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=[""])
    return table.assign(**{name: table[name].map(_from_spreadsheet) for name in texts})


def for_spreadsheet(value: Any) -> Any:
    """A value of a CSV file that people open: a text that a spreadsheet would take for a formula begins with '.

    So does one that begins with ' before what would be one, to be read as it was.
    """
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(FORMULAS) else value


def _from_spreadsheet(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULAS) else text


def _to_table(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    if set(frame.columns) != set(schema.names):
        odd = sorted(set(frame.columns) ^ set(schema.names))
        raise SegscopeError(f"{path}: columns do not fit the schema: {', '.join(odd)}")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except pa.ArrowException as error:
        raise SegscopeError(f"{path}: a value does not fit the schema: {error}") from error
    return table.replace_schema_metadata(None)


def read_parquet(path: Path | str, schema: pa.Schema) -> pd.DataFrame:
    """Read a table of exactly `schema`. Raises SegscopeError if the file is missing or of another schema."""
    return read_table(path, schema).to_pandas()


def read_table(path: Path | str, schema: pa.Schema) -> pa.Table:
    """As `read_parquet`, as an Arrow table: compact, for what need not be in pandas."""
    return _read(path, path, schema)


def parse_table(content: bytes, name: str, schema: pa.Schema) -> pa.Table:
    """As `read_table`, of the content of a file that is not in the working folder; `name` is what errors call it."""
    advice = "it was made by another version of segscope"
    try:
        check_parquet(content)
    except ValueError as error:
        raise SegscopeError(f"{name} cannot be read ({error}); run `dvc repro` to make it") from error
    return _read(pa.BufferReader(content), name, schema, advice)


def _read(
    source: Path | str | pa.BufferReader,
    name: Path | str,
    schema: pa.Schema,
    advice: str = "run `dvc repro --force` to make it anew",
) -> pa.Table:
    try:
        with pq.ParquetFile(source) as file:
            known = file.schema_arrow
            if not _fits(known, schema):
                missing = sorted(set(schema.names) ^ set(known.names))
                what = f"columns {', '.join(missing)}" if missing else "a column's type"
                raise SegscopeError(f"{name} has another schema ({what}); {advice}")
            return file.read()
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: of names that are no text
        raise SegscopeError(f"{name} cannot be read ({reason(error, name)}); run `dvc repro` to make it") from error


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
