import contextlib
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segscope.artefacts.schemas import OPEN, with_user_columns
from segscope.artefacts.tables import open_parquet, read_parquet
from segscope.errors import SegscopeError
from segscope.sources.names import by_file_name
from segscope.sources.user_table import read_user_table

INDEX = pd.DataFrame(
    {
        "image_id": [1, 2, 1001, 4],
        "source_id": ["1", "2", "1", "cat 4"],
        "split": ["train", "train", "val", "val"],
        "path": ["data/train/a.jpg", "data/train/b.jpg", "data/val/a.jpg", "data/val/ü.jpg"],
    }
)


@pytest.fixture
def read(tmp_path):
    def reader(text: str | bytes, index: pd.DataFrame = INDEX):
        (tmp_path / "table").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_user_table(tmp_path / "table", index)

    return reader


def test_a_table_of_names_alone_says_nothing(read):
    table, notes = read("file_name\n")
    assert (table.shape, notes) == ((4, 0), [])


@pytest.mark.parametrize("text", ["file_name,site,site\na.jpg,1,2\n", "file_name,,site\na.jpg,1,2\n"])
def test_two_columns_of_a_name_and_one_of_none_are_an_error(read, text):
    with pytest.raises(SegscopeError, match="a column has no name, or two have one"):
        read(text)


def test_a_column_may_be_called_as_what_is_unknown(read):
    assert read("file_name,NA,None\nb.jpg,1,x\n")[0].columns.tolist() == ["user.NA", "user.None"]


def test_the_numbers_of_rows_that_pandas_writes_are_told(read):
    with pytest.raises(SegscopeError, match=r"two have one: '', 'file_name', 'site'; .*to_csv\(index=False\)"):
        read(pd.DataFrame({"file_name": ["a.jpg"], "site": ["north"]}).to_csv())


def test_where_split_is_blank_the_name_alone_finds_the_image(read):
    table, notes = read("file_name,split,site\nb.jpg,,north\na.jpg,val,south\n")
    assert table["user.site"].tolist() == [None, "north", "south", None]
    assert notes == [f"{notes[0].partition(':')[0]}: 2 of 4 images have no row"]


def test_a_table_of_pandas_may_repeat_the_numbers_of_its_rows_or_have_names_in_their_place(read):
    parts = [
        pd.DataFrame({"file_name": [name], "site": [site]}) for name, site in (("b.jpg", "north"), ("ü.jpg", None))
    ]
    joined = pd.concat(parts)
    for table in (joined, joined.set_index("file_name"), joined.set_index("file_name", drop=False)):
        content = io.BytesIO()
        table.to_parquet(content)
        found, _ = read(content.getvalue())
        assert found["user.site"].tolist() == [None, "north", None, None]


def test_columns_are_numbers_truth_values_dates_and_names(read):
    table, notes = read(
        "file_name,altitude,count,flash,taken,weather,gap\n"
        "train/a.jpg,12.5,3,yes,2021-03-05,sun,true\n"
        "b.jpg,n/a,4,no,2021:03:05 12:00:00, rain ,\n"
        "val\\a.jpg,-1e3,5,no,2022-01-01T00:00:00+02:00,,false\n"
        "./val/ü.jpg,7,6,yes,,sun,true\n"
    )
    assert notes == []
    assert {name: str(table[name].dtype.kind) for name in table} == {
        "user.altitude": "f",
        "user.count": "i",
        "user.flash": "b",
        "user.taken": "M",
        "user.weather": "O",
        "user.gap": "O",
    }
    assert table["user.altitude"].tolist()[2:] == [-1000.0, 7.0]
    assert np.isnan(table["user.altitude"][1])
    assert table["user.flash"].tolist() == [True, False, False, True]
    assert table["user.taken"].tolist()[:3] == [
        pd.Timestamp(2021, 3, 5), pd.Timestamp(2021, 3, 5, 12), pd.Timestamp(2021, 12, 31, 22),
    ]  # fmt: skip
    assert pd.isna(table["user.taken"][3])
    assert table["user.weather"].tolist() == ["sun", "rain", None, "sun"]
    assert table["user.gap"].tolist() == ["yes", None, "no", "yes"]  # a truth value that is not known of all


def test_columns_of_each_kind_come_back_from_the_artefact_as_they_were(read, tmp_path):
    table, _ = read("file_name,altitude,count,flash,taken,weather\ntrain/a.jpg,12.5,3,yes,2021-03-05T10:30:01,sun\n")
    table = table[:1].assign(image_id=1)
    schema = pa.schema({"image_id": pa.int64()}, metadata={OPEN: b""})
    with open_parquet(tmp_path / "samples.parquet", with_user_columns(schema, table.drop(columns="image_id"))) as write:
        write(table)
    back = read_parquet(tmp_path / "samples.parquet", schema)
    pd.testing.assert_frame_equal(back, table[back.columns], check_dtype=False)


def test_rows_without_image_and_images_without_row_are_counted(read):
    table, notes = read("image_id;season\n0002;summer\ncat 4;winter\n77;spring\n")
    assert table["user.season"].tolist() == [None, "summer", None, "winter"]
    assert [note.split(": ")[1] for note in notes] == [
        "2 of 4 images have no row",
        "1 of 3 rows are of no image of this run",
    ]


