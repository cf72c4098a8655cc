import pandas as pd
import pyarrow as pa
import pytest
from exclusions import exclusion_yaml
from hypothesis import given
from hypothesis import strategies as st

from segscope.errors import SegscopeError
from segscope.labels.exclusion import Exclusion, apply_exclusion, read_exclusion
from segscope.params import Data
from segscope.taxonomy import IGNORE

IDS = st.lists(st.integers(1, 10**12), max_size=5, unique=True)


@given(IDS, st.dictionaries(st.integers(1, 10**12), IDS, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, images, annotations):
    path = tmp_path_factory.mktemp("exclude") / "exclude.yaml"
    path.write_text(exclusion_yaml("sample, seed 0", images, annotations))
    found = read_exclusion(path, "sample, seed 0")
    assert found.images == set(images)
    assert found.pairs() == {(i, a) for i, ids in annotations.items() for a in ids}


@pytest.mark.parametrize("text", ["", "images: []", "images:\nannotations:\n", "# nothing\n"])
def test_an_empty_file_excludes_nothing(tmp_path, text):
    (tmp_path / "e.yaml").write_text(text)
    assert read_exclusion(tmp_path / "e.yaml", "coco2017") == Exclusion()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: [a]", r"images\.0: .*integer"),
        ("pictures: [1]", "pictures: Extra inputs"),
        ("annotations: [1, 2]", "annotations: Input should be a valid dictionary"),
        ("[1, 2]", "the document: "),
        ("images: [", "is not valid YAML"),
    ],
)
def test_a_file_that_is_something_else_is_an_error(tmp_path, text, message):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(SegscopeError, match=message):
        read_exclusion(tmp_path / "e.yaml", "coco2017")


def test_ids_are_decimal_as_file_names_have_them(tmp_path):
    text = "images: [000000000100, 000000000089, 0o17]\nannotations: {000000000012: [010]}\nsource: coco2017\n"
    (tmp_path / "e.yaml").write_text(text)
    assert read_exclusion(tmp_path / "e.yaml", "coco2017") == Exclusion(frozenset({100, 89, 15}), {12: frozenset({10})})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('source: "sample, seed 0"\n', "is of source 'sample, seed 0', and .*this run's is 'directory /a'"),
        ("", 'does not say which source it is of, .* put `source: "directory /a"` into it'),
    ],
)
def test_ids_of_another_source_are_an_error(tmp_path, source, message):
    (tmp_path / "e.yaml").write_text(f"{source}images: [3]\n")
    with pytest.raises(SegscopeError, match=message):
        read_exclusion(tmp_path / "e.yaml", "directory /a")


def test_the_name_of_a_run_s_source_is_what_its_ids_depend_on():
    assert Data(seed=3).origin == "sample, seed 3"
    assert Data(source="directory", root="/a", seed=3).origin == "directory /a"
    assert Data(source="coco2017", seed=3).origin == "coco2017"


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match=r"data\.exclude: .*No such file"):
        read_exclusion(tmp_path / "none.yaml", "coco2017")


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
    assert unknown == ["image 99", "annotation 100 of image 1"]
