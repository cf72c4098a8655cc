"""Parquet files that fit their schema, checked on write and on read; folders of CSV files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segscope.artefacts.files import atomic_folder, atomic_path
from segscope.artefacts.schemas import OPEN, USER, USER_TYPES
from segscope.errors import SegscopeError, reason
from segscope.limits import MAX_TABLE_BYTES

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # wide ones where Japanese is written
VALUE_BYTES = {"INT64": 8, "DOUBLE": 8, "BOOLEAN": 1 / 8}  # else 4, a string's at least


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
            table.to_csv(inside / f"{name}.csv", index=False)


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
    return table.replace_schema_metadata(None)


def read_parquet(path: Path | str, schema: pa.Schema) -> pd.DataFrame:
    """Read a table of exactly `schema`. Raises SegscopeError if the file is missing or of another schema."""
    return read_table(path, schema).to_pandas()


def read_table(path: Path | str, schema: pa.Schema) -> pa.Table:
    """As `read_parquet`, as an Arrow table: compact, for what need not be in pandas."""
    return _read(path, path, schema)


def parse_table(content: bytes, name: str, schema: pa.Schema) -> pa.Table:
    """As `read_table`, of the content of a file that is not in the working folder; `name` is what errors call it."""
    return _read(pa.BufferReader(content), name, schema, "it was made by another version of segscope")


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
            return read_all(file, source, str(name))
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: of names that are no text
        raise SegscopeError(f"{name} cannot be read ({reason(error, name)}); run `dvc repro` to make it") from error


def _fits(known: pa.Schema, schema: pa.Schema) -> bool:
    """Whether a file's schema is as declared, but for the user's own columns where there may be some."""
    if (schema.metadata or {}).get(OPEN) is None:
        return bool(known.equals(schema))
    own = [field for field in known if field.name.startswith(USER)]
    declared = pa.schema([field for field in known if not field.name.startswith(USER)])
    return bool(declared.equals(schema)) and all(field.type in USER_TYPES for field in own)


def read_all(file: pq.ParquetFile, source: Path | str | pa.NativeFile, name: str) -> pa.Table:
    """The table of a file that was opened from `source`; `name` is what errors call it.

    Raises SegscopeError if it would take too much memory: a few bytes of a file may stand for any number of equal
    values. Of what is read from memory, and so may be anybody's, each text is read once first.
    """
    size = _least_bytes(file.metadata)
    if size <= MAX_TABLE_BYTES and isinstance(source, pa.NativeFile):
        texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
        with pq.ParquetFile(source, read_dictionary=texts) as packed:
            table = packed.read()
        size = sum(_written_out(chunk) for text in texts for chunk in table[text].chunks)
        if size <= MAX_TABLE_BYTES:
            return table.cast(file.schema_arrow)
    if size > MAX_TABLE_BYTES:
        raise SegscopeError(f"{name} would take {size / 1e9:.1f} GB of memory or more: no run makes such a table")
    return file.read()


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _written_out(chunk: pa.DictionaryArray) -> int:
    """Bytes of a column's texts, each as often as it is there."""
    return pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0


def _least_bytes(metadata: pq.FileMetaData) -> int:
    """Bytes of the table in memory, at least."""
    groups = list(map(metadata.row_group, range(metadata.num_row_groups)))
    columns = (group.column(i) for group in groups for i in range(group.num_columns))
    values = sum(column.num_values * VALUE_BYTES.get(column.physical_type, 4) for column in columns)
    return max(int(values), sum(group.total_byte_size for group in groups))
