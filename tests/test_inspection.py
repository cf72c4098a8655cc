"""What `segscope inspect` says of a folder. That its command runs: tests/pipeline/test_label_formats.py."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import square
from PIL import Image

from segscope.artefacts.images import EXIF_ORIENTATION
from segscope.cli import main
from segscope.inspection import quoted, variant_of
from segscope.sources.layouts import Layout, find_layouts, split_of


def said(folder: Path, capsys: pytest.CaptureFixture) -> list[str]:
    assert main(["inspect", str(folder)]) == 0
    return capsys.readouterr().out.splitlines()


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_ten_lines_say_what_a_folder_holds_and_nothing_is_written(small_coco, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    assert said(small_coco, capsys) == [
        f"{small_coco}: COCO instances",
        "train: 4 images in train2017, labels in annotations/instances_train2017.json; 4 annotations; 1 images without",
        "val: 4 images in val2017, labels in annotations/instances_val2017.json; 4 annotations; 1 images without",
        "categories: 4, 2 with annotations: person 4, car 4",
        "image sizes: 40×30 (8 of 8)",
        "left out of train: nothing found",
        "left out of val: nothing found",
        "to use it, in the project's folder:",
        f"dvc exp run -n mine -S data.source=directory -S data.root={small_coco} -S data.format=coco "
        "-S data.splits.train=train2017 -S data.splits.val=val2017 "
        "-S 'data.annotations=\"annotations/instances_{split}.json\"' -S 'data.images=\"{split}\"'",
    ]
    assert files(tmp_path) == before


def test_what_would_be_left_out_is_said_with_its_reason(small_coco, capsys):
    file = small_coco / "annotations" / "instances_val2017.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["segmentation"] = [[1, 2, 3, 4]]
    document["annotations"][1]["image_id"] = 77
    document["images"][1]["width"] = 41
    document["images"].append({"id": 9, "file_name": "../../x.jpg", "width": 4, "height": 3})
    file.write_text(json.dumps(document))
    (small_coco / "train2017" / "000000000002.jpg").unlink()
    broken = small_coco / "train2017" / "000000000001.jpg"
    broken.write_bytes(b"no picture")
    train, val = (line for line in said(small_coco, capsys) if line.startswith("left out"))
    assert train.startswith("left out of train: 1 missing_file, 1 unreadable_image; ")
    assert "a run would stop, for data.max_missing allows 1% of the images; " in train
    assert "1 bad_segmentation, 1 size_mismatch, 1 unknown_image, 1 unsafe_file_name" in val
    assert val.endswith("a run would stop, for data.max_unusable allows 10% of the images and annotations")


@pytest.mark.parametrize(
    ("size", "words", "override"),
    [
        ((40, 30), "their labels are of the pictures as stored", False),
        ((30, 40), "their labels are of the pictures as shown, so data.exif is apply", True),
    ],
)
def test_exif_orientations_are_counted_and_what_labels_are_of_is_seen(small_coco, capsys, size, words, override):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    for path in list(small_coco.glob("*/*.jpg"))[:3]:
        with Image.open(path) as image:
            image.load()
        image.save(path, exif=exif)
    for path in small_coco.glob("*/*.json"):
        document = json.loads(path.read_text())
        for image in document["images"]:
            image["width"], image["height"] = size
        path.write_text(json.dumps(document))
    lines = said(small_coco, capsys)
    assert f"EXIF: 3 of 8 images have an orientation; {words}" in lines
    assert lines[-1].endswith(" -S data.exif=apply") == override


def picture(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((30, 40), np.uint8)
    values[4:20, 5:15] = 1
    Image.fromarray(values).save(path)


def outline(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")


SPLIT = ("train", "val")


def roboflow_masks(root: Path) -> None:
    for split in ("train", "valid", "test"):
        picture(root / split / "x.jpg")
        mask(root / split / "x_mask.png")
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n")


def cityscapes(root: Path) -> None:
    for split, town in (("train", "aachen"), ("train", "ulm"), ("val", "lindau")):
        picture(root / f"leftImg8bit/{split}/{town}/{town}_000001_000019_leftImg8bit.png")
        mask(root / f"gtFine/{split}/{town}/{town}_000001_000019_gtFine_labelIds.png")


def voc(root: Path) -> None:
    picture(root / "JPEGImages/2007_000032.jpg")
    mask(root / "SegmentationClass/2007_000032.png")
    (root / "ImageSets").mkdir()
    (root / "ImageSets/train.txt").write_text("2007_000032\n")


def yolo_train(root: Path) -> None:
    for split in SPLIT:
        picture(root / f"images/{split}/x.png", "L")
        outline(root / f"labels/{split}/x.txt")
    (root / "data.yaml").write_text("names: [cat]\n")


def yolo_valid(root: Path) -> None:
    for split in ("train", "valid"):
        picture(root / f"{split}/images/x.jpg")
        outline(root / f"{split}/labels/x.txt")
        (root / "README.dataset.txt").write_text("1 2 3 4 5\n")


def label_studio_yolo(root: Path) -> None:
    picture(root / "images/x.jpg")
    outline(root / "labels/x.txt")
    (root / "classes.txt").write_text("cat\n")


def darknet(root: Path) -> None:
    picture(root / "obj_train_data/x.jpg")
    outline(root / "obj_train_data/x.txt")


def coco_2017(root: Path) -> None:
    for split in ("train2017", "val2017"):
        picture(root / f"images/{split}/x.jpg")
        row = {"id": 1, "image_id": 1, "category_id": 1}
        for kind, more in (
            ("captions", {"caption": "x"}),
            ("instances", {"segmentation": square(1, 1, 4)}),
            ("person_keypoints", {"segmentation": square(1, 1, 4)}),
            ("panoptic", {"segments_info": []}),
        ):
            document = {"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": [row | more], "categories": []}
            path = root / f"annotations/{kind}_{split}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (roboflow_masks, Layout("masks", ("train", "valid"), "{split}", "{split}")),
        (cityscapes, Layout("masks", SPLIT, "gtFine/{split}", "leftImg8bit/{split}")),
        (voc, Layout("masks", None, "SegmentationClass", "JPEGImages")),
        (yolo_train, Layout("yolo", SPLIT, "labels/{split}", "images/{split}")),
        (yolo_valid, Layout("yolo", ("train", "valid"), "{split}/labels", "{split}/images")),
        (label_studio_yolo, Layout("yolo", None, "labels", "images")),
        (darknet, Layout("yolo", None, "obj_train_data", "obj_train_data")),
        (
            coco_2017,
            Layout("coco", ("train2017", "val2017"), "annotations/instances_{split}.json", "images/{split}"),
        ),
    ],
)
def test_layouts_are_found(tmp_path, make, layout):
    make(tmp_path)
    found = find_layouts(tmp_path)
    assert found[0] == layout
    assert not any("captions" in other.annotations for other in found)


def test_folders_may_be_links_and_links_may_lead_in_circles(tmp_path):
    yolo_train(tmp_path / "there")
    (tmp_path / "here").mkdir()
    for name in ("images", "labels"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "images" / "train" / "up").symlink_to(tmp_path / "there" / "images")
    assert find_layouts(tmp_path / "here") == [Layout("yolo", SPLIT, "labels/{split}", "images/{split}")]


def test_other_labels_are_mentioned(tmp_path, small_coco, capsys):
    picture(small_coco / "masks" / "images" / "x.jpg")
    mask(small_coco / "masks" / "labels" / "x.png")
    (small_coco / "annotations" / "more.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert "also there, and not looked at: COCO instances in annotations/more.json" in said(small_coco, capsys)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("annotations/instances_train2017.json", ("train", "train2017", "annotations/instances_{split}.json")),
        ("train/instances_train.json", ("train", "train", "{split}/instances_{split}.json")),
        ("Validation/x", ("val", "Validation", "{split}/x")),
        ("trainannot", ("train", "train", "{split}annot")),
        ("my-test set", ("test", "test", "my-{split} set")),
        ("values/interval_labelTrainIds/trainer", None),
    ],
)
def test_a_path_may_name_a_split(path, expected):
    assert split_of(path) == expected


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda root: None, "of files there are none"),
        (lambda root: picture(root / "a.jpg"), "of files there are 1 .jpg"),
        (
            lambda root: [picture(root / name) for name in ("images/a.jpg", "masks/a_mask.png")],
            "masks holds pictures called like those of another folder; if they are masks, they are of colours",
        ),
        (
            lambda root: yolo_valid(root),
            "looks like YOLO segmentation in {split}/labels, but what the values in .* mean is said nowhere",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_an_error(tmp_path, capsys, fill, message):
    (tmp_path / "data").mkdir()
    fill(tmp_path / "data")
    assert main(["inspect", str(tmp_path / "data")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message.replace("{", r"\{"), error)


def test_a_folder_that_is_not_there_is_an_error(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "gone")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'gone'} is not a directory\n"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["person", "car", "dog"], []),
        (["Person ", "CAR"], []),
        (["person", "dog"], [("+variants.mine", "{person:[person],dog:[dog]}"), ("data.contains", "[person,dog]")]),
        (["true", "7"], [("+variants.mine", '{class_1:["true"],class_2:["7"]}'), ("data.contains", '["true","7"]')]),
        (["a b", "é"], [("+variants.mine", '{a_b:["a b"],class_2:["é"]}'), ("data.contains", '["a b","é"]')]),
        (["x_low"], [("+variants.mine", "{class_1:[x_low]}"), ("data.contains", "[x_low]")]),
        ([], []),
    ],
)
def test_a_variant_is_proposed_where_person_and_car_are_not_there(names, expected):
    categories = pd.DataFrame({"category_id": range(1, len(names) + 1), "name": names, "supercategory": names})
    found = variant_of(categories, names)
    assert [pair for pair in found if pair[0] != "variant"] == expected
    assert ("variant", "mine") in found or not expected


@pytest.mark.parametrize(
    "text", ["a b", 'say "x"', "back\\slash\\", '\\"', "it's", "{split}/x", "a=b,c", "7", "null", "é", "a: b"]
)
def test_quoted_text_comes_back_from_an_override(text, tmp_path):
    from dvc.utils.hydra import apply_overrides
    from ruamel.yaml import YAML

    (tmp_path / "params.yaml").write_text("key: x\n")
    apply_overrides(os.fspath(tmp_path / "params.yaml"), [f"key={quoted(text)}"])
    assert YAML(typ="safe").load((tmp_path / "params.yaml").read_text()) == {"key": text}


@pytest.mark.parametrize("name", ["anno\ntations", os.fsdecode(b"anno\xfctations")])
def test_a_folder_whose_name_no_param_can_hold_is_an_error(small_coco, capsys, name):
    (small_coco / "annotations").rename(small_coco / name)
    assert main(["inspect", str(small_coco)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
