import json

import numpy as np
import pandas as pd
import pytest
from conftest import coco_document, square
from pycocotools.coco import COCO

from segscope.artefacts import schemas, tables
from segscope.cli import main
from segscope.errors import SegscopeError
from segscope.sources.coco import read_coco
from segscope.suspects.corruption import corrupt_directory

VARIANT = {"person": ["person"], "car": ["car"]}
VARIANTS = [VARIANT, {"person": ["person"], "vehicle": ["vehicle"]}]
FILES = {"train": "annotations/a.json", "val": "annotations/b.json"}


@pytest.fixture
def root(tmp_path):
    """Sixteen images a split, each with a person, a car, a bus, a dog, a small person and a crowd."""
    for number, (split, name) in enumerate(FILES.items()):
        (tmp_path / "coco" / split).mkdir(parents=True)
        (tmp_path / "coco" / "annotations").mkdir(exist_ok=True)
        images, annotations = [], []
        for i in range(16):
            image_id = 100 * number + i + 1
            (tmp_path / "coco" / split / f"{image_id}.jpg").write_bytes(b"picture")
            images.append({"id": image_id, "file_name": f"{image_id}.jpg", "width": 200, "height": 100})
            shown = [(1, 5, 30, 0), (3, 40, 30, 0), (6, 80, 30, 0), (18, 120, 30, 0), (1, 160, 5, 0), (1, 170, 28, 1)]
            for n, (category, left, side, crowd) in enumerate(shown):
                segmentation = square(left, 20, side)
                if crowd:
                    segmentation = {"size": [100, 200], "counts": [0, 2800, 17200]}
                annotations.append(
                    {
                        "id": 10 * image_id + n,
                        "image_id": image_id,
                        "category_id": category,
                        "iscrowd": crowd,
                        "segmentation": segmentation,
                        "bbox": [left, 20, side, side],
                        "area": side**2,
                    }
                )
        (tmp_path / "coco" / name).write_text(json.dumps(coco_document(images, annotations)))
    return tmp_path / "coco"


def corrupt(root, out, share=0.75, seed=0, variant=VARIANT):
    return corrupt_directory(root, out, FILES, ["train", "val"], variant, VARIANTS, share, seed)


def test_each_fault_is_what_the_truth_says(root, tmp_path):
    truth = corrupt(root, tmp_path / "out")
    assert truth.groupby(["split", "planted"]).size().tolist() == [3] * 8
    assert truth["image_id"].is_unique
    read = tables.read_parquet(tmp_path / "out" / "truth.parquet", schemas.TRUTH)
    assert read["planted"].tolist() == truth["planted"].tolist()
    for split, name in FILES.items():
        before = read_coco(root / name).annotations.set_index("annotation_id")
        after = read_coco(tmp_path / "out" / name).annotations.set_index("annotation_id")
        rows = truth[truth["split"] == split]
        untouched = before.index.difference(rows["annotation_id"].dropna())
        kept = untouched.intersection(after.index)
        assert (before.loc[kept, "category_id"] == after.loc[kept, "category_id"]).all()
        lost = before.index.difference(after.index)
        assert sorted(before.loc[lost, "image_id"]) == sorted(rows.loc[rows["planted"] == "missing", "image_id"])
        for fault in rows[rows["planted"] != "missing"].itertuples():
            old, new = before.loc[fault.annotation_id, "category_id"], after.loc[fault.annotation_id, "category_id"]
            assert new == fault.category_id
            if fault.planted == "mislabeled":
                assert {old, new} == {1, 3}
                assert old == fault.true_category_id
            elif fault.planted == "ambiguous":
                assert old == 18  # a bus is of a class in one of the variants
                assert new in (1, 3)
            else:
                assert old == new


def test_an_inaccurate_outline_is_another_mask_at_the_same_place(root, tmp_path):
    truth = corrupt(root, tmp_path / "out")
    coco, old = COCO(tmp_path / "out" / FILES["train"]), COCO(root / FILES["train"])
    for i in truth.loc[(truth["planted"] == "inaccurate") & (truth["split"] == "train"), "annotation_id"]:
        a, b = coco.annToMask(coco.anns[i]).astype(bool), old.annToMask(old.anns[i]).astype(bool)
        assert 0.2 < (a & b).sum() / (a | b).sum() < 0.7
        assert coco.anns[i]["area"] == a.sum()
        rows, columns = np.flatnonzero(a.any(1)), np.flatnonzero(a.any(0))
        assert coco.anns[i]["bbox"][:2] == [columns[0], rows[0]]


