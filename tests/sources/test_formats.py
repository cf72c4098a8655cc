"""Folders of drawn images, in each format, as tables."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from segmentations import segmentation_rle

from segscope.artefacts.rle import decode_rle
from segscope.errors import SegscopeError
from segscope.params import Data
from segscope.sources import label_files
from segscope.sources.coco import CocoSplit
from segscope.sources.formats import read_splits, read_undivided
from segscope.sources.source import open_source
from segscope.taxonomy import IGNORE


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


LAYOUT = {"annotations": "labels/{split}", "images": "images/{split}", "splits": {"train": "train", "val": "val"}}
MASK = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 0, 255, 255]], np.uint8)


def data_of(root: Path, kind: str, **changes: object) -> Data:
    return Data.model_validate({"source": "directory", "root": str(root), "format": kind} | LAYOUT | changes)


def read(root: Path, kind: str, split: str = "train", **changes: object) -> CocoSplit:
    data = data_of(root, kind, **changes)
    return read_undivided(open_source(data, root), (split,), data)[split]


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(pixels) if mode is None else Image.fromarray(pixels).convert(mode)).save(path)


def picture(path: Path, height: int = 3, width: int = 4) -> None:
    save(path, np.full((height, width, 3), 90, np.uint8))


def shown(found: CocoSplit, file_name: str) -> dict[tuple[str | int, int], np.ndarray]:
    """The masks of an image's annotations, by the category's name, or its id where it is none, and annotation id."""
    image = found.images.set_index("file_name").loc[file_name]
    names = dict(zip(found.categories["category_id"], found.categories["name"], strict=True))
    rows = found.annotations[found.annotations["image_id"] == image["image_id"]]
    return {
        (names.get(r.category_id, r.category_id), r.annotation_id): decode_rle(
            segmentation_rle(json.loads(bytes(r.segmentation)), image["height"], image["width"]),
            image["height"],
            image["width"],
        )
        for r in rows.itertuples()
    }


def skipped(found: CocoSplit) -> list[tuple[str | None, str]]:
    table = found.skipped
    return sorted(zip(table["file_name"].fillna(""), table["reason"], strict=True))


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """One image whose mask is MASK, of cats and dogs."""
    picture(tmp_path / "images/train/a.jpg")
    save(tmp_path / "labels/train/a.png", MASK)
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    return tmp_path


def test_each_component_of_a_class_is_an_annotation_and_255_is_ignored(masks):
    found = read(masks, "masks")
    assert found.categories[["category_id", "name"]].values.tolist() == [[1, "cat"], [2, "dog"]]
    outlines = shown(found, "a.jpg")
    assert list(outlines) == [(IGNORE, 0), ("cat", 1), ("cat", 2), ("dog", 3)]
    assert outlines["cat", 1].tolist() == ((MASK == 1) & (np.arange(3)[:, None] == 0)).tolist()
    assert outlines["cat", 2].tolist() == ((MASK == 1) & (np.arange(3)[:, None] == 2)).tolist()
    assert (outlines["dog", 3] == (MASK == 2)).all()
    assert (outlines[IGNORE, 0] == (MASK == 255)).all()
    assert found.annotations["iscrowd"].tolist() == [True, False, False, False]
    assert skipped(found) == []


def test_of_a_palette_the_indices_count(masks):
    palette = Image.fromarray(MASK, "P")
    palette.putpalette([7, 7, 7] * 256)
    palette.save(masks / "labels/train/a.png")
    assert list(shown(read(masks, "masks"), "a.jpg")) == [(IGNORE, 0), ("cat", 1), ("cat", 2), ("dog", 3)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_in_three_channels_and_sixteen_bits_are_read(masks, dtype):
    wide = MASK.astype(dtype)
    save(masks / "labels/train/a.png", np.stack([wide] * 3, axis=2) if dtype == np.uint8 else wide)
    assert len(read(masks, "masks").annotations) == 4


def test_a_table_may_name_0_and_255_and_what_is_to_be_ignored(masks):
    (masks / "classes.txt").write_text("0 road\n1 void\n2 unlabeled\n255 cat\n")
    found = read(masks, "masks")
    assert sorted(found.categories["name"]) == ["cat", "road"]
    assert [name for name, _ in shown(found, "a.jpg")] == [IGNORE, "road", "cat"]
    assert (shown(found, "a.jpg")[IGNORE, 0] == (MASK == 1)).all()


def test_values_that_the_table_lacks_are_unknown_categories(masks):
    (masks / "classes.txt").write_text("background\ncat\n")
    found = read(masks, "masks")
    assert found.skipped[["annotation_id", "reason"]].values.tolist() == [[3, "unknown_category"]]


def test_what_has_no_counterpart_or_cannot_be_read_is_listed(masks):
    for name in ("none", "colours", "broken", "sub/b"):
        picture(masks / f"images/train/{name}.jpg")
    save(masks / "labels/train/sub/b.png", MASK)
    save(masks / "labels/train/alone.png", MASK)
    save(masks / "labels/train/colours.png", np.dstack([MASK, MASK, MASK * 0]))
    (masks / "labels/train/broken.png").write_bytes(b"no picture")
    (masks / "labels/train/a.txt").write_text("no mask")
    found = read(masks, "masks")
    assert sorted(found.images["file_name"]) == ["a.jpg", "sub/b.jpg"]
    assert skipped(found) == [
        ("alone.png", "unknown_image"),
        ("broken.jpg", "bad_label"),
        ("colours.jpg", "bad_label"),
        ("none.jpg", "missing_label"),
    ]
    assert "export class indices" in found.skipped["detail"].str.cat()


def test_masks_may_lie_beside_the_images_under_another_name(tmp_path):
    for name in ("0001", "b"):
        picture(tmp_path / f"train/{name}.png")
        save(tmp_path / f"train/{name}_mask.png", MASK)
    (tmp_path / "train/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    found = read(tmp_path, "masks", annotations="{split}", images="{split}")
    assert found.images.set_index("file_name")["source_id"].to_dict() == {"0001.png": "1", "b.png": "b"}
    assert len(found.annotations) == 8
    assert skipped(found) == []


def test_images_of_one_name_keep_apart(masks):
    picture(masks / "images/train/sub/a.jpg")
    save(masks / "labels/train/sub/a.png", MASK)
    found = read(masks, "masks")
    assert sorted(found.images["source_id"]) == ["a.jpg", "sub/a.jpg"]
    assert found.images["image_id"].is_unique


def test_images_whose_own_names_end_as_those_of_masks_have_masks_of_their_names(masks):
    for name, value in (("s_L", 1), ("s_P", 2), ("s", 1)):
        picture(masks / f"images/train/{name}.jpg")
        save(masks / f"labels/train/{name}_mask.png", np.full((3, 4), value, np.uint8))
    found = read(masks, "masks")
    kinds = {name: {kind for kind, _ in shown(found, f"{name}.jpg")} for name in ("s_L", "s_P", "s")}
    assert kinds == {"s_L": {"cat"}, "s_P": {"dog"}, "s": {"cat"}}
    assert skipped(found) == []


def test_masks_of_0_and_255_alone_are_an_error_unless_the_table_has_255(masks):
    save(masks / "labels/train/a.png", np.where(MASK == 1, 255, 0).astype(np.uint8))
    with pytest.raises(SegscopeError, match=r"0 and 255 alone.* add 255 there"):
        read(masks, "masks")
    (masks / "classes.txt").write_text("0 background\n255 cat\n")
    assert [name for name, _ in shown(read(masks, "masks"), "a.jpg")] == ["cat", "cat"]


def test_a_pipe_is_no_label_file(masks, monkeypatch):
    """It would be waited for without end."""
    for name in ("labels/train/b.png", "labels/train/a.txt"):
        os.mkfifo(masks / name)
    picture(masks / "images/train/b.jpg")
    assert skipped(read(masks, "masks")) == [("b.jpg", "bad_label")]
    monkeypatch.setattr(label_files, "MAX_LABEL_BYTES", 40)
    (masks / "labels/train/b.txt").write_text("0 0.1 0.1 0.3 0.1 0.3 0.5\n" * 2)
    found = read(masks, "yolo")
    assert skipped(found) == [("a.jpg", "malformed"), ("b.jpg", "malformed")]
    assert found.annotations.empty


@pytest.mark.parametrize("kind", ["masks", "yolo"])
def test_a_folder_that_is_not_there_is_an_error(masks, kind):
    with pytest.raises(SegscopeError, match=r"there is no folder .*elsewhere/train: look at .* `segscope inspect`"):
        read(masks, kind, annotations="elsewhere/{split}")


@pytest.fixture
def panoptic(tmp_path: Path) -> Path:
    """One image of a cat (a segment number beyond 8 bits), a crowd of dogs, and two pixels of nothing."""
    picture(tmp_path / "images/train/a.jpg")
    numbers = np.where(MASK == 1, 70000, np.where(MASK == 2, 300, np.where(MASK == 0, 9, 0)))
    save(
        tmp_path / "panoptic_train/a.png", np.dstack([numbers % 256, numbers // 256 % 256, numbers >> 16]).astype("u1")
    )
    segments = [
        {"id": 70000, "category_id": 1},
        {"id": 300, "category_id": 2, "iscrowd": 1},
        {"id": 9, "category_id": 8, "iscrowd": 0},
    ]
    document = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 4, "height": 3, "video": "v"}],
        "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": i, "name": name, "isthing": 1} for i, name in ((1, "cat"), (2, "dog"), (8, "grass"))],
    }
    (tmp_path / "panoptic_train.json").write_text(json.dumps(document))
    return tmp_path


def changed(root: Path, change: object) -> CocoSplit:
    file = root / "panoptic_train.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    return read(root, "panoptic", annotations="panoptic_{split}.json")


def test_each_segment_is_an_annotation_and_pixels_of_none_are_ignored(panoptic):
    found = read(panoptic, "panoptic", annotations="panoptic_{split}.json", group="video")
    outlines = shown(found, "a.jpg")
    assert list(outlines) == [(IGNORE, 0), ("grass", 9), ("dog", 300), ("cat", 70000)]
    for outline, value in zip(outlines.values(), (255, 0, 2, 1), strict=True):
        assert (outline == np.equal(MASK, value)).all()
    assert found.annotations["iscrowd"].tolist() == [True, False, True, False]
    assert found.images["group"].tolist() == ["v"]


def test_where_most_pixels_are_of_no_segment_they_are_background(panoptic):
    found = changed(panoptic, lambda d: d["annotations"][0]["segments_info"].pop())
    assert [name for name, _ in shown(found, "a.jpg")] == ["dog", "cat"]
    assert "58% of the pixels are of no segment, and taken as background" in found.notes[0]


def test_one_image_of_no_segments_does_not_make_all_background(panoptic):
    """Half of one image among two others is less than half of all pixels."""
    whole = np.full((20, 30), 7)
    for name in ("b", "c"):
        png = Image.fromarray(np.dstack([whole, 0 * whole, 0 * whole]).astype("u1"))
        png.save(panoptic / f"panoptic_train/{name}.png")
        picture(panoptic / f"train/{name}.jpg", 20, 30)

    def change(document: dict) -> None:
        document["annotations"][0]["segments_info"].pop()
        for number, name in enumerate(("b", "c"), start=50):
            document["images"].append(document["images"][0] | {"id": number, "file_name": f"{name}.jpg"})
            segment = document["annotations"][0]["segments_info"][0] | {"id": 7}
            row = {"image_id": number, "file_name": f"{name}.png", "segments_info": [segment]}
            document["annotations"].append(row)

    found = changed(panoptic, change)
    assert not any("taken as background" in note for note in found.notes)
    assert (found.annotations["category_id"] == 255).sum() == 1


@pytest.mark.parametrize(("void", "ignored"), [(6, 0), (2, 1)])
def test_pixels_of_no_segment_are_background_in_both_splits_or_in_none(panoptic, void, ignored):
    """Of twelve pixels, train's seven are of no segment; `void` of val's are: more than half of both, or not."""
    document = json.loads((panoptic / "panoptic_train.json").read_text())
    document["annotations"][0]["segments_info"].pop()
    (panoptic / "panoptic_train.json").write_text(json.dumps(document))
    (panoptic / "panoptic_val.json").write_text(json.dumps(document))
    numbers = np.where(np.arange(12) < void, 0, 300).reshape(3, 4)
    save(panoptic / "panoptic_val/a.png", np.dstack([numbers % 256, numbers // 256, 0 * numbers]).astype("u1"))
    data = data_of(panoptic, "panoptic", annotations="panoptic_{split}.json")
    found = read_splits(open_source(data, panoptic), data)
    assert [(each.annotations["category_id"] == IGNORE).sum() for each in found.values()] == [ignored] * 2
    said = [sum("54% of the pixels" in note for note in each.notes) for each in found.values()]
    assert said == [1 - ignored, 0]


def test_of_a_panoptic_file_what_cannot_be_meant_is_listed(panoptic):
    def change(document: dict) -> None:
        (row,) = document["annotations"]
        for i, name in enumerate(("gone.png", "../../etc/a.png", None), start=6):
            document["images"].append({"id": i, "file_name": f"{i}.jpg", "width": 4, "height": 3})
            document["annotations"].append(row | {"image_id": i, "file_name": name})
        document["images"].append({"id": 9, "file_name": "9.jpg", "width": 4, "height": 3})
        row["segments_info"] += [
            {"id": 4, "category_id": 1},
            {"id": None, "category_id": 1},
            {"id": 3, "category_id": 77},
        ]

    found = changed(panoptic, change)
    assert found.images["file_name"].tolist() == ["a.jpg"]
    assert sorted(found.skipped["reason"]) == [
        *["bad_label"] * 2,
        "malformed",
        *["missing_label"] * 2,
        "unknown_category",
    ]
    assert not shown(found, "a.jpg")["cat", 4].any()  # left out, and listed, by the next stage


def test_a_segment_numbered_0_does_not_take_the_number_of_what_is_ignored(panoptic):
    def change(document: dict) -> None:
        document["annotations"][0]["segments_info"].append({"id": 0, "category_id": 1})

    found = changed(panoptic, change)
    assert not found.annotations.duplicated(["image_id", "annotation_id"]).any()
    assert (shown(found, "a.jpg")[IGNORE, -1] == np.equal(MASK, 255)).all()


def test_a_file_of_instances_is_no_panoptic_one(panoptic):
    with pytest.raises(SegscopeError, match="not a COCO panoptic file: no annotation has file_name and segments_info"):
        changed(panoptic, lambda d: d.update(annotations=[{"image_id": 5, "segmentation": []}]))


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """One image of 40 × 20 pixels: a cat and a dog, and another of nothing."""
    for name in ("a", "empty"):
        picture(tmp_path / f"images/train/{name}.jpg", 20, 40)
    (tmp_path / "labels/train").mkdir(parents=True)
    lines = "0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5\n\n1 0.5 0.5 1.02 0.5 1.02 1 0.5 1\n"
    (tmp_path / "labels/train/a.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text("path: ../elsewhere\ntrain: images/train\nnames: {0: cat, 1: dog}\n")
    return tmp_path


def test_outlines_are_fractions_of_the_images_sides(yolo):
    found = read(yolo, "yolo")
    assert found.images[["file_name", "width", "height"]].sort_values("file_name").values.tolist() == [
        ["a.jpg", 40, 20],
        ["empty.jpg", 40, 20],
    ]
    outlines = shown(found, "a.jpg")
    rows, columns = np.mgrid[:20, :40]
    assert (outlines["cat", 1] == ((rows >= 2) & (rows < 10) & (columns >= 4) & (columns < 12))).all()
    assert (outlines["dog", 3] == ((rows >= 10) & (columns >= 20))).all()  # it may reach out of the frame
    assert shown(found, "empty.jpg") == {}
    assert skipped(found) == []


def test_labels_are_those_that_are_called_as_the_image_is(yolo):
    """Names with what exporters put behind those of masks, and such as other text files have."""
    for name, kind in (("s_L", 0), ("s_P", 1), ("train", 0)):
        picture(yolo / f"images/train/{name}.jpg", 20, 40)
        (yolo / f"labels/train/{name}.txt").write_text(f"{kind} 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5\n")
    picture(yolo / "images/train/a_L.jpg", 20, 40)  # a.txt is a.jpg's
    found = read(yolo, "yolo")
    kinds = {name: {kind for kind, _ in shown(found, f"{name}.jpg")} for name in ("s_L", "s_P", "train", "a", "a_L")}
    assert kinds == {"s_L": {"cat"}, "s_P": {"dog"}, "train": {"cat"}, "a": {"cat", "dog"}, "a_L": set()}
    assert skipped(found) == []


def test_the_label_of_a_picture_that_is_gone_is_not_that_of_another(yolo):
    picture(yolo / "images/train/s_L.jpg", 20, 40)
    (yolo / "labels/train/s_P.txt").write_text("0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5\n")
    found = read(yolo, "yolo")
    assert shown(found, "s_L.jpg") == {}
    assert skipped(found) == [("s_P.txt", "unknown_image")]


def test_an_outline_within_a_pixel_of_the_corner_is_not_one_of_the_whole_image(yolo):
    (yolo / "labels/train/a.txt").write_text("0 0 0 0.02 0 0.02 0.04 0 0.04\n")
    found = read(yolo, "yolo")
    assert found.annotations.empty
    assert skipped(found) == [("a.jpg", "no_pixels")]


@pytest.mark.parametrize(("height", "width", "pixels"), [(480, 1, None), (2, 2, 1)])
def test_an_outline_of_a_pixel_is_so_however_narrow_the_picture_is(yolo, height, width, pixels):
    """Listed where it could be one of fractions, and else the pixel in the corner."""
    picture(yolo / "images/train/narrow.png", height, width)
    outline = (0, 0, 1 / width, 0, 1 / width, 1 / height, 0, 1 / height)
    (yolo / "labels/train/narrow.txt").write_text(" ".join(map(str, (0, *outline))))
    found = read(yolo, "yolo")
    covered = [int(mask.sum()) for mask in shown(found, "narrow.png").values()]
    assert covered == ([pixels] if pixels else [])
    assert skipped(found) == ([] if pixels else [("narrow.png", "no_pixels")])


def test_of_yolos_labels_what_cannot_be_meant_is_listed(yolo):
    with (yolo / "labels/train/a.txt").open("a") as file:
        file.write("cat 0.1 0.1 0.3 0.1 0.3 0.5\n7 0.1 0.1 0.3 0.1 0.3 0.5\n0\n0 0.5 0.5 0.2 0.2\n")
    (yolo / "labels/train/alone.txt").write_text("0 0.1 0.1 0.3 0.1 0.3 0.5\n")
    (yolo / "images/train/broken.jpg").write_bytes(b"no picture")
    found = read(yolo, "yolo")
    assert skipped(found) == [
        ("", "unknown_category"),
        ("a.jpg", "malformed"),
        ("a.jpg", "malformed"),
        ("alone.txt", "unknown_image"),
    ]
    assert found.skipped.query("reason == 'malformed'")["annotation_id"].tolist() == [4, 6]
    assert found.images["file_name"].tolist().count("broken.jpg") == 1  # told when it is chosen
    box = found.annotations.query("annotation_id == 7")["segmentation"].iloc[0]
    with pytest.raises(SegscopeError, match="fewer than three points"):  # which lists it
        segmentation_rle(json.loads(bytes(box)), 20, 40)


def test_what_is_not_split_is_divided_by_a_hash_of_each_image(tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 4, "height": 4, "video": i // 2} for i in range(1, 401)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]} for i in range(1, 402)
    ]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "all.json").write_text(json.dumps(document))

    def parts(**changes: object) -> tuple[CocoSplit, CocoSplit]:
        data = data_of(tmp_path, "coco", val_share=0.25, annotations="all.json", images=".", **changes)
        found = read_splits(open_source(data, tmp_path), data)
        return found["train"], found["val"]

    train, val = parts()
    assert 70 <= len(val.images) <= 130  # of 400; 100 ± 3.4 standard deviations
    assert set(train.images["image_id"]) | set(val.images["image_id"]) == set(range(1, 401))
    for part in (train, val):
        assert sorted(part.annotations["image_id"]) == sorted(part.images["image_id"])
    assert pd.concat([train.skipped, val.skipped])["reason"].tolist() == ["unknown_image"]
    document["images"] = images[:300]
    (tmp_path / "all.json").write_text(json.dumps(document))
    assert set(parts()[1].images["image_id"]) == {i for i in val.images["image_id"] if i <= 300}
    assert set(parts(seed=1)[1].images["image_id"]) != set(parts()[1].images["image_id"])
    grouped = parts(group="video")
    assert not set(grouped[0].images["group"]) & set(grouped[1].images["group"])


def test_what_is_not_split_needs_a_share():
    with pytest.raises(ValueError, match=r"a path that holds \{split\}.*or set data\.val_share"):
        Data(annotations="all.json")
    with pytest.raises(ValueError, match=r"a path without \{split\}; or set data\.val_share to null"):
        Data(val_share=0.2)
