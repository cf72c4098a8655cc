import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segscope.artefacts.files import atomic_folder, atomic_path, output_folder, refuse_existing, sha256_of, write_json
from segscope.errors import SegscopeError


def write_half(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk full")


def ended() -> str:
    """How a process that has ended marked its temporary files."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{process.pid:06x}0a1b"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="disk full"):
        write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", [".a.txt.partial.txt", ".a.txt.partial-mine.txt", ".b.txt.partial-{dead}.txt"])
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_nothing_of_others_is_followed_or_removed_for_a_temporary(tmp_path, kind, name):
    taken, other = tmp_path / name.format(dead=ended()), tmp_path / "other"
    other.write_text("mine")
    match kind:
        case "file":
            taken.write_text("mine")
        case "link":
            taken.symlink_to(other)
        case "folder":
            folder_of(taken)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert other.read_text() == "mine"
    assert (taken / "keep.txt" if kind == "folder" else taken).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_killed_writers_file_is_removed_and_a_working_ones_is_kept(tmp_path):
    (tmp_path / f".a.json.partial-{ended()}.json").write_text("half")
    with atomic_path(tmp_path / "a.json") as slow:
        slow.write_text("{}")
        written = f"from segscope.artefacts.files import write_json; write_json({str(tmp_path / 'a.json')!r}, [])"
        subprocess.run([sys.executable, "-c", written], check=True)
        assert sorted(tmp_path.iterdir()) == sorted([slow, tmp_path / "a.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "{}"


def test_json_has_plain_finite_values(tmp_path):
    write_json(tmp_path / "m.json", {"a": np.float32(0.5), "b": float("nan"), 3: [np.int64(2)], "c": {"d": None}})
    expected = '{\n  "a": 0.5,\n  "b": null,\n  "3": [\n    2\n  ],\n  "c": {\n    "d": null\n  }\n}\n'
    assert (tmp_path / "m.json").read_text() == expected


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def folder_of(path: Path, name: str = "keep.txt") -> Path:
    """A user's folder with a file in it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("mine")
    return path


def fill(path: Path, name: str = "index.html") -> None:
    with atomic_folder(path) as folder:
        (folder / name).write_text("made")


def test_a_folder_that_segscope_made_is_replaced_whole(tmp_path):
    for name in ("first", "second"):
        fill(tmp_path / "folder", name)
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".segscope", "folder", "second"]


def test_a_failed_write_leaves_the_old_folder_and_no_other(tmp_path):
    fill(tmp_path / "folder", "first")

    def fill_half() -> None:
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / "second").touch()
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fill_half()
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".segscope", "first", "folder"]


@pytest.mark.parametrize("name", ["folder", ".folder.partial", ".folder.replaced"])
def test_a_folder_of_the_users_is_never_replaced(tmp_path, name):
    own = folder_of(tmp_path / name)
    with pytest.raises(SegscopeError, match="is a folder that segscope did not make"):
        fill(tmp_path / "folder")
    assert (own / "keep.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_neither_a_file_nor_a_link_is_replaced_by_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    fill(tmp_path / "target")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("file", "link"):
        with pytest.raises(SegscopeError, match="segscope did not make"):
            fill(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "target" / "index.html").exists()


@pytest.mark.parametrize("name", [".", "..", "../..", "sub/.."])
def test_the_working_folder_and_its_parents_are_never_replaced(tmp_path, monkeypatch, name):
    here = folder_of(tmp_path / "a" / "b")
    fill(tmp_path / "made")
    for folder in (tmp_path, tmp_path / "a", here):  # not even if segscope had made them
        (folder / ".segscope").touch()
    (here / "sub").mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(SegscopeError, match="is the working folder or holds it"):
        fill(Path(name))
    assert (here / "keep.txt").read_text() == "mine"


def test_a_killed_writers_folders_are_removed(tmp_path):
    for name in (".folder.partial", ".folder.replaced"):
        fill(tmp_path / "other", "half")
        (tmp_path / "other").rename(tmp_path / name)
    fill(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder"]


def test_files_are_written_into_an_empty_folder_or_an_own_one(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new/sub", "empty", "empty"):
        output_folder(tmp_path / name)
        (tmp_path / name / "mask.png").touch()
    own = folder_of(tmp_path / "photographs", "a-mask.png")
    with pytest.raises(SegscopeError, match="that segscope did not make"):
        output_folder(own)
    with pytest.raises(SegscopeError, match="is a file that segscope did not make"):
        output_folder(own / "a-mask.png")


def test_a_folder_that_files_are_written_into_is_never_replaced_as_a_whole(tmp_path):
    """The user may have made it, and keep other files in it."""
    own = output_folder(tmp_path / "results")
    folder_of(own)
    with pytest.raises(SegscopeError, match="is a folder that segscope did not make"):
        fill(own)
    assert (own / "keep.txt").read_text() == "mine"
    fill(tmp_path / "page")
    with pytest.raises(SegscopeError, match="is a folder that segscope did not make"):
        output_folder(tmp_path / "page")  # what is written there would go when it is replaced


def test_an_existing_file_is_overwritten_only_when_asked(tmp_path):
    own = folder_of(tmp_path / "folder") / "keep.txt"
    refuse_existing(tmp_path / "new.txt", overwrite=False, endings=[".txt"])
    refuse_existing(own, overwrite=True, endings=[".txt"])
    with pytest.raises(SegscopeError, match=r"keep\.txt exists already: name another file, or add --overwrite"):
        refuse_existing(own, overwrite=False, endings=[".txt"])
    with pytest.raises(SegscopeError, match="is a folder: name a file to write"):
        refuse_existing(tmp_path / "folder", overwrite=True, endings=[".txt"])


@pytest.mark.parametrize("kind", ["file", "link", "link to nothing", "pipe"])
def test_what_is_there_is_not_written_over_unasked(tmp_path, kind):
    out, other = tmp_path / "out.jpg", tmp_path / "other"
    other.write_text("mine")
    match kind:
        case "file":
            out.write_text("mine")
        case "link":
            out.symlink_to(other)
        case "link to nothing":
            out.symlink_to(tmp_path / "nothing")
        case "pipe":
            os.mkfifo(out)
    with pytest.raises(SegscopeError, match="exists already"):
        refuse_existing(out, overwrite=False, endings=[".jpg"])