def test_equal_seeds_plant_equal_faults(root, tmp_path):
    first, again, other = (corrupt(root, tmp_path / str(n), seed=seed) for n, seed in enumerate((5, 5, 6)))
    pd.testing.assert_frame_equal(first, again)
    assert first["image_id"].tolist() != other["image_id"].tolist()


def test_images_are_shared_and_the_source_stays(root, tmp_path):
    before = (root / FILES["val"]).read_text()
    corrupt(root, tmp_path / "out")
    assert (root / FILES["val"]).read_text() == before
    assert (tmp_path / "out" / "val" / "101.jpg").samefile(root / "val" / "101.jpg")


def test_what_cannot_be_done_is_an_error_and_leaves_nothing(root, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SegscopeError, match="two classes; the variant has person"):
        corrupt(root, out, variant={"person": ["person"]})
    assert not out.exists()
    out.mkdir()
    with pytest.raises(SegscopeError, match="exists already"):
        corrupt(root, out)
    document = coco_document([{"id": 1, "file_name": "1.jpg", "width": 200, "height": 100}], [])
    for name in FILES.values():
        (root / name).write_text(json.dumps(document))
    with pytest.raises(SegscopeError, match="no annotation is large enough"):
        corrupt(root, tmp_path / "other")


def test_from_the_command_line(small_coco, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variants = {"category": VARIANT, "other": {"zebra": ["zebra"]}}  # of other data
    (tmp_path / "params.yaml").write_text(json.dumps({"variant": "category", "variants": variants}))
    assert main(["corrupt-labels", str(small_coco), "out", "--share", "1"]) == 0
    assert "train: " in capsys.readouterr().out
    assert (tmp_path / "out" / "train2017").is_dir()
    assert main(["corrupt-labels", str(small_coco), "out"]) == 1
    assert "out exists already" in capsys.readouterr().err
    assert main(["corrupt-labels", str(small_coco), "out2", "--share", "2"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: [document], "only into an object whose annotations are a list"),
        (lambda document: document | {"annotations": dict(enumerate(document["annotations"]))}, "only into an object"),
        (
            lambda document: document | {"annotations": [row | {"id": None} for row in document["annotations"]]},
            "only where the ids of images and annotations are whole numbers",
        ),
    ],
)
def test_a_file_that_cannot_be_written_back_is_an_error(root, tmp_path, change, message):
    for name in FILES.values():
        (root / name).write_text(json.dumps(change(json.loads((root / name).read_text()))))
    with pytest.raises(SegscopeError, match=message):
        corrupt(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_annotations_may_lie_among_the_images(root, tmp_path):
    for split, name in FILES.items():
        (root / name).rename(root / split / "labels.json")
    files = {split: f"{split}/labels.json" for split in FILES}
    truth = corrupt_directory(root, tmp_path / "out", files, ["train", "val"], VARIANT, VARIANTS, 0.75, 0)
    for split, name in files.items():
        assert (tmp_path / "out" / name).read_bytes() != (root / name).read_bytes()
        assert len(list((tmp_path / "out" / split).glob("*.jpg"))) == 16
    assert len(truth) == 24


@pytest.mark.parametrize("name", ["../labels/{split}.json", "{split}/../../x.json"])
def test_nothing_outside_of_the_copy_is_written(root, tmp_path, name):
    files = {}
    for split, own in FILES.items():
        files[split] = name.format(split=split)
        (root / files[split]).parent.mkdir(exist_ok=True)
        (root / files[split]).write_bytes((root / own).read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    with pytest.raises(SegscopeError, match="must lie below it"):
        corrupt_directory(root, tmp_path / "out", files, ["train", "val"], VARIANT, VARIANTS, 0.75, 0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_images_of_unknown_size_are_left_as_they_are(root, tmp_path):
    for name in FILES.values():
        document = json.loads((root / name).read_text())
        for image in document["images"][::2]:
            del image["width"], image["height"]
        (root / name).write_text(json.dumps(document))
    truth = corrupt(root, tmp_path / "out")
    assert len(truth)
    assert (truth["image_id"] % 2 == 0).all()
