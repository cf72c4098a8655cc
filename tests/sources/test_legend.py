import json

import pytest

from segscope.errors import SegscopeError
from segscope.sources.legend import find_legend

TWO = [(0, "background", None), (3, "traffic light", None)]


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("classes.txt", "background\ncat\n\n", [(0, "background", None), (1, "cat", None)]),
        ("classes.txt", "0 background\n3: traffic light\n", TWO),
        ("_classes.csv", "Pixel Value, Class\n 0, background\n 3, traffic light\n", TWO),
        ("classes.csv", "name,id,supercategory\ncar,3,vehicle\n", [(3, "car", "vehicle")]),
        ("classes.csv", "background,0\ntraffic light,3\n", TWO),
        ("classes.json", json.dumps({"background": 0, "traffic light": 3}), TWO),
        ("classes.json", json.dumps({"0": "background", "3": "traffic light"}), TWO),
        ("classes.json", json.dumps(["a", "b"]), [(0, "a", None), (1, "b", None)]),
        ("labels.json", json.dumps({"labels": [{"name": "x", "id": 7}, {"name": "out", "id": -1}]}), [(7, "x", None)]),
        ("data.yaml", "train: x\nnames:\n  0: background\n  3: traffic light\n", TWO),
        ("data.yaml", "nc: 1\nnames: [on]\n", [(0, "on", None)]),
        ("classes.txt", "\ufeffcat\n", [(0, "cat", None)]),
    ],
)
def test_a_table_is_read_however_it_is_written(tmp_path, name, text, rows):
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / name).write_text(text, "utf-8")
    legend = find_legend(tmp_path / "labels" / "train", tmp_path)
    assert (legend.path.name, legend.rows) == (name, rows)


def test_the_nearest_table_is_taken_and_none_above_the_root(tmp_path):
    labels = tmp_path / "root" / "labels"
    labels.mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("above\n")
    with pytest.raises(
        SegscopeError, match=r"what the values in .*labels mean is said nowhere: put a file classes\.txt"
    ):
        find_legend(labels, tmp_path / "root")
    (tmp_path / "root" / "data.yaml").write_text("rate: !unknown [\n")  # of something else
    (tmp_path / "root" / "classes.csv").write_text("1,far\n")
    assert find_legend(labels, tmp_path / "root").rows == [(1, "far", None)]
    (labels / "classes.txt").write_text("near\n")
    assert find_legend(labels, tmp_path / "root").rows == [(0, "near", None)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.csv", "id,name\n1,cat\nx,dog\n", "no value and name in row 2: x, dog"),
        ("classes.csv", "red,green,blue\n1,2,3\n", "no columns value and name, but red, green, blue"),
        ("classes.json", '{"a": 1, "b": 1}', "two names for 1: a and b"),
        ("classes.json", '[{"name": "a"}]', r"no value and name in item 0: \{'name': 'a'\}"),
        ("data.yaml", "a: &a [x]\nnames: [*a]\n", r"a name that is none: \['x'\]"),
        ("classes.json", "{", r"cannot be read: Expecting property name"),
        ("data.yaml", "names: [", "is not valid YAML: "),
    ],
)
def test_a_table_that_cannot_be_meant_is_an_error(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SegscopeError, match=f"the table of names .*{name} (has )?{message}"):
        find_legend(tmp_path, tmp_path)
