import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from segmentations import segmentation_rle

from segscope.artefacts.files import sha256_of
from segscope.artefacts.rle import bbox, decode_rle
from segscope.labels.metadata import photography
from segscope.sources.coco import read_coco
from segscope.sources.sample import FAULT_SHARE, FAULTS, GROUP_SHARES, draw_sample

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
        assert planted[[f for f in FAULTS if f in planted]].sum() == round(FAULT_SHARE * count)


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
            rows = coco.annotations[coco.annotations["image_id"] == fault.image_id]
            if fault.planted == "missing":
                assert pd.isna(fault.annotation_id)
                size = coco.images.set_index("image_id").loc[fault.image_id, ["height", "width"]]
                boxes = [bbox(decode_rle(counts, *size)) for counts in rles(rows, *size)]
                assert fault.bbox not in boxes
            else:
                found = rows.set_index("annotation_id")["category_id"]
                assert found[fault.annotation_id] == fault.category_id


def rles(rows: pd.DataFrame, height: int, width: int) -> list[str]:
    return [segmentation_rle(json.loads(bytes(s)), height, width) for s in rows["segmentation"]]


def test_crowds_are_annotated_as_coco_does(sample):
    root, truth = sample
    document = json.loads((root / "annotations" / "instances_train.json").read_text())
    crowded = set(truth.loc[(truth["planted"] == "crowd") & (truth["split"] == "train"), "image_id"])
    crowds = [a for a in document["annotations"] if a["iscrowd"]]
    assert {a["image_id"] for a in crowds} == crowded
    for a in crowds:
        assert isinstance(a["segmentation"]["counts"], list)
        height, width = a["segmentation"]["size"]
        assert decode_rle(segmentation_rle(a["segmentation"], height, width), height, width).sum() == a["area"]


def test_visible_masks_do_not_overlap_in_an_image_without_faults(sample):
    root, truth = sample
    coco = read_coco(root / "annotations" / "instances_train.json")
    assert coco.skipped.empty
    faulty = set(truth.loc[truth["planted"].isin(FAULTS), "image_id"])
    for row in coco.images[~coco.images["image_id"].isin(faulty)].itertuples():
        total = np.zeros((row.height, row.width), int)
        for counts in rles(coco.annotations[coco.annotations["image_id"] == row.image_id], row.height, row.width):
            total += decode_rle(counts, row.height, row.width)
        assert total.max() <= 1