def test_an_id_of_both_splits_is_told_apart_by_its_split(read):
    table, _ = read("image_id\tsplit\tx\n1\ttrain\t10\n1\tval\t20\n")
    assert table["user.x"].tolist()[:3:2] == [10.0, 20.0]
    with pytest.raises(SegscopeError, match=r"image_id 1 is that of 2 images; a column split"):
        read("image_id,x\n1,10\n")


@pytest.mark.parametrize(
    "rows", [b"", "file_name,x\ntrain/a.jpg,1\na.jpg,2\n", "file_name,x\ntrain/a.jpg,1\ntrain/a.jpg,2\n"]
)
def test_what_says_two_things_or_nothing_is_an_error(read, rows):
    with pytest.raises(SegscopeError, match=r"^data\.metadata: .*(empty|write more of its path|different things)"):
        read(rows)


def test_a_row_that_is_there_twice_is_one(read):
    table, _ = read("file_name,x,y\ntrain/a.jpg,1,\ntrain/a.jpg,1,\nb.jpg,2,3\n")
    assert table["user.x"].tolist()[:2] == [1, 2]


def test_a_row_without_a_name_is_of_no_image(read):
    table, notes = read("file_name,x\n,1\nb.jpg,2\n")
    assert table["user.x"].dropna().tolist() == [2]
    assert notes[1].endswith("1 of 2 rows are of no image of this run")


def test_a_table_of_too_many_values_is_an_error(read):
    with pytest.raises(SegscopeError, match=r"it has 9000001 rows of 2 columns, more than 16777216 values"):
        read(b"file_name,x\n" + b"\n" * 9_000_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,x\na,1\n", "no column file_name or image_id to find the images by; it has name, x"),
        (b"file_name,x\n\xff\xfe,1\n", "neither CSV in UTF-8 nor Parquet"),
        (b"PAR1 and no more", "neither CSV in UTF-8 nor Parquet"),
        ("file_name,x,x \na,1,2\n", "or two have one"),
        ("file_name," + ",".join(map(str, range(201))) + "\n", "201 columns, and at most 200"),
    ],
)
def test_what_is_no_such_table_is_an_error(read, text, said):
    with pytest.raises(SegscopeError, match=said):
        read(text)


def test_parquet_keeps_its_types_and_lists_are_an_error(tmp_path):
    frame = pd.DataFrame(
        {
            "file_name": INDEX["path"],
            "n": pd.array([1, 2, 3, 4], "Int32"),
            "ok": [True, False, True, False],
            "when": pd.to_datetime(["2020-01-01", None, "2020-01-03", "2020-01-04"]),
            "kind": pd.Categorical(["a", "b", "a", "b"]),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    table, notes = read_user_table(tmp_path / "t.parquet", INDEX)
    assert notes == []
    assert [table[name].dtype.kind for name in table] == ["i", "b", "M", "O"]
    frame.assign(boxes=[[1, 2]] * 4).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(SegscopeError, match="boxes hold lists"):
        read_user_table(tmp_path / "t.parquet", INDEX)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("a.jpg", [0, 2]),
        ("val/a.jpg", [2]),
        ("test/a.jpg", []),
        ("C:\\home\\me\\train\\a.jpg", [0]),  # of another machine: what is most like it
        ("/elsewhere/val/a.jpg", [2]),
        ("/elsewhere/a.jpg", [0, 2]),
        ("u\u0308.jpg", [3]),
        ("jpg", []),
        (None, []),
    ],
)
def test_a_file_name_means_the_paths_that_end_with_it(name, places):
    assert by_file_name([name], INDEX["path"].tolist()) == [places]


TABLE = pd.DataFrame({"file_name": INDEX["path"], "n": [1, 2, 3, 4], "kind": ["a", "b", "a", None]})


@pytest.fixture(scope="module")
def valid():
    parquet = io.BytesIO()
    TABLE.to_parquet(parquet)
    return {"csv": TABLE.to_csv(index=False).encode(), "parquet": parquet.getvalue()}


@given(st.sampled_from(["csv", "parquet"]), st.integers(0, 3000), st.integers(0, 40), st.binary(max_size=20))
def test_a_damaged_table_is_read_or_an_error(tmp_path_factory, valid, kind, start, length, put):
    path, text = tmp_path_factory.getbasetemp() / "damaged", valid[kind]
    start %= len(text)
    path.write_bytes(text[:start] + put + text[start + length :])
    with contextlib.suppress(SegscopeError):
        read_user_table(path, INDEX)


def test_a_separator_at_the_end_of_each_row_moves_no_column(read):
    table, _ = read("file_name,night\ntrain/a.jpg,1,\nb.jpg,0,\n")
    assert table["user.night"].tolist()[:2] == [1, 0]
    with pytest.raises(SegscopeError, match="more values than the first line has names"):
        read("file_name,night\ntrain/a.jpg,1,rain\n")


def test_files_that_are_all_called_alike_are_told_apart_by_their_folders():
    paths = [f"data/{n}/rgb.png" for n in range(3000)]
    assert by_file_name(["7/rgb.png", "/elsewhere/2999/rgb.png", "rgb.pn"], paths) == [[7], [2999], []]
    assert len(*by_file_name(["rgb.png"], paths)) == 3000
