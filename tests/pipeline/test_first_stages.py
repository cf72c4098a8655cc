"""The first two stages, on what users' directories and mirrors hold."""

import json
import shutil

import pandas as pd
import pytest
from conftest import as_mirror
from in_process import call_here, run_here
from project import first_two_stages, measures, metrics, new_project, run, set_params, stale
from serving import serve


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "directory", "root": "nowhere"}, "data.root: 'nowhere' is not a directory"),
        ({"contains": ["unicorn"]}, "data.contains: 'unicorn' is neither a category nor a super-category"),
        ({"contains": ["toothbrush"], "match": "all"}, "no image of split train fits data.contains"),
    ],
)
def test_impossible_data_is_a_clear_error(tmp_path, change, message):
    status, said = call_here(first_two_stages(tmp_path, **change), "download")
    assert status == 1
    assert f"error: {message}" in said


def test_classes_that_the_data_lack_are_named_by_the_first_stage(tmp_path):
    folder = first_two_stages(tmp_path)
    set_params(folder, variant="mine", variants={"mine": {"bike": ["bicicle"], "car": ["car"]}})
    status, said = call_here(folder, "download")
    assert status == 1
    assert "error: variants.mine.bike: 'bicicle' is neither a category nor a super-category of the data (did" in said
    assert "did you mean 'bicycle'?" in said
    assert not (folder / "data" / "index.parquet").exists()


def test_classes_that_no_chosen_image_shows_are_said_with_what_chooses_the_images(tmp_path):
    folder = first_two_stages(tmp_path, contains=["person"])
    set_params(folder, variant="mine", variants={"mine": {"person": ["person"], "beast": ["zebra"]}})
    said = run_here(folder, "download")
    assert "variants.mine.beast: no chosen image of train shows it; data.contains chooses by person" in said


def test_coco_is_downloaded_from_a_mirror_but_only_the_chosen_images(small_coco, tmp_path):
    sha256 = as_mirror(small_coco, tmp_path / "served")
    with serve(tmp_path / "served", rate=0.3) as (url, server):
        data = {"source": "coco2017", "images_url": url, "annotations_url": f"{url}/annotations/"}
        data |= {"archive_sha256": sha256, "contains": ["person", "car"], "match": "all"}
        folder = first_two_stages(tmp_path / "project", **data)
        run_here(folder, "download")
    index = pd.read_parquet(folder / "data" / "index.parquet")
    assert index["image_id"].tolist() == [3, 103]
    assert index["path"].tolist() == [
        "data/cache/coco2017/train2017/000000000003.jpg",
        "data/cache/coco2017/val2017/000000000103.jpg",
    ]
    assert sum(path.endswith(".jpg") for path in server.requests) == 2
    assert metrics(folder, "download")["val"] == {"images": 1, "skipped": 0}
    found = measures(folder, "download")
    assert (found.value("annotations", "val"), found.value("images_in_source", "val")) == (2, 4)


@pytest.mark.parametrize("max_missing", [0.2, 0.1])
def test_missing_images_are_named_and_too_many_are_an_error(small_coco, tmp_path, max_missing):
    (small_coco / "val2017" / "000000000102.jpg").unlink()
    data = {"source": "directory", "root": str(small_coco), "match": "none", "max_missing": max_missing}
    folder = first_two_stages(tmp_path / "project", **data)
    status, said = call_here(folder, "download")
    if max_missing < 1 / 8:
        assert status == 1
        assert "error: of 8 images 1 are missing, more than data.max_missing (10.00%) allows:" in said
        assert f"000000000102.jpg: not in {small_coco}/val2017; see data/skipped.parquet" in said
        assert not (folder / "data" / "index.parquet").exists()
        assert pd.read_parquet(folder / "data" / "skipped.parquet")["reason"].tolist() == ["missing_file"]
    else:
        assert "left out: 1 missing_file; see data/skipped.parquet" in said
        assert metrics(folder, "download")["val"] == {"images": 3, "skipped": 1}
        (row,) = pd.read_parquet(folder / "data" / "skipped.parquet").to_dict("records")
        assert (row["split"], row["image_id"], row["reason"]) == ("val", 102, "missing_file")
        assert row["file_name"] == "000000000102.jpg"


def test_what_cannot_be_used_is_counted_and_listed(small_coco, tmp_path):
    file = small_coco / "annotations" / "instances_train2017.json"
    document = json.loads(file.read_text())
    row = document["annotations"][0]
    document["annotations"] += [row | {"id": 1, "image_id": 999}, row | {"id": 2, "segmentation": None}]
    document["images"].append({"id": 50, "file_name": "../../x.jpg", "width": 40, "height": 30})
    document["images"][1]["width"] = 41
    file.write_text(json.dumps(document))
    broken = small_coco / "train2017" / "000000000004.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    data = {"source": "directory", "root": str(small_coco), "match": "none", "max_unusable": 0.3}
    folder = first_two_stages(tmp_path / "project", **data)
    said = run_here(folder, "download", "masks")
    skipped = pd.read_parquet(folder / "artifacts" / "skipped.parquet")
    assert skipped[["image_id", "annotation_id", "reason"]].astype(object).fillna("").values.tolist() == [
        [999, 1, "unknown_image"],
        [50, "", "unsafe_file_name"],
        [1, 2, "bad_segmentation"],
        [2, "", "size_mismatch"],
        [4, "", "unreadable_image"],
    ]
    found = metrics(folder, "masks")
    assert (found["train"]["images"], found["train"]["skipped"]) == (2, 5)
    assert (found["val"]["images"], found["val"]["skipped"]) == (4, 0)
    for reason in skipped["reason"]:
        assert measures(folder, "masks").value(f"skipped.{reason}", "train") == 1
    assert "1 unreadable_image" in said


