"""`segscope predict`, on a model of known answers."""

import csv
import os
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segscope.artefacts.images import EXIF_ORIENTATION
from segscope.cli import main
from segscope.model.photographs import find_candidates, result_names, segment

SIZE = 32
NAMES = ["background", "person", "car"]
PREDICTIONS = Path("exports", "predictions")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    """A model whose logits are red, green and blue: each pixel's class is its strongest colour."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Rescaling(1 / 10)]).save(path)
    path.with_suffix(".md").write_text(f"---\nclasses: {NAMES}\nimage_size: {SIZE}\n---\n")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that is the working one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def predict(here, model_path) -> Callable[..., int]:
    """`segscope predict` in that folder; returns the exit status."""
    return lambda *arguments: main(["predict", *map(str, arguments), "--model", str(model_path)])


def halves(width: int, height: int) -> Image.Image:
    """Green left, blue in the upper quarter at the right, red elsewhere."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 200
    pixels[:, : width // 2] = (0, 200, 0)
    pixels[: height // 2, width // 2 :] = (0, 0, 200)
    return Image.fromarray(pixels)


def plain(name: str | Path, color: str = "red") -> Path:
    """A photograph of one colour."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), color).save(name, "PNG")
    return Path(name)


def text(name: str) -> Path:
    """A file that is no image."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("not an image")
    return Path(name)


def table(name: str, folder: Path = PREDICTIONS) -> list[dict]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def masks(folder: Path = PREDICTIONS) -> dict[str, str]:
    """The mask of each photograph of shares.csv."""
    return {row["image"]: row["mask"] for row in table("shares.csv", folder)}


def found(*arguments: str) -> list[str]:
    return [str(candidate.path) for candidate in find_candidates(arguments, PREDICTIONS).candidates]


def test_each_pixel_gets_the_class_that_is_most_probable_when_scaled_up():
    probabilities = np.zeros((1, 2, 3), np.float32)
    probabilities[0, 0] = (0.2, 0.8, 0)
    probabilities[0, 1] = (0.6, 0, 0.4)
    # Bilinearly, class 1 falls from 0.8 to 0 in steps of 0.2, class 0 rises from 0.2 to 0.6 in steps of 0.1.
    classes = segment(probabilities, (8, 3))
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]] * 3


@pytest.mark.parametrize("size", [(300, 200), (64, 64), (33, 701), (20, 10)])
def test_a_photograph_of_any_size_is_segmented_at_its_size(predict, capsys, size):
    halves(*size).save("street.png")
    assert predict("street.png", "--out", "out") == 0
    with Image.open("out/street-mask.png") as mask:
        assert mask.mode == "P"
        classes = np.asarray(mask)
    assert classes.shape == size[::-1]
    expected = np.asarray(halves(*size)).argmax(-1)
    assert (classes != expected).mean() < 0.07
    with Image.open("out/street-overlay.jpg") as overlay:
        assert overlay.size == size
    (row,) = table("shares.csv", Path("out"))
    assert [row.pop(column) for column in ("image", "mask", "overlay")] == [
        "street.png",
        "street-mask.png",
        "street-overlay.jpg",
    ]
    assert {name: float(share) for name, share in row.items()} == pytest.approx(
        {name: (classes == k).mean() for k, name in enumerate(NAMES)}
    )
    assert f"street.png: background {(classes == 0).mean():.1%}, person" in capsys.readouterr().out


def test_a_turned_gray_and_transparent_photographs_are_seen_as_shown(predict):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    halves(60, 40).rotate(90, expand=True).save("turned.jpg", exif=exif, quality=95)
    halves(60, 40).convert("RGBA").save("clear.png")
    halves(60, 40).convert("L").save("gray.png")
    assert predict("turned.jpg", "clear.png", "gray.png") == 0
    turned, clear, gray = (np.asarray(Image.open(PREDICTIONS / f"{n}-mask.png")) for n in ("turned", "clear", "gray"))
    assert turned.shape == clear.shape == gray.shape == (40, 60)
    assert (turned != clear).mean() < 0.1


