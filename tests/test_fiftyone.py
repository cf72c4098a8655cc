"""The dataset for FiftyOne, read back as FiftyOne's documented format has it."""

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from segscope.artefacts.images import decode_png
from segscope.cli import main
from segscope.fiftyone import field_names, write_fiftyone
from segscope.run import Run
from segscope.taxonomy import IGNORE

GIVEN = {"filepath", "tags", "metadata"}  # fields that every sample of FiftyOne has


@pytest.fixture(scope="module")
def run(finished) -> Run:
    return Run(folder=finished)


@pytest.fixture(scope="module")
def out(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere") / "dataset"
    write_fiftyone(run, folder)
    return folder


def documents(folder: Path) -> tuple[dict, dict[int, dict]]:
    """The dataset's document, and its samples by image_id."""
    read = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("metadata", "samples")]
    return read[0], {sample["image_id"]: sample for sample in read[1]["samples"]}


def array(document: dict) -> np.ndarray:
    return np.load(io.BytesIO(zlib.decompress(base64.b64decode(document["$binary"]["base64"]))))


def placed(detection: dict, height: int, width: int) -> np.ndarray:
    """A detection's mask as pixels of the image: it fills the bounding box."""
    shares = np.array(detection["bounding_box"]) * [width, height, width, height]
    left, top, wide, tall = np.rint(shares).astype(int)
    mask = np.zeros((height, width), bool)
    mask[top : top + tall, left : left + wide] = array(detection["mask"])
    return mask


def test_a_sample_is_an_image_in_place_with_its_metadata_and_scores(run, out):
    document, samples = documents(out)
    assert "version" not in document  # or FiftyOne takes it for a copy of its database's documents
    expected = run.table("samples").merge(run.table("index"), on=["image_id", "split", "width", "height"])
    expected = expected.merge(run.table("predictions"), on=["image_id", "split"]).set_index("image_id")
    assert list(samples) == list(expected.index)
    for image_id, row in expected.iterrows():
        sample = samples[image_id]
        assert sample.keys() - GIVEN == document["sample_fields"].keys()
        assert (out / sample["filepath"]).resolve() == (run.folder / row["path"]).resolve()
        assert (out / sample["filepath"]).is_file()
        assert sample["metadata"] == {"_cls": "ImageMetadata", "width": row["width"], "height": row["height"]}
        assert (sample["tags"], sample["split"]) == ([row["split"]], row["split"])
        for name in ("brightness", "is_gray", "n_instances", "dominant", "loss", "iou.person", "confidence.car"):
            value = sample[name.replace(".", "_")]
            assert value == row[name] if value is not None else pd.isna(row[name])
        for group in ("count", "crowd", "share", "size"):
            columns = row[[name for name in expected if name.startswith(f"{group}.")]].dropna()
            shown = columns[columns.astype(float) != 0]
            assert sample[group] == {n.removeprefix(f"{group}.").replace(".", "_"): v for n, v in shown.items()}


def test_labels_are_the_annotations_with_their_masks_and_what_became_of_them(run, out):
    _, samples = documents(out)
    names = run.categories.set_index("category_id")["name"]
    instances = run.table("instances")
    objects = run.table("objects").dropna(subset="annotation_id").set_index(["image_id", "annotation_id"])
    assert sum(len(sample["labels"]["detections"]) for sample in samples.values()) == len(instances)
    for row in instances.to_dict("records"):
        key, detections = (row["image_id"], row["annotation_id"]), samples[row["image_id"]]["labels"]["detections"]
        (label,) = [d for d in detections if d["annotation_id"] == row["annotation_id"]]
        assert label["label"] == names[row["category_id"]]
        assert (label["iscrowd"], label["area"], label["tags"]) == (row["iscrowd"], row["area"], [])
        counts = {"size": [row["height"], row["width"]], "counts": row["rle"].encode()}
        assert (placed(label, row["height"], row["width"]) == coco_mask.decode(counts)).all()
        assert label.get("class") == (objects.loc[key, "class"] if key in objects.index else None)
        if key in objects.index and pd.notna(objects.loc[key, "iou"]):
            assert (label["iou"], label["found"]) == (objects.loc[key, "iou"], objects.loc[key, "found"])


def test_predictions_are_masks_whose_values_are_named(run, out):
    document, samples = documents(out)
    targets = {str(k): name for k, name in enumerate(["background", *run.params.classes])}
    assert document["info"]["mask_targets"] == {"prediction": targets}
    for row in run.table("predictions").itertuples():
        # FiftyOne finds the files of a field by this name of their folder.
        assert samples[row.image_id]["prediction"]["mask_path"].startswith("fields/prediction/")
        file = out / samples[row.image_id]["prediction"]["mask_path"]
        assert (decode_png(file.read_bytes()) == decode_png(row.mask)).all()