def test_a_split_of_which_nothing_can_be_used_is_an_error(small_coco, tmp_path):
    for file in (small_coco / "val2017").iterdir():
        file.write_bytes(b"no image")
    folder = first_two_stages(tmp_path / "project", source="directory", root=str(small_coco), match="none")
    run_here(folder, "download")
    status, said = call_here(folder, "masks")
    assert status == 1
    assert "error: no image of split val can be used: 4 unreadable_image; 4 like this: image" in said
    kept = ["corrections.parquet", "measures.parquet", "skipped.parquet"]
    assert sorted(file.name for file in (folder / "artifacts").iterdir()) == kept


def test_a_split_whose_images_are_all_in_the_other_is_an_error(small_coco, tmp_path):
    for split in ("train2017", "val2017"):
        shutil.copytree(small_coco / split, small_coco / "images", dirs_exist_ok=True)
    train = small_coco / "annotations" / "instances_train2017.json"
    shutil.copy(train, train.with_name("instances_val2017.json"))
    folder = first_two_stages(
        tmp_path / "project", source="directory", root=str(small_coco), images="images", match="none"
    )
    status, said = call_here(folder, "download")
    assert status == 1
    assert "error: no image of split val is left: 4 copy_in_earlier_split; " in said


@pytest.mark.parametrize("copies", ["leave_out", "keep"])
def test_a_renamed_copy_of_a_train_image_is_measured_apart(small_coco, tmp_path, copies):
    shutil.copy(small_coco / "train2017" / "000000000003.jpg", small_coco / "val2017" / "000000000102.jpg")
    data = {"source": "directory", "root": str(small_coco), "match": "none", "copies": copies}
    folder = first_two_stages(tmp_path / "project", **data)
    run_here(folder, "download", "masks")
    duplicates = pd.read_parquet(folder / "data" / "duplicates.parquet")
    assert duplicates[["image_id", "other_id", "kind"]].values.tolist() == [[102, 3, "exact"]]
    left = copies == "leave_out"
    assert (102 not in pd.read_parquet(folder / "data" / "index.parquet")["image_id"].tolist()) == left
    assert (102 not in pd.read_parquet(folder / "artifacts" / "samples.parquet")["image_id"].tolist()) == left
    copied = pd.read_parquet(folder / "data" / "copies.parquet")
    assert copied[["image_id", "split", "other_id"]].values.tolist() == ([[102, "val", 3]] if left else [])
    shards = [file.name for file in (folder / "artifacts" / "dataset").glob("copies-*")]
    assert shards == (["copies-00000-of-00001.tfrecord"] if left else [])
    instances = pd.read_parquet(folder / "artifacts" / "instances.parquet").query("image_id == 102")
    assert len(instances) == 1  # its labels stay known
    skipped = pd.read_parquet(folder / "artifacts" / "skipped.parquet")
    assert skipped[["image_id", "reason"]].values.tolist() == ([[102, "copy_in_earlier_split"]] if left else [])


def test_an_export_with_ids_of_its_own_runs_through(small_coco, tmp_path):
    """Both splits number from 0, categories too; images are in sub-folders of one folder."""
    export = tmp_path / "export"
    for split, start in (("train", 1), ("val", 101)):
        document = json.loads((small_coco / "annotations" / f"instances_{split}2017.json").read_text())
        for image in document["images"]:
            target = export / "images" / split / image["file_name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(small_coco / f"{split}2017" / image["file_name"], target)
            image |= {"id": image["id"] - start, "file_name": f"{split}/{image['file_name']}"}
        for number, annotation in enumerate(document["annotations"]):
            annotation |= {"id": number, "image_id": annotation["image_id"] - start}
            annotation["category_id"] = {1: 0, 3: 1}[annotation["category_id"]]
        document["categories"] = [{"id": 0, "name": "person"}, {"id": 1, "name": "car", "supercategory": "none"}]
        (export / f"{split}.json").write_text(json.dumps(document))
    data = {"source": "directory", "root": str(export), "splits": {"train": "train", "val": "val"}}
    folder = first_two_stages(tmp_path / "project", **data, annotations="{split}.json", images="images", match="none")
    run_here(folder, "download", "masks")
    samples = pd.read_parquet(folder / "artifacts" / "samples.parquet")
    assert samples["image_id"].tolist() == [0, 1, 2, 3, 100, 101, 102, 103]
    assert samples["count.person"].tolist() == [1, 0, 1, 0] * 2
    assert samples["count.car"].tolist() == [0, 1, 1, 0] * 2
    index = pd.read_parquet(folder / "data" / "index.parquet")
    assert index["source_id"].tolist() == ["0", "1", "2", "3"] * 2


def test_a_directory_that_changed_is_noticed(small_coco, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    new_project(folder)
    data = {"source": "directory", "root": str(small_coco), "match": "none"}
    set_params(folder, data=data, model={"encoder_weights": "none"})
    annotations = small_coco / "annotations" / "instances_val2017.json"
    image = small_coco / "val2017" / "000000000104.jpg"

    run(folder, "dvc", "repro", "download")
    assert "download" not in stale(folder)
    another = shutil.copy(image, image.with_name("000000000105.jpg"))
    assert "download" in stale(folder)
    another.unlink()
    assert "download" not in stale(folder)
    annotations.write_text(annotations.read_text().replace('"category_id": 3', '"category_id": 6'))
    assert "Running stage 'download'" in run(folder, "dvc", "repro", "download")
    assert "download" not in stale(folder)
    assert metrics(folder, "download")["val"]["images"] == 4
