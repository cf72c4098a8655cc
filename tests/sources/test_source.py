from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from segscope.artefacts.images import EXIF_ORIENTATION
from segscope.artefacts.schemas import TRUTH
from segscope.artefacts.skipped import SPLITS
from segscope.artefacts.tables import write_parquet
from segscope.errors import SegscopeError
from segscope.params import Data
from segscope.sources.source import Directory, fetch_images, known_sizes, open_source, read_truth, require_images
from segscope.sources.web import CocoWeb


def open_directory(root: Path, **data: object) -> Directory:
    return open_source(Data(source="directory", root=str(root), **data), root / "unused")


def test_a_directory_is_read_in_place(small_coco):
    source = open_directory(small_coco)
    assert source.annotation_file("val") == small_coco / "annotations" / "instances_val2017.json"
    paths = [str(source.image_path("val", name)) for name in ("000000000101.jpg", "gone.jpg")]
    assert source.fetch(pd.DataFrame({"path": paths}), 0) == {paths[1]: f"not in {small_coco}/val2017"}


def test_an_export_may_be_laid_out_in_other_ways(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_annotations.coco.json").touch()
    splits = {"train": "train", "val": "valid"}
    source = open_directory(tmp_path, splits=splits, annotations="{split}/_annotations.coco.json", images="images")
    assert source.annotation_file("val") == tmp_path / "valid" / "_annotations.coco.json"
    assert source.image_path("train", "may/1.png") == tmp_path / "images" / "may" / "1.png"


def test_a_root_that_is_no_directory_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match=r"data\.root: .* is not a directory"):
        open_directory(tmp_path / "nowhere")


def test_an_annotation_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(
        SegscopeError, match=r"there is no .*instances_train2017\.json: look at data\.root, data\.splits"
    ):
        open_directory(tmp_path).annotation_file("train")


def test_the_sample_is_a_directory_of_its_own(tmp_path):
    source = open_source(Data(source="sample"), tmp_path)
    assert [source.image_path(split, "a.jpg") for split in SPLITS] == [tmp_path / split / "a.jpg" for split in SPLITS]
    with pytest.raises(SegscopeError, match=r"there is no .*instances_val\.json"):
        source.annotation_file("val")


def test_cocos_years_are_fetched_and_have_no_folder_of_truth(tmp_path):
    source = open_source(Data(source="coco2014", images_url="http://mirror/coco/", cache_dir=str(tmp_path)), tmp_path)
    assert isinstance(source, CocoWeb)
    assert source.image_path("val", "a.jpg") == tmp_path / "coco2014" / "val2014" / "a.jpg"
    assert source.root is None


def chosen(small_coco: Path) -> tuple[Directory, pd.DataFrame]:
    """The directory, and its eight images as they are chosen; one of them is gone."""
    (small_coco / "val2017" / "000000000102.jpg").unlink()
    source = open_directory(small_coco)
    names = [("train", f"{i:012d}.jpg") for i in range(1, 5)] + [("val", f"{i:012d}.jpg") for i in range(101, 105)]
    images = pd.DataFrame(names, columns=["split", "file_name"])
    images["image_id"] = images["file_name"].str.partition(".")[0].astype(int)
    return source, images.assign(path=[source.image_path(*name).as_posix() for name in names])


def test_images_that_are_not_there_are_left_out_and_listed(small_coco):
    source, images = chosen(small_coco)
    found, missing = fetch_images(source, images, 1 / 8)
    assert found["image_id"].tolist() == [1, 2, 3, 4, 101, 103, 104]
    assert missing[["split", "image_id", "file_name", "reason", "detail"]].values.tolist() == [
        ["val", 102, "000000000102.jpg", "missing_file", f"not in {small_coco}/val2017"]
    ]


def test_more_missing_images_than_allowed_are_an_error_that_names_them(small_coco):
    source, images = chosen(small_coco)
    with pytest.raises(
        SegscopeError, match=r"of 8 images 1 are missing, more than data\.max_missing \(12\.00%\)"
    ) as error:
        require_images(*fetch_images(source, images, 0.12), 0.12)
    assert str(error.value).endswith(f"000000000102.jpg: not in {small_coco}/val2017")


def test_a_missing_image_s_near_miss_is_named_and_a_folder_is_told(small_coco):
    source, images = chosen(small_coco)
    (small_coco / "val2017" / "000000000102.JPG").touch()
    (small_coco / "val2017" / "000000000103.jpg").unlink()
    (small_coco / "val2017" / "000000000103.jpg").mkdir()
    _, missing = fetch_images(source, images, 1)
    assert missing["detail"].tolist() == [
        f"not in {small_coco}/val2017; there is '000000000102.JPG', in other case",
        "it is a folder",
    ]


def test_sizes_that_the_annotations_do_not_tell_are_those_of_the_files(small_coco):
    _, images = chosen(small_coco)
    turned = Image.Exif()
    turned[EXIF_ORIENTATION] = 6
    Image.new("RGB", (40, 30)).save(small_coco / "train2017" / "000000000002.jpg", exif=turned)
    images = images.assign(width=[0, 0, 7, 0, *[40] * 4], height=[0, 0, 7, 0, *[30] * 4])
    (small_coco / "train2017" / "000000000004.jpg").write_bytes(b"none")
    for exif, second in (("ignore", [40, 30]), ("apply", [30, 40])):
        known, unreadable = known_sizes(images, exif)
        assert known[["width", "height"]].values.tolist() == [[40, 30], second, [7, 7], *[[40, 30]] * 4]
        assert unreadable[["split", "image_id", "reason"]].values.tolist() == [["train", 4, "unreadable_image"]]


def test_what_was_planted_is_read_where_the_directory_says_it(tmp_path):
    row = {"image_id": 7, "split": "val", "planted": "missing", "annotation_id": None, "category_id": None}
    planted = pd.DataFrame([row | {"true_category_id": 3, "bbox": [1.0, 2.0, 3.0, 4.0]}])
    for root in (None, tmp_path):
        nothing, said = read_truth(root)
        assert nothing.empty
        assert said is None
        assert nothing.columns.tolist() == TRUTH.names
    write_parquet(tmp_path / "truth.parquet", planted, TRUTH)
    found, said = read_truth(tmp_path)
    assert found[["image_id", "planted", "true_category_id"]].values.tolist() == [[7, "missing", 3]]
    assert said is None


def test_a_file_of_the_users_own_that_is_called_as_that_of_planted_faults_is_said_and_left(tmp_path):
    pd.DataFrame({"image": ["a.jpg"], "true": ["car"]}).to_parquet(tmp_path / "truth.parquet")
    found, said = read_truth(tmp_path)
    assert found.empty
    assert "truth.parquet is not read: `segscope corrupt-labels` writes the faults it planted there" in said