def test_latent_vectors_suspects_and_clusters_are_those_of_the_run(run, out):
    _, samples = documents(out)
    for row in run.table("embeddings").itertuples():
        sample = samples[row.image_id]
        assert (array(sample["latent"]) == row.latent).all()
        assert (sample["map_x"], sample["map_y"]) == (np.float32(row.x), np.float32(row.y))
    issues = run.table("label_issues")
    assert len(issues)
    found = [(image_id, d) for image_id, sample in samples.items() for d in sample["suspects"]["detections"]]
    index = run.table("index").set_index("image_id")
    said = [
        (i, d["label"], np.float32(d["confidence"]), d["suggested"], d["evidence"], d.get("annotation_id"))
        for i, d in found
    ]
    columns = ["image_id", "kind", "score", "suggested", "evidence", "annotation_id"]
    rows = issues[columns].astype(object).where(issues[columns].notna(), None)
    assert sorted(said, key=str) == sorted(rows.itertuples(index=False, name=None), key=str)
    for i, suspect in found:
        width, height = index.loc[i, ["width", "height"]]
        box = np.array(suspect["bounding_box"]) * [width, height, width, height]
        assert any(np.allclose(box, other) for other in issues.loc[issues["image_id"] == i, "bbox"])
    clusters = run.table("clusters").set_index("image_id")["cluster"]
    assert {i for i, sample in samples.items() if sample["cluster"]} == set(clusters[clusters >= 0].index)
    profiles = run.table("cluster_profiles").set_index("cluster")["name"]
    for i, sample in samples.items():
        if sample["cluster"]:
            number, name = sample["cluster"]["label"].split(": ", 1)
            assert int(number) == clusters[i]
            assert name in set(profiles.loc[[clusters[i]]])


def test_the_users_columns_excluded_labels_and_images_without_a_latent_vector(project, monkeypatch, capsys):
    run = Run(folder=project)
    samples, embeddings = run.table("samples"), run.table("embeddings")
    n = len(samples)
    own = pd.DataFrame(
        {
            "user.taken.at": pd.to_datetime(["2024-05-01T10:30:00"] + [None] * (n - 1)),
            "user.taken_at": ["noon", *[None] * (n - 1)],
            "user.$cost": [np.nan, *np.arange(1.0, n)],
            "user.night": [True] + [False] * (n - 1),
        }
    )
    with run.open("samples", own) as write:
        write(pd.concat([samples, own], axis=1))
    run.write("embeddings", embeddings[embeddings["split"] == "val"])
    instances = run.table("instances")
    first = instances.iloc[0]
    instances.loc[0, "category_id"] = IGNORE
    run.write("instances", instances)
    monkeypatch.chdir(project)
    assert main(["to-fiftyone", "exports/dataset"]) == 0
    document, written = documents(Path("exports/dataset"))
    issues = run.table("label_issues")
    said = f"exports/dataset: {n} images, {len(instances)} labels, {len(issues)} suspects; "
    assert capsys.readouterr().out.startswith(said)

    sample = written[samples["image_id"].iloc[0]]
    assert sample["user_taken_at"] == "2024-05-01T10:30:00"
    assert (sample["user_taken_at_2"], sample["user__cost"], sample["user_night"]) == ("noon", None, True)
    assert [s["user__cost"] for s in written.values()][1:] == list(range(1, n))
    kinds = {name: kind.rpartition(".")[2] for name, kind in document["sample_fields"].items() if "user_" in name}
    assert kinds == {
        "user_taken_at": "StringField",
        "user_taken_at_2": "StringField",
        "user__cost": "FloatField",
        "user_night": "BooleanField",
    }
    excluded = [d for d in written[first["image_id"]]["labels"]["detections"] if d["tags"] == ["excluded"]]
    name = run.categories.set_index("category_id")["name"][first["category_id"]]
    assert [(d["annotation_id"], d["label"]) for d in excluded] == [(first["annotation_id"], name)]
    assert {s["split"] for s in written.values() if s["latent"] is None} == {"train"}
    assert sample["filepath"] == f"../../{run.table('index').set_index('image_id')['path'][sample['image_id']]}"

    before = {path.name: path.read_bytes() for path in Path("exports").rglob("*.json")}
    assert main(["to-fiftyone", "exports/dataset"]) == 0  # its own folder is replaced
    assert {path.name: path.read_bytes() for path in Path("exports").rglob("*.json")} == before


@given(st.lists(st.text("a.$_2", min_size=1, max_size=4), unique=True))
def test_field_names_are_distinct_and_without_what_fiftyone_reads_otherwise(columns):
    names = field_names(columns)
    assert list(names) == columns
    assert len(set(names.values())) == len(columns)
    assert not any(set(name) & {".", "$"} for name in names.values())
    assert all(names[column] == column for column in columns[:1] if not set(column) & {".", "$"})
