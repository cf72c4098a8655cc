import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import FlakyHandler
from PIL import Image

from segscope.coco import annotation_rle, decode_rle, read_coco
from segscope.errors import SegscopeError
from segscope.files import sha256_of
from segscope.metadata import photography
from segscope.params import Data
from segscope.sources import CocoMirror, draw_sample, open_source
from segscope.sources.sample import FAULTS, GROUP_SHARES

COUNTS = {"train": 50, "val": 25}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample")
    return root, draw_sample(root, COUNTS, seed=3)


def test_equal_seeds_draw_equal_files(sample, tmp_path):
    root, truth = sample
    again = draw_sample(tmp_path, COUNTS, seed=3)
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    assert len(files) == 77
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert all(sha256_of(root / f) == sha256_of(tmp_path / f) for f in files)
    pd.testing.assert_frame_equal(truth, again)


def test_another_seed_draws_another_sample(sample, tmp_path):
    draw_sample(tmp_path, {"train": 2}, seed=4)
    assert sha256_of(tmp_path / "train/000000000001.jpg") != sha256_of(sample[0] / "train/000000000001.jpg")


def test_groups_and_faults_are_planted_in_their_shares(sample):
    _, truth = sample
    for split, count in COUNTS.items():
        planted = truth.loc[truth["split"] == split, "planted"].value_counts()
        for group, share in GROUP_SHARES.items():
            assert planted[group] == round(share * count)
        assert planted[[f for f in FAULTS if f in planted]].sum() == round(0.08 * count)


def test_files_show_what_was_planted(sample):
    root, truth = sample
    by_group = truth.groupby("planted")["image_id"].apply(set)
    for row in read_coco(root / "annotations" / "instances_train.json").images.itertuples():
        with Image.open(root / "train" / row.file_name) as image:
            look = photography(image)
        assert image.size == (row.width, row.height)
        assert look["is_grayscale_file"] == (row.image_id in by_group["grayscale_file"])
        assert look["low_light"] == (row.image_id in by_group["low_light"])
        if row.image_id in by_group["colourless"]:
            assert look["is_gray"]


def test_faults_are_in_the_annotations(sample):
    root, truth = sample
    for split in COUNTS:
        coco = read_coco(root / "annotations" / f"instances_{split}.json")
        for fault in truth[(truth["split"] == split) & truth["planted"].isin(FAULTS)].itertuples():
            rows = {a["id"]: a for a in coco.annotations[fault.image_id]}
            if fault.planted == "missing":
                assert pd.isna(fault.annotation_id)
                assert not any(a["bbox"] == fault.bbox for a in rows.values())
            else:
                assert rows[fault.annotation_id]["category_id"] == fault.category_id
                assert (fault.category_id == fault.true_category_id) == (fault.planted == "inaccurate")
                assert (rows[fault.annotation_id]["bbox"] == fault.bbox) == (fault.planted != "inaccurate")


def test_crowds_are_uncompressed_rle_as_in_coco(sample):
    root, truth = sample
    coco = read_coco(root / "annotations" / "instances_train.json")
    crowded = set(truth.loc[(truth["planted"] == "crowd") & (truth["split"] == "train"), "image_id"])
    crowds = [a for rows in coco.annotations.values() for a in rows if a["iscrowd"]]
    assert {a["image_id"] for a in crowds} == crowded
    sizes = coco.images.set_index("image_id")
    for a in crowds:
        assert isinstance(a["segmentation"]["counts"], list)
        height, width = sizes.loc[a["image_id"], ["height", "width"]]
        rle = annotation_rle(a, int(height), int(width))
        assert decode_rle(rle["counts"], int(height), int(width)).sum() == a["area"]


def test_visible_masks_do_not_overlap_in_an_image_without_faults(sample):
    root, truth = sample
    coco = read_coco(root / "annotations" / "instances_train.json")
    faulty = set(truth.loc[truth["planted"].isin(FAULTS), "image_id"])
    for row in coco.images[~coco.images["image_id"].isin(faulty)].itertuples():
        total = np.zeros((row.height, row.width), int)
        for a in coco.annotations[row.image_id]:
            total += decode_rle(annotation_rle(a, row.height, row.width)["counts"], row.height, row.width)
        assert total.max() <= 1


def test_a_directory_is_indexed_in_place(small_coco, tmp_path):
    source = open_source(Data(source="directory", root=str(small_coco)), tmp_path / "unused")
    assert source.annotation_file("val") == small_coco / "annotations" / "instances_val2017.json"
    source.fetch("val", ["000000000101.jpg"])
    with pytest.raises(SegscopeError, match=r"1 images .* are not in .*val2017, among them gone\.jpg"):
        source.fetch("val", ["000000000101.jpg", "gone.jpg"])


def test_a_root_that_is_no_directory_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match=r"data\.root: .* is not a directory"):
        open_source(Data(source="directory", root=str(tmp_path / "nowhere")), tmp_path)


def test_coco_is_fetched_over_http_once(mirror, tmp_path):
    url, served = mirror
    source = CocoMirror(url, "2017", tmp_path / "cache")
    coco = read_coco(source.annotation_file("train"))
    names = coco.images["file_name"].tolist()[:3]
    source.fetch("train", names)
    fetched = sorted(p.name for p in source.image_folder("train").iterdir())
    assert fetched == names
    for name in names:
        assert (source.image_folder("train") / name).read_bytes() == (served / "train2017" / name).read_bytes()
    before = len(FlakyHandler.requests)
    source.annotation_file("train")
    source.fetch("train", names)
    assert len(FlakyHandler.requests) == before
    assert not list(tmp_path.rglob("escaped.txt"))


def test_an_image_that_cannot_be_had_is_named(mirror, tmp_path):
    url, served = mirror
    broken = served / "val2017" / "000000000102.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    source = CocoMirror(url, "2017", tmp_path / "cache")
    with pytest.raises(SegscopeError, match=r"(?s)2 of 3 images .*000000000102\.jpg.*gone\.jpg.*404"):
        source.fetch("val", ["000000000101.jpg", "000000000102.jpg", "gone.jpg"])
    assert [p.name for p in source.image_folder("val").iterdir()] == ["000000000101.jpg"]


def test_an_archive_that_is_not_cocos_is_an_error(mirror, tmp_path):
    url, served = mirror
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", json.dumps({}))
    (served / "annotations" / "annotations_trainval2017.zip").write_bytes(buffer.getvalue())
    with pytest.raises(SegscopeError, match="is not COCO's annotations archive"):
        CocoMirror(url, "2017", tmp_path / "cache").annotation_file("train")
