import pandas as pd
import pytest

from segscope.errors import SegscopeError
from segscope.sources.categories import clean
from segscope.taxonomy import resolve_categories


def cleaned(rows: list[tuple], annotated: list[int]) -> tuple[list[tuple], dict[int, int], list[str]]:
    table = pd.DataFrame(rows, columns=["number", "name", "supercategory"])
    table.insert(1, "source_id", table["number"].astype(str))
    categories, id_of, notes = clean(table, annotated, "a.json")
    columns = ["category_id", "source_id", "name", "supercategory"]
    return [tuple(row) for row in categories[columns].values.tolist()], id_of.to_dict(), notes


@pytest.mark.parametrize("root", ["street", "car"])
def test_a_root_that_groups_others_is_left_out(root):
    rows = [(0, root, "none"), (1, "car", root), (2, "person", root)]
    table, id_of, notes = cleaned(rows, [1, 2])
    assert table == [(1, "1", "car", root), (2, "2", "person", root)]
    assert id_of == {1: 1, 2: 2}
    assert notes == [f"a.json: left out are categories without annotations that name others: 0 {root}"]


def test_a_root_with_annotations_stays():
    table, id_of, notes = cleaned([(0, "street", None), (1, "car", "street")], [0, 1])
    assert table == [(1, "0", "street", "street"), (2, "1", "car", "street")]
    assert id_of == {0: 1, 1: 2}
    assert not notes


def test_a_category_without_annotations_stays():
    assert len(cleaned([(1, "person", "person"), (2, "car", "vehicle")], [])[0]) == 2


def test_categories_of_one_name_are_one():
    table, id_of, notes = cleaned([(3, "car", "vehicle"), (4, " car", "auto")], [3, 4])
    assert table == [(3, "3", "car", "vehicle")]
    assert id_of == {3: 3, 4: 3}
    assert notes == ["a.json: categories of one name are taken as one: 3 car, 4 car"]


@pytest.mark.parametrize("name", ["background", "unlabelled", "none", "super.vehicle"])
def test_a_name_that_means_something_else_is_told_apart_and_still_found(name):
    table, _, (note,) = cleaned([(1, name, None), (2, "car", None)], [1, 2])
    assert table == [(1, "1", f"{name} (category)", f"{name} (category)"), (2, "2", "car", "car")]
    assert note.startswith(f"a.json: category {name!r} is called")
    categories = pd.DataFrame(table, columns=["category_id", "source_id", "name", "supercategory"])
    assert resolve_categories([name], categories, "") == [1]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\n# b", "a # b"), ("  a\t b ", "a b"), ("abc\u202ecba", "abc cba"), ("\u0645\u06cc\u200c\u062e", None)],
)
def test_a_name_is_of_one_line_and_turns_no_text(name, shown):
    table, _, notes = cleaned([(1, name, "x\ny")], [1])
    assert table == [(1, "1", shown or name, "x y")]
    assert bool(notes) == (shown is not None and shown != name.strip())


def test_of_too_many_categories_those_without_annotations_are_left_out():
    rows = [(1000 + i, f"kind {i}", None) for i in range(300)]
    table, id_of, notes = cleaned(rows, [1005, 1299])
    assert table == [(1, "1005", "kind 5", "kind 5"), (2, "1299", "kind 299", "kind 299")]
    assert id_of == {1005: 1, 1299: 2}
    assert notes == ["a.json: of 300 categories 298 without annotations are left out"]
    with pytest.raises(
        SegscopeError, match=r"a\.json has 255 categories with annotations; masks of 8 bits hold at most 254"
    ):
        cleaned(rows, range(1000, 1255))


def test_names_are_found_whatever_their_case_but_the_exact_one_first():
    rows = [(1, "Person", None), (2, "car", "vehicle"), (3, "CAR", "vehicle"), (4, "bus", "Vehicle ")]
    table, _, _ = cleaned(rows, [])
    categories = pd.DataFrame(table, columns=["category_id", "source_id", "name", "supercategory"])
    assert resolve_categories(["person"], categories, "") == [1]
    assert resolve_categories(["car"], categories, "") == [2]
    assert resolve_categories(["Car"], categories, "") == [2, 3]
    assert resolve_categories(["vehicle"], categories, "") == [2, 3]
    assert resolve_categories(["VEHICLE"], categories, "") == [2, 3, 4]
