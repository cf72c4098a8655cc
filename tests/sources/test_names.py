import unicodedata
from pathlib import Path

import pytest

from segscope.sources.names import near_misses, path_below


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "root/train/a.jpg"),
        ("./2020/May/ä b.jpg", "root/train/2020/May/ä b.jpg"),
        ("May\\a.jpg", "root/train/May/a.jpg"),
        (".\\a.jpg", "root/train/a.jpg"),
        ("../images/a.jpg", "root/images/a.jpg"),
        ("写真\u3000\u00a0.jpg", "root/train/写真\u3000\u00a0.jpg"),
        ("a\u200bb'\"#.jpg", "root/train/a\u200bb'\"#.jpg"),
        ("../../a.jpg", None),
        ("/etc/passwd", None),
        ("..\\..\\a.jpg", None),
        ("a\0.jpg", None),
        ("a\n.jpg", None),
        ("", None),
        ("..", None),
        ("a/", None),
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_a_name_is_a_path_below_the_root(tmp_path, monkeypatch, name, expected, absolute):
    monkeypatch.chdir(tmp_path)
    root = Path("root").absolute() if absolute else Path("root")
    found = path_below(root, root / "train", name)
    assert found == (expected and root.parent / expected)


@pytest.mark.parametrize("root", ["root", "./root/../root"])
def test_an_absolute_name_may_lie_below_the_root(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    assert path_below(Path(root), Path(root) / "train", f"{tmp_path}/root/other/a.jpg") == Path(root) / "other/a.jpg"


def test_a_file_whose_name_holds_backslashes_is_that_file(tmp_path):
    (tmp_path / "May\\a.jpg").touch()
    assert path_below(tmp_path, tmp_path, "May\\a.jpg") == tmp_path / "May\\a.jpg"


def test_a_folder_that_is_a_link_lies_below_the_root(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "train").symlink_to(tmp_path / "elsewhere")
    assert path_below(tmp_path / "root", tmp_path / "root/train", "a.jpg") == tmp_path / "root" / "train" / "a.jpg"


@pytest.mark.parametrize(
    ("there", "name", "said"),
    [
        ("a.JPG", "a.jpg", "there is 'a.JPG', in other case"),
        ("a.png", "a.jpg", "there is 'a.png', with another ending"),
        ("a.jpg", "a", "there is 'a.jpg', with another ending"),
        ("a b.jpg", "a%20b.jpg", "there is 'a b.jpg', percent-encoded"),
        (unicodedata.normalize("NFD", "é.jpg"), "é.jpg", "there is 'e\u0301.jpg', in another form of Unicode"),
        ("2020/a.jpg", "a.jpg", "there is {root}/train/2020/a.jpg"),
        ("../val/a.jpg", "a.jpg", "there is {root}/val/a.jpg"),
        ("b.jpg", "a.jpg", None),
    ],
)
def test_the_near_miss_of_a_missing_file_is_named(tmp_path, there, name, said):
    file = tmp_path / "train" / there
    file.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "train").mkdir(exist_ok=True)
    (tmp_path / "train" / there).resolve().parent.mkdir(exist_ok=True)
    (tmp_path / "train" / there).resolve().touch()
    missing = str(tmp_path / "train" / name)
    assert near_misses([missing], tmp_path) == ({missing: [said.format(root=tmp_path)]} if said else {})


def test_the_nearest_of_several_is_named(tmp_path):
    for path in ("val/a.jpg", "train/a.png", "train/A.JPG"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    missing = str(tmp_path / "train" / "a.jpg")
    assert near_misses([missing], tmp_path) == {missing: ["there is 'A.JPG', in other case"]}
    assert near_misses([], tmp_path) == {}
