import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segscope.artefacts.schemas import INDEX
from segscope.artefacts.tables import (
    FORMULAS,
    for_spreadsheet,
    open_parquet,
    parse_table,
    read_parquet,
    read_table,
    write_csv,
    write_parquet,
)
from segscope.errors import SegscopeError

ROW = {"image_id": 1, "source_id": "1", "split": "train", "path": "a.jpg", "width": 4, "height": 3, "sha256": "0"}
FRAME = pd.DataFrame([ROW])


def test_a_table_survives_its_file(tmp_path):
    write_parquet(tmp_path / "index.parquet", FRAME, INDEX)
    read = read_parquet(tmp_path / "index.parquet", INDEX)
    pd.testing.assert_frame_equal(read, FRAME, check_dtype=False)
    assert read_table(tmp_path / "index.parquet", INDEX).to_pandas().equals(read)


def test_a_files_content_is_read_as_the_file_is(tmp_path):
    path = tmp_path / "index.parquet"
    write_parquet(path, FRAME, INDEX)
    assert parse_table(path.read_bytes(), "it", INDEX).equals(read_table(path, INDEX))


def test_columns_are_written_in_the_schemas_order_without_an_index(tmp_path):
    shuffled = FRAME[FRAME.columns[::-1]].set_index(pd.Index([7]))
    write_parquet(tmp_path / "index.parquet", shuffled, INDEX)
    assert read_table(tmp_path / "index.parquet", INDEX).schema.equals(INDEX, check_metadata=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"odd": 1} | ROW, r"index\.parquet: columns do not fit the schema: odd"),
        ({key: value for key, value in ROW.items() if key != "path"}, "columns do not fit the schema: path"),
        (ROW | {"width": "wide"}, "a value does not fit the schema"),
        (ROW | {"width": 2**40}, "a value does not fit the schema"),
        (ROW | {"width": 1.5}, "a value does not fit the schema"),
    ],
)
def test_a_table_that_does_not_fit_its_schema_is_not_written(tmp_path, row, message):
    with pytest.raises(SegscopeError, match=message):
        write_parquet(tmp_path / "index.parquet", pd.DataFrame([row]), INDEX)
    assert not list(tmp_path.iterdir())


def write_parts(path: Path, *parts: pd.DataFrame) -> None:
    with open_parquet(path, INDEX) as write:
        for part in parts:
            write(part)


def test_a_table_written_in_parts_appears_when_all_are_written(tmp_path):
    path = tmp_path / "index.parquet"
    with open_parquet(path, INDEX) as write:
        for i in range(3):
            write(FRAME.assign(image_id=i))
            assert not path.exists()
    assert read_parquet(path, INDEX)["image_id"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_of_which_a_part_does_not_fit_leaves_the_old_one(tmp_path):
    path = tmp_path / "index.parquet"
    write_parts(path, FRAME)
    with pytest.raises(SegscopeError, match="do not fit the schema: odd"):
        write_parts(path, FRAME.assign(image_id=9), FRAME.assign(odd=1))
    assert read_parquet(path, INDEX)["image_id"].tolist() == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_of_another_schema_is_not_read(tmp_path):
    write_parquet(tmp_path / "a.parquet", pd.DataFrame([{"a": 1}]), pa.schema({"a": pa.int64()}))
    narrow = pa.schema([field.with_type(pa.int32()) if field.name == "image_id" else field for field in INDEX])
    write_parquet(tmp_path / "b.parquet", FRAME, narrow)
    with pytest.raises(SegscopeError, match=r"a\.parquet has another schema \(columns a, height, .*\); run it$"):
        read_parquet(tmp_path / "a.parquet", INDEX, "run it")
    with pytest.raises(SegscopeError, match=r"b\.parquet has another schema \(a column's type\)"):
        read_parquet(tmp_path / "b.parquet", INDEX)
    with pytest.raises(SegscopeError, match=r"^main's a has another schema \(columns"):
        parse_table((tmp_path / "a.parquet").read_bytes(), "main's a", INDEX)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"<html></html>", None])
def test_what_is_no_table_says_what_to_run(tmp_path, content):
    path = tmp_path / "index.parquet"
    if content is not None:
        path.write_bytes(content)
        with pytest.raises(SegscopeError, match=r"^it cannot be read \(.*\); it is damaged, or was made by another "):
            parse_table(content, "it", INDEX)
    with pytest.raises(SegscopeError, match=r"index\.parquet cannot be read \(.*\); run it$"):
        read_table(path, INDEX, "run it")


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(SegscopeError, match="cannot be read"):
        read_table(tmp_path, INDEX)


def test_a_small_file_of_very_many_values_is_not_read(tmp_path):
    """Equal values cost a file nothing."""
    schema = pa.schema({"a": pa.int64(), "b": pa.int64(), "c": pa.float32()})
    rows = 2**20
    part = pa.table({"a": np.zeros(rows, np.int64), "b": np.zeros(rows, np.int64), "c": np.zeros(rows, "f4")})
    with pq.ParquetWriter(tmp_path / "many.parquet", schema) as writer:
        for _ in range(110):
            writer.write_table(part)
    assert (tmp_path / "many.parquet").stat().st_size < 2**21
    with pytest.raises(SegscopeError, match=r"^it cannot be read \(it takes more than 2\.2 GB of memory\)"):
        parse_table((tmp_path / "many.parquet").read_bytes(), "it", schema)


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_no_text_is_a_formula(text):
    assert for_spreadsheet(text) == f"'{text}"


@given(st.lists(st.text(st.sampled_from("'=+-@,\"\n ＝aNnA1"), min_size=1), min_size=1), st.data())  # noqa: RUF001
def test_a_csv_holds_no_formula_and_its_numbers_as_they_are(tmp_path_factory, names, data):
    numbers = data.draw(st.lists(st.floats(), min_size=len(names), max_size=len(names)))
    write_csv(path := tmp_path_factory.getbasetemp() / "any.csv", pd.DataFrame({"name": names, "value": numbers}))
    with path.open(newline="") as file:
        cells = list(csv.reader(file))[1:]
    for own, (written, _) in zip(names, cells, strict=True):
        assert written == (f"'{own}" if own.startswith(FORMULAS) else own)
    assert not any(name.startswith(FORMULAS) for name, _ in cells)
    assert [float(value or "nan") for _, value in cells] == pytest.approx(numbers, nan_ok=True)


@pytest.mark.parametrize("value", ["a=1", "", "person", -1, 0.5, None])
def test_other_values_stay(value):
    assert for_spreadsheet(value) is value