def test_a_named_file_that_is_no_image_is_an_error_and_the_others_are_done(predict, capsys):
    text("notes.jpg")
    plain("a/same.png")
    plain("b/same.png")
    assert predict("notes.jpg", "a/same.png", "missing.png", "no/*.png", "b/same.png") == 1
    said = capsys.readouterr().err
    assert "error: image notes.jpg cannot be decoded" in said
    assert "error: image missing.png cannot be decoded: No such file or directory" in said
    assert "error: the pattern 'no/*.png' matches no file" in said
    assert masks() == {"a/same.png": "a/same-mask.png", "b/same.png": "b/same-mask.png"}
    assert table("skipped.csv") == []


def test_what_is_no_image_is_skipped_where_it_was_found_and_listed(predict, capsys):
    plain("photos/a.png")
    text("photos/README.md")
    text("photos/sub/a.json")
    plain("photos/sub/torn.png").write_bytes(Path("photos/a.png").read_bytes()[:45])
    with socket.socket(socket.AF_UNIX) as special:
        special.bind("photos/socket")  # not a file at all, as a pipe, which would be waited for
    for paths in (["photos"], ["photos/**/*"], ["photos/*.png", "photos/sub", "photos/README.md*"]):
        assert predict(*paths) == 0
        assert masks() == {"photos/a.png": "a-mask.png"}
        skipped = {row["path"]: row["reason"] for row in table("skipped.csv")}
        assert set(skipped) == {"photos/README.md", "photos/sub/a.json", "photos/sub/torn.png"}
        assert "none of the formats that are read" in skipped["photos/README.md"]
        assert "skipped: 3; see exports/predictions/skipped.csv" in capsys.readouterr().err


def test_where_there_is_no_photograph_the_error_says_so(predict, capsys):
    text("photos/README.md")
    assert predict("photos") == 1
    assert "error: there is no photograph in what was named" in capsys.readouterr().err


def test_folders_are_searched_in_order_but_for_what_is_hidden(here):
    for name in ("p/b.png", "p/a/2.png", "p/a/1.png", "p/B.png", "p/.git/x.png", "p/a/.x.png"):
        plain(name)
    assert found("p") == ["p/B.png", "p/a/1.png", "p/a/2.png", "p/b.png"]
    assert found(".") == found("p")
    assert found("p/.git", "p/a/.x.png") == ["p/.git/x.png", "p/a/.x.png"]  # named, after all


def test_patterns_match_as_in_a_shell(here):
    for name in ("p/1.png", "p/2.jpg", "p/a/3.png", "p/a/b/4.png", "p/.h/5.png", "p/[6].png", "q/7.png"):
        plain(name)
    assert found("p/*.png") == ["p/1.png", "p/[6].png"]
    assert found("p/**/*.png") == ["p/1.png", "p/[6].png", "p/a/3.png", "p/a/b/4.png"]
    assert found("**/b/*.png") == found("p/**/b/?.png") == found("*/a/b/[0-4].png") == ["p/a/b/4.png"]
    assert found("p/**") == found("p/*") == found("p")  # a folder that a pattern matches is searched through
    assert found("p/.h/*") == found("p/.*/*.png") == ["p/.h/5.png"]
    assert found("p/[6].png") == ["p/[6].png"]  # such a file comes before the pattern
    assert found(f"{here}/q/*") == [f"{here}/q/7.png"]


def test_a_file_is_taken_once_however_it_is_named(predict, here):
    plain("p/a.png")
    Path("p/link.png").symlink_to("a.png")
    Path("p/around").symlink_to("..")
    Path("q").symlink_to("p")
    assert found("p") == found("p", "q", "p/a.png", "p/../p/a.png", "**/*.png", str(here / "p/a.png")) == ["p/a.png"]
    assert found("q") == ["q/a.png"]


