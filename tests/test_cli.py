import errno
import os
import runpy
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from segscope.cli import main

ROOT = Path(__file__).parent.parent
PARAMS = ROOT / "params.yaml"


def test_check_says_that_a_file_is_valid(capsys):
    assert main(["check", str(PARAMS)]) == 0
    assert capsys.readouterr().out == f"{PARAMS} is valid: variant category (person, car) of sample, seed 0\n"


def test_check_shows_the_params_with_defaults(tmp_path, capsys):
    short = {key: value for key, value in yaml.safe_load(PARAMS.read_text()).items() if key.startswith("variant")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(short))
    assert main(["check", "--show", str(tmp_path / "params.yaml")]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["variant"] == "category"
    assert printed["data"]["source"] == "sample"


def test_check_of_a_wrong_file_fails_and_says_why(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text("variant: a\nvariants: {a: {person: [person]}}\ntrain: {epochs: no}\n")
    assert main(["check", str(tmp_path / "params.yaml")]) == 1
    assert "train.epochs: 'no' is not allowed" in capsys.readouterr().err


def test_check_prints_a_whole_file_of_the_defaults(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where no params.yaml is
    assert main(["check", "--defaults"]) == 0
    assert capsys.readouterr().out == PARAMS.read_text(encoding="utf-8")


@pytest.mark.parametrize(("command", "shown"), [([], "corrupt-labels"), (["labels"], "export")])
def test_without_a_command_the_help_is_shown(capsys, command, shown):
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: {' '.join(['segscope', *command])} ")
    assert shown in said


@pytest.mark.parametrize(
    ("command", "near"),
    [
        (["predcit", "a.jpg"], "predict"),
        (["labels", "exprot"], "export"),
        (["export", "--format", "onx"], "onnx"),
        (["compare", "a", "b", "--fail_if", "x < 1"], "--fail-if"),
    ],
)
def test_of_what_is_misspelled_the_nearest_is_said(capsys, command, near):
    with pytest.raises(SystemExit, match="2"):
        main(command)
    assert capsys.readouterr().err.endswith(f"; did you mean {near}?\n")


def test_of_what_is_like_nothing_nothing_is_said(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["zzz"])
    assert "did you mean" not in capsys.readouterr().err


def test_the_page_of_the_commands_is_what_they_print():
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == runpy.run_path(ROOT / "docs" / "cli.py")[
        "page"
    ](), "write it by `make cli`"


def test_a_file_of_another_kind_is_not_written_over(tmp_path, monkeypatch, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    for command in (["similar", "3"], ["explain", "3", "--class", "car"], ["export", "--format", "tflite"]):
        assert main([*command, "--out", "notes.txt", "--overwrite"]) == 1
        assert "notes.txt exists already, and is no ." in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_no_message_names_its_file_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("no image")
    Path("net.md").write_text("no card")
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    for command, name in (
        (["similar", "a.txt"], "a.txt"),
        (["similar", "3"], "data/index.parquet"),
        (["predict", "a.txt", "--model", "other.keras"], "other.md"),
    ):
        assert main(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.count(name) == 1


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"segscope {version('segscope')}\n"


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "a.jpg", "--out", "folder"],
        ["export", "--format", "saved_model", "--out", "folder"],
        ["export", "--format", "saved_model", "--out", "."],
        ["export", "--format", "tflite", "--out", "folder/keep.txt"],
        ["similar", "3", "--out", "folder/keep.txt"],
        ["explain", "3", "--class", "car", "--out", "folder/keep.txt"],
        ["labels", "export", "--format", "csv", "--out", "folder/keep.txt"],
        ["to-fiftyone", "folder"],
        ["to-fiftyone", "folder/keep.txt"],
        ["corrupt-labels", "coco", "folder"],
        ["compare", "HEAD", "workspace", "-o", "folder"],
        ["compare", "HEAD", "workspace", "-o", "folder/keep.txt"],
        ["compare", "HEAD", "workspace", "-o", "."],
        ["compare", "HEAD", "workspace", "-o", ".."],
    ],
)
def test_no_command_removes_or_overwrites_what_it_did_not_make(tmp_path, monkeypatch, capsys, command):
    here = tmp_path / "project"
    (here / "folder").mkdir(parents=True)
    (here / "params.yaml").write_text(PARAMS.read_text())
    for folder in (tmp_path, here, here / "folder"):
        (folder / "keep.txt").write_text("mine")
    monkeypatch.chdir(here)
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "segscope did not make" in said or "exists already" in said or "is the working folder or holds it" in said
    kept = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert kept == [
        "keep.txt",
        "project",
        *(f"project/{n}" for n in ("folder", "folder/keep.txt", "keep.txt", "params.yaml")),
    ]
    assert {p.read_text() for p in tmp_path.rglob("keep.txt")} == {"mine"}


@pytest.mark.parametrize("out", ["a file/x", "a file/x/y", "/dev/null/x", "locked/x"])
@pytest.mark.parametrize(
    "command",
    [
        ["predict", "a.jpg", "--out"],
        ["export", "--format", "saved_model", "--out"],
        ["export", "--format", "onnx", "--out"],
        ["similar", "3", "--out"],
        ["explain", "3", "--class", "car", "--out"],
        ["labels", "export", "--format", "csv", "--out"],
        ["to-fiftyone"],
        ["compare", "HEAD", "workspace", "-o"],
    ],
)
def test_what_cannot_be_written_is_said_in_one_line_before_any_work(tmp_path, monkeypatch, capsys, command, out):
    (tmp_path / "a file").touch()
    (tmp_path / "locked").mkdir(mode=0o555)
    monkeypatch.chdir(tmp_path)
    access = os.access  # which lets the superuser do anything
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and access(path, mode))
    assert main([*command, out]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {out} cannot be written: ")
    assert line.endswith("locked may not be written to" if out.startswith("locked") else "is no folder")


def test_a_disk_that_fails_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "coco").touch()
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    monkeypatch.chdir(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "copy/a.jpg")

    monkeypatch.setattr("segscope.suspects.corruption.corrupt_directory", full)
    assert main(["corrupt-labels", "coco", "copy"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: copy/a.jpg: No space left on device; ")


def test_no_name_steers_the_terminal(capsys):
    assert main(["check", "a\x1b[31m\u202eb.yaml"]) == 1
    assert r"a\x1b[31m\u202eb.yaml" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["check", "--a\x1b[31m"])
    assert "\x1b" not in capsys.readouterr().err
