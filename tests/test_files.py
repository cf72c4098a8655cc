from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from segscope.errors import SegscopeError
from segscope.files import atomic_path, sha256_of, write_json
from segscope.schemas import INDEX, read_parquet, write_parquet

ROW = {"image_id": 1, "source_id": 1, "split": "train", "path": "a.jpg", "width": 4, "height": 3, "sha256": "0"}


def write_half(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk full")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="disk full"):
        write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_is_replaced_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("first", "second"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "second"]


def test_json_has_plain_finite_values(tmp_path):
    write_json(tmp_path / "m.json", {"a": np.float32(0.5), "b": float("nan"), 3: [np.int64(2)], "c": {"d": None}})
    expected = '{\n  "a": 0.5,\n  "b": null,\n  "3": [\n    2\n  ],\n  "c": {\n    "d": null\n  }\n}\n'
    assert (tmp_path / "m.json").read_text() == expected


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_table_survives_its_file(tmp_path):
    frame = pd.DataFrame([ROW])
    write_parquet(tmp_path / "index.parquet", frame, INDEX)
    read = read_parquet(tmp_path / "index.parquet", INDEX)
    pd.testing.assert_frame_equal(read, frame, check_dtype=False)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"odd": 1} | ROW, "columns do not fit the schema: odd"),
        (ROW | {"width": "wide"}, "does not fit the schema"),
    ],
)
def test_a_table_that_does_not_fit_its_schema_is_not_written(tmp_path, row, message):
    with pytest.raises(SegscopeError, match=message):
        write_parquet(tmp_path / "index.parquet", pd.DataFrame([row]), INDEX)
    assert not list(tmp_path.iterdir())


def test_a_table_of_another_schema_is_not_read(tmp_path):
    write_parquet(tmp_path / "a.parquet", pd.DataFrame([{"a": 1}]), pa.schema({"a": pa.int64()}))
    with pytest.raises(SegscopeError, match="has another schema"):
        read_parquet(tmp_path / "a.parquet", INDEX)
    with pytest.raises(SegscopeError, match=r"cannot be read .* run `dvc repro`"):
        read_parquet(tmp_path / "b.parquet", INDEX)