def test_a_file_that_is_named_and_found_too_is_a_named_one(predict, capsys):
    text("p/notes.txt")
    plain("p/a.png")
    assert predict("p", "p/notes.txt") == 1
    assert "error: image p/notes.txt cannot be decoded" in capsys.readouterr().err


def test_a_second_run_does_not_segment_the_results_of_the_first(predict, capsys):
    plain("p/a.png")
    plain("p/sub/a.png")
    arguments = ("p", "--out", "p/results")
    assert predict(*arguments) == 0
    first = masks(Path("p/results"))
    assert first == {"p/a.png": "a-mask.png", "p/sub/a.png": "sub/a-mask.png"}
    for paths in (["."], ["p"], ["**/*.*"], ["*"]):
        for out in ("p/results", "other"):
            assert predict(*paths, "--out", out) == 0
            assert set(masks(Path(out))) == set(first)
    capsys.readouterr()
    # As the shell expands p/* and p/**.
    assert predict("p/a.png", "p/results", "p/results/a-mask.png", "p/sub", "--out", "p/results") == 0
    assert masks(Path("p/results")) == first
    assert {row["path"]: row["reason"] for row in table("skipped.csv", Path("p/results"))} == {
        "p/results": "segscope made this folder: name files, folders or a pattern in it",
        "p/results/a-mask.png": "it lies in the folder of the results",
    }
    assert "skipped: 2" in capsys.readouterr().err


def test_what_segscope_made_is_taken_where_more_than_its_folder_is_named(here):
    plain("made/sub/a.png")
    Path("made/.segscope").touch()
    assert found("made", ".", "*", "**/a.png") == []
    assert found("made/*") == found("made/sub") == found("made/**/a.png") == ["made/sub/a.png"]


@pytest.mark.parametrize(
    "arguments",
    [["."], ["a", "b"], ["*"], ["a/street.png", "b/street.png"], ["*/street.png"], ["b/../a", "{here}/b"]],
)
def test_results_lie_as_the_photographs_below_the_folder_that_all_share(predict, here, arguments):
    plain("a/street.png")
    plain("b/street.png", "blue")
    assert predict(*(argument.format(here=here) for argument in arguments)) == 0
    assert sorted(masks().values()) == ["a/street-mask.png", "b/street-mask.png"]
    assert np.asarray(Image.open("exports/predictions/a/street-mask.png")).max() == 0
    assert np.asarray(Image.open("exports/predictions/b/street-mask.png")).min() == 2
    assert Path("exports/predictions/b/street-overlay.jpg").is_file()


def test_equal_names_get_numbers_whichever_files_fail(predict):
    for name in ("street.bmp", "street.jpg", "Street.png", "street-2.png", "street.csv"):
        plain(f"p/{name}")
    names = {
        "p/Street.png": "Street-mask.png",
        "p/street-2.png": "street-2-mask.png",
        "p/street.bmp": "street-3-mask.png",
        "p/street.csv": "street-5-mask.png",
        "p/street.jpg": "street-4-mask.png",
    }
    assert predict("p") == 0
    assert masks() == names
    text("p/street.bmp")
    assert predict("p") == 0
    assert masks() == {image: mask for image, mask in names.items() if image != "p/street.bmp"}
    plain("q/a.jpg")
    plain("q/a.png")
    assert predict("q/a.jpg", "q/a.png") == 0
    before = masks()
    Path("q/a.jpg").unlink()
    assert predict("q/a.jpg", "q/a.png") == 1
    assert masks() == {"q/a.png": before["q/a.png"]} == {"q/a.png": "a-2-mask.png"}


