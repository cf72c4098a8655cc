"""The user's own table of metadata: data.metadata."""

from __future__ import annotations

import re
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from segscope.artefacts.schemas import USER
from segscope.artefacts.tables import check_parquet
from segscope.errors import SegscopeError
from segscope.limits import MAX_TABLE_BYTES, MAX_USER_COLUMNS, MAX_USER_VALUES, read_within
from segscope.sources.categories import one_line, some
from segscope.sources.ids import id_text
from segscope.sources.names import by_file_name

KEYS = ("file_name", "image_id")
SEPARATORS = ",;\t"
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}
_EXIF_DATE = re.compile(r"^(\d{4}):(\d\d):(\d\d)\b")


def read_user_table(path: Path | str, index: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The user's columns of each image of the index, N rows in its order, and what a person should know.

    path: a CSV file (comma, semicolon or tab) or a Parquet file with a column `file_name`, of which an end of the path
    is enough, or `image_id`, the annotation file's own; `split` (train, val) tells apart what both splits have. index:
    N rows of index.parquet. The columns are called `user.NAME`, and are float64, int64, bool, datetime64 or text
    (object, None where nothing is known): numbers; true and false or yes and no; ISO dates, or EXIF's; all else.

    Raises SegscopeError if the file cannot be read, has no key, or says two things of one image.
    """
    where = f"data.metadata: {path}"
    table = _read(Path(path), where)
    table.columns = pd.Index([one_line(str(name)) for name in table.columns])
    if table.columns.has_duplicates or "" in table.columns:
        there = some([repr(name) for name in table])
        raise SegscopeError(
            f"{where}: a column has no name, or two have one: {there}; name each, and write tables of pandas without "
            "their rows' numbers: `to_csv(index=False)`"
        )
    key = next((name for name in KEYS if name in table), None)
    if key is None:
        raise SegscopeError(
            f"{where}: it has no column {' or '.join(KEYS)} to find the images by; it has {some(list(table.columns))}"
        )
    own = [name for name in table.columns if name not in (*KEYS, "split")]
    if len(own) > MAX_USER_COLUMNS:
        raise SegscopeError(f"{where}: it has {len(own)} columns, and at most {MAX_USER_COLUMNS} are read")
    if not own:
        return pd.DataFrame(index=range(len(index))), []
    rows = _rows_of(table, key, index, where)
    values = pd.DataFrame({f"{USER}{name}": _typed(table[name]) for name in own})
    values = values.take(rows[rows >= 0]).set_axis(np.flatnonzero(rows >= 0)).reindex(range(len(index)))
    unnamed, unused = int((rows < 0).sum()), len(table) - len(np.unique(rows[rows >= 0]))
    empty = [name.removeprefix(USER) for name in values if values[name].isna().all()]
    return pd.DataFrame({name: _known(values[name]) for name in values if not values[name].isna().all()}), [
        *([f"{path}: {unnamed} of {len(index)} images have no row"] if unnamed else []),
        *([f"{path}: {unused} of {len(table)} rows are of no image of this run"] if unused else []),
        *([f"{path}: nothing is known of {some(empty)}"] if empty else []),
    ]


def _read(path: Path, where: str) -> pd.DataFrame:
    try:
        content = read_within(path, MAX_TABLE_BYTES)
    except OSError as error:
        raise SegscopeError(f"{where} cannot be read: {error.strerror}") from error
    try:
        if content[:4] == b"PAR1":
            return _parquet(content, where)
        if len(content) > MAX_TABLE_BYTES // 8:
            raise SegscopeError(f"{where} is too large for a table of text: write it as Parquet")
        head = content[:4096].decode("utf-8-sig", "replace").splitlines()[:1]
        separator = max(SEPARATORS, key=lambda each: head[0].count(each)) if head else ","
        _require_bounded(
            content.count(b"\n") + content.count(b"\r"), head[0].count(separator) + 1 if head else 0, where
        )
        options = {"sep": separator, "dtype": str, "encoding": "utf-8-sig", "skipinitialspace": True}
        # As a row of values, for pandas gives each of two columns of one name another.
        names = pd.read_csv(BytesIO(content), header=None, nrows=1, keep_default_na=False, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # A separator at the end of each row would else make names of the first column.
            table = pd.read_csv(BytesIO(content), index_col=False, **options)
        return table.set_axis(names.iloc[0].tolist(), axis=1)
    except pd.errors.EmptyDataError as error:
        raise SegscopeError(f"{where} is empty: it needs a line of column names at least") from error
    except pd.errors.ParserWarning as error:
        raise SegscopeError(f"{where}: its rows have more values than the first line has names") from error
    except (ValueError, pd.errors.ParserError, pa.ArrowException, OSError) as error:
        raise SegscopeError(f"{where} is neither CSV in UTF-8 nor Parquet: {error}") from error


def _parquet(content: bytes, where: str) -> pd.DataFrame:
    check_parquet(content)
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        nested = [field.name for field in file.schema_arrow if pa.types.is_nested(field.type)]
        if nested:
            raise SegscopeError(f"{where}: {some(nested)} hold lists or structures: a column has one value an image")
        _require_bounded(file.metadata.num_rows, file.metadata.num_columns, where)
        table = file.read().to_pandas(date_as_object=False)
    named = [name for name in table.index.names if name is not None and name not in table]
    return table.reset_index(named).reset_index(drop=True)  # what pandas had as names of the rows is a column, too


def _require_bounded(rows: int, columns: int, where: str) -> None:
    if rows * columns > MAX_USER_VALUES:
        raise SegscopeError(
            f"{where}: it has {rows} rows of {columns} columns, more than {MAX_USER_VALUES} values: leave out those of "
            "no image of this run (SEGSCOPE_MAX_USER_VALUES is the bound)"
        )


def _rows_of(table: pd.DataFrame, key: str, index: pd.DataFrame, where: str) -> np.ndarray:
    """The row of the table of each image, int[N]; -1 of none."""
    if key == "file_name":
        names = [value if isinstance(value, str) else None for value in table[key]]
        of_row = by_file_name(names, index["path"].tolist())
    else:
        ids: dict[str, list[int]] = {}
        for n, own in enumerate(index["source_id"]):
            ids.setdefault(own, []).append(n)
        of_row = [ids.get(id_text(value) or "", []) for value in table[key]]
    splits = index["split"].to_numpy()
    wanted = table["split"].tolist() if "split" in table else [None] * len(table)
    rows = np.full(len(index), -1)
    again: list[tuple[int, int]] = []  # rows of one image, each with the one before
    for row, (found, split) in enumerate(zip(of_row, wanted, strict=True)):
        chosen = [n for n in found if pd.isna(split) or splits[n] == split]
        if len(chosen) > 1:
            raise SegscopeError(
                f"{where}: {key} {table[key].iloc[row]} is that of {len(chosen)} images; "
                + ("a column split (train or val) tells them apart" if key == "image_id" else "write more of its path")
            )
        for n in chosen:
            if rows[n] >= 0:
                again.append((row, rows[n]))
            rows[n] = row
    a, b = (table.take([pair[k] for pair in again]).reset_index(drop=True) for k in (0, 1))
    differ = ~((a == b) | (a.isna() & b.isna())).all(axis=1)
    if differ.any():
        raise SegscopeError(f"{where}: two rows say different things of {key} {a[key][differ.idxmax()]}")
    return rows


def _typed(column: pd.Series) -> pd.Series:
    """A column as numbers, truth values, dates or text; what is missing is NaN, None or NaT."""
    if not (pd.api.types.is_object_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype)):
        if pd.api.types.is_datetime64_any_dtype(column):
            return _utc(column)
        return column
    column = column.astype(object)
    known = column.dropna()
    if known.map(lambda value: isinstance(value, bool)).all():
        return column
    text = known.astype(str).str.strip()
    if text.str.lower().isin(_TRUTH).all():
        return text.str.lower().map(_TRUTH).astype(object).reindex(column.index)
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().all():
        return numbers.reindex(column.index)
    dates = pd.to_datetime(
        text.str.replace(_EXIF_DATE, r"\1-\2-\3", regex=True), format="ISO8601", errors="coerce", utc=True
    )
    if dates.notna().all():
        return _utc(dates).reindex(column.index)
    return text.map(one_line).astype(object).reindex(column.index)


def _utc(dates: pd.Series) -> pd.Series:
    zoned = dates.dt.tz_convert("UTC").dt.tz_localize(None) if dates.dt.tz is not None else dates
    return zoned.astype("datetime64[s]")


def _known(column: pd.Series) -> pd.Series:
    """The column in the type that the values of all images allow: truth values with gaps are text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    known = column.dropna()
    if known.map(lambda value: isinstance(value, bool | np.bool_)).all():
        if len(known) == len(column):
            return column.astype(bool)
        return known.map({True: "yes", False: "no"}).reindex(column.index).astype(object).where(column.notna(), None)
    if pd.api.types.is_numeric_dtype(column):
        values = column.astype(float).where(lambda each: np.isfinite(each))
        whole = values.notna().all() and (values % 1 == 0).all() and values.abs().max() < 2**53
        return values.astype("int64") if whole else values
    return column.astype(object).where(column.notna(), None)
