import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segscope.errors import SegscopeError
from segscope.labels.exclusion import Exclusion, apply_exclusion, exclusion_yaml, read_exclusion
from segscope.taxonomy import IGNORE

IDS = st.lists(st.integers(1, 10**12), max_size=5, unique=True)


@given(IDS, st.dictionaries(st.integers(1, 10**12), IDS, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, images, annotations):
    path = tmp_path_factory.mktemp("exclude") / "exclude.yaml"
    path.write_text(exclusion_yaml(images, annotations))
    found = read_exclusion(path)
    assert found.images == set(images)
    assert found.pairs() == {(i, a) for i, ids in annotations.items() for a in ids}


@pytest.mark.parametrize("text", ["", "images: []", "images:\nannotations:\n", "# nothing\n"])
def test_an_empty_file_excludes_nothing(tmp_path, text):
    (tmp_path / "e.yaml").write_text(text)
    assert read_exclusion(tmp_path / "e.yaml") == Exclusion()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: [a]", r"images\.0: .*integer"),
        ("pictures: [1]", "pictures: Extra inputs"),
        ("annotations: [1, 2]", "annotations: Input should be a valid dictionary"),
        ("[1, 2]", "the document: "),
        ("images: [", "is not YAML"),
    ],
)
def test_a_file_that_is_something_else_is_an_error(tmp_path, text, message):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(SegscopeError, match=message):
        read_exclusion(tmp_path / "e.yaml")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match=r"data\.exclude: .*No such file"):
        read_exclusion(tmp_path / "none.yaml")


def test_excluded_images_go_and_excluded_annotations_are_ignored():
    index = pd.DataFrame({"image_id": [1, 2, 3], "split": ["train", "train", "val"], "path": ["a", "b", "c"]})
    annotations = pa.table(
        {
            "image_id": [1, 1, 3, 3],
            # Ids are unique within a split only.
            "annotation_id": [7, 8, 7, 9],
            "category_id": pa.array([1, 3, 1, 3], pa.int32()),
        }
    )
    exclusion = Exclusion(frozenset({2, 99}), {3: frozenset({7}), 1: frozenset({100})})
    kept, table, skipped, unknown = apply_exclusion(exclusion, index, annotations)
    assert kept["image_id"].tolist() == [1, 3]
    assert table["category_id"].to_pylist() == [1, 3, IGNORE, 3]
    assert table.schema == annotations.schema
    assert skipped[["split", "image_id", "annotation_id", "reason"]].astype(object).fillna(0).values.tolist() == [
        ["train", 2, 0, "excluded"],
        ["val", 3, 7, "excluded"],
    ]
    assert unknown == 2