def test_names_of_any_kind_stay_below_the_folder():
    posix = [
        "../../x.png",
        "/etc/passwd.png",
        "a\\..\\b.png",
        "C:x.png",
        "a\n\x1b[1m\u202e\x00.png",
        "a/ ../.png",
        "..",
    ]
    assert result_names([PurePosixPath(name) for name in posix]) == [
        "_/_/x",
        "_/etc/passwd",
        "a_.._b",
        "C_x",
        "a__[1m__",
        "a/_/png",
        "_",
    ]
    assert result_names([PureWindowsPath(r"C:\..\x.png"), PureWindowsPath(r"\\host\share\x.png")]) == [
        "C__/_/x",
        "__host_share_/x",
    ]
    assert result_names([PurePosixPath(name) for name in ("a-mask.png/x.png", "Shares.csv/x.png")]) == [
        "a-mask.png_/x",
        "Shares.csv_/x",
    ]
    # As file systems do that tell neither case nor the two ways to write an é apart.
    assert result_names([PurePosixPath(name) for name in ("A/\u00c9.png", "a/e\u0301.png")]) == [
        "A/\u00c9",
        "a/e\u0301-2",
    ]


PART = st.text(st.characters(exclude_characters="/\0"), min_size=1) | st.sampled_from(
    ["..", "a", "A", "a-2", "b" * 300]
)


@given(st.lists(st.lists(PART, min_size=1, max_size=3).map(lambda parts: PurePosixPath(*parts)), unique=True))
def test_results_have_distinct_names_that_any_file_system_takes(paths):
    names = result_names(paths)
    assert len({unicodedata.normalize("NFC", name.casefold()) for name in names}) == len(paths)
    for name in names:
        for part in name.split("/"):
            assert part.isprintable()
            assert part.strip(". ") == part != ""
            assert not set(part) & set('<>:"\\|?*')
            assert 2 * len(f"{part}-overlay.jpg".encode()) + len("..partial-0123456789") <= 255  # its temporary's name


@pytest.mark.parametrize(
    "name", [b"new\nline \x1b[31m.png", b"\xff.png", b"n.a.m.e." * 31 + b".png", "n\u00e9.png".encode()]
)
def test_a_file_of_any_name_is_segmented_and_told(predict, capsys, name):
    path = plain(Path("p") / os.fsdecode(name))
    assert predict("p") == 0
    (row,) = table("shares.csv")
    assert row["image"] == str(path).replace("\udcff", "\\udcff")
    assert Path(PREDICTIONS, row["mask"]).is_file()
    assert Path(PREDICTIONS, row["overlay"]).is_file()
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    assert "\x1b" not in out
    assert "background 100.0%" in out
    Path(path).write_text("not an image")
    assert predict(path) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_a_photograph_whose_exif_data_or_results_are_impossible_stops_no_other(predict, capsys):
    # Orientation 6, and a description that is said to be a fraction: Pillow cannot write it back.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + bytes.fromhex("0e010500010000002600000012010300010000000600000000000000")
    halves(8, 6).save("odd.jpg", exif=exif + bytes(8))
    Image.new("RGB", (70_000, 1)).save("wide.png")  # JPEG has no pictures as wide
    plain("z.png")
    assert predict("odd.jpg", "wide.png", "z.png") == 1
    assert list(masks()) == ["z.png"]
    said = capsys.readouterr().err
    assert "error: image odd.jpg cannot be turned as its EXIF data say" in said
    assert "error: the results of wide.png cannot be written" in said


def test_without_a_model_or_its_card_the_error_says_what_to_run(here, capsys):
    plain("a.png")
    assert main(["predict", "a.png", "--model", "none.keras"]) == 1
    assert "none.md cannot be read" in capsys.readouterr().err
    Path("damaged.keras").write_bytes(b"damaged")
    Path("damaged.md").write_text(f"---\nclasses: {NAMES}\nimage_size: {SIZE}\n---\n")
    assert main(["predict", "a.png", "--model", "damaged.keras"]) == 1
    assert "run `dvc repro train`" in capsys.readouterr().err
    Path("damaged.md").write_text("---\nclasses: 3\n---\n")
    assert main(["predict", "a.png", "--model", "damaged.keras"]) == 1
    assert "the model card" in capsys.readouterr().err
