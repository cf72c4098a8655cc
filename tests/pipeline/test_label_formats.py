"""Each label format through the first two stages: the same masks as of COCO's files. What other tools write."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dvc.utils.hydra import apply_overrides
from in_process import first_stages, run_stages
from PIL import Image
from project import INPUTS, ROOT

from segscope.artefacts.rle import decode_rle
from segscope.cli import main
from segscope.labels.masks import compose_mask
from segscope.params_file import load_params
from segscope.run import Run
from segscope.sources.regions import components

EXPORTS = ROOT / "tests" / "data" / "label_formats"
BOXES = {  # left, top, width, height of the cat and of the traffic light, as make_label_formats.py draws them
    "train_1.jpg": {"cat": [3, 4, 14, 18], "traffic light": [22, 8, 14, 12]},
    "train_2.jpg": {"cat": [5, 6, 14, 14], "traffic light": [25, 2, 8, 25]},
    "val_1.jpg": {"cat": [2, 9, 10, 16], "traffic light": [20, 5, 19, 11]},
    "val_2.jpg": {"cat": [6, 3, 9, 10], "traffic light": [18, 11, 12, 17]},
}


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


def printed_run(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Run:
    """The run, as far as the first two stages, of the command that `segscope inspect` prints of a folder."""
    assert main(["inspect", str(root)]) == 0
    *_, command = capsys.readouterr().out.splitlines()
    words = shlex.split(command)
    assert words[:5] == ["dvc", "exp", "run", "-n", "mine"]
    assert words[5::2] == ["-S"] * len(words[5::2])
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder / "params.yaml")
    apply_overrides(folder / "params.yaml", words[6::2])
    monkeypatch.chdir(folder)
    (folder / "data").mkdir()
    for name in INPUTS[1:]:
        shutil.copy(ROOT / name, folder / name)
    given = load_params(folder / "params.yaml")
    params = given.model_copy(update={"model": given.model.model_copy(update={"encoder_weights": "none"})})
    return run_stages(Run(params))


def labelled(run: Run) -> dict[str, dict[str, list[float]]]:
    """The box of each image's object of each category, by file and category."""
    table = (
        run.table("instances")
        .merge(run.categories[["category_id", "name"]])
        .merge(run.table("index")[["image_id", "path"]])
    )
    found: dict[str, dict[str, list[float]]] = {}
    for row in table.itertuples():
        boxes = found.setdefault(Path(row.path).name, {})
        assert row.name not in boxes
        boxes[row.name] = row.bbox.tolist()
    return found


@pytest.mark.parametrize("name", ["panoptic", "masks", "yolo"])
def test_what_other_tools_write_runs_by_the_command_that_inspect_prints(name, tmp_path, monkeypatch, capsys):
    run = printed_run(EXPORTS / name, tmp_path / "project", monkeypatch, capsys)
    # Supervision's outlines run through the centres of the outermost pixels: the last column and row are not in them.
    less = [0, 0, 1, 1] if name == "yolo" else [0, 0, 0, 0]
    wanted = {
        file: {kind: np.subtract(box, less).tolist() for kind, box in boxes.items()} for file, boxes in BOXES.items()
    }
    assert labelled(run) == wanted
    assert run.table("skipped").empty
    assert run.params.classes == {"cat": ["cat"], "traffic_light": ["traffic light"]}
    assert run.table("index").groupby("split").size().to_dict() == {"train": 2, "val": 2}


# Real photographs.

NUMBER = 10  # images of each split


@pytest.fixture(scope="module")
def photographs(coco_mini, tmp_path_factory) -> Path:
    """Some of the photographs' annotations, without those of boxes."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        document = json.loads((coco_mini / "annotations" / f"instances_{split}.json").read_text())
        images = document["images"][:NUMBER]
        ids = {image["id"] for image in images}
        annotations = [row for row in document["annotations"] if row["image_id"] in ids]
        document |= {"images": images, "annotations": annotations}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
        (root / split).mkdir()
        for image in images:
            (root / split / image["file_name"]).hardlink_to(coco_mini / split / image["file_name"])
    return root


def composed(run: Run) -> dict[str, np.ndarray]:
    """Each image's mask at its own size, by the file's name; ids of categories as COCO has them."""
    instances = dict(list(run.table("instances").groupby("image_id")))
    none = run.table("instances")[:0]
    own = np.zeros(256, np.uint8)
    own[255] = 255
    own[run.categories["category_id"]] = run.categories["source_id"].astype(int)
    return {
        Path(row.path).name: own[
            compose_mask(instances.get(row.image_id, none), row.height, row.width, run.params.masks.crowd)
        ]
        for row in run.table("samples").merge(run.table("index")[["image_id", "path"]]).itertuples()
    }


@pytest.fixture(scope="module")
def original(photographs, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        return first_stages(tmp_path_factory.mktemp("original"), photographs, match="none")


def write_masks(root: Path, masks: dict[str, np.ndarray], run: Run) -> dict[str, Any]:
    for name, mask in masks.items():
        Image.fromarray(mask).save(root / f"{Path(name).stem}.png")
    table = run.categories[["source_id", "name", "supercategory"]]
    table.rename(columns={"source_id": "value"}).to_csv(root / "classes.csv", index=False)
    return {"format": "masks", "annotations": "labels_{split}"}


def write_panoptic(root: Path, masks: dict[str, np.ndarray], run: Run) -> dict[str, Any]:
    index = run.table("index")
    sizes = index.assign(file_name=index["path"].map(lambda path: Path(path).name)).set_index("file_name")
    document: dict[str, list] = {"images": [], "annotations": [], "categories": []}
    for name, mask in masks.items():
        # Of the whole map each component is a segment, the background's, too: it is stuff.
        numbers, kinds = components(np.where(mask == 255, 0, mask.astype(int) + 1))
        numbers = numbers * 300
        colours = np.dstack([numbers % 256, numbers // 256 % 256, numbers >> 16]).astype(np.uint8)
        Image.fromarray(colours).save(root / f"{Path(name).stem}.png")
        image_id = int(sizes.loc[name, "image_id"])
        document["images"].append({"id": image_id, "file_name": name, "height": mask.shape[0], "width": mask.shape[1]})
        segments = [{"id": 300 * n, "category_id": kind - 1 or 200} for n, kind in enumerate(kinds, start=1)]
        document["annotations"].append(
            {"image_id": image_id, "file_name": f"{Path(name).stem}.png", "segments_info": segments}
        )
    rows = run.categories.itertuples()
    document["categories"] = [{"id": int(r.source_id), "name": r.name, "supercategory": r.supercategory} for r in rows]
    document["categories"].append({"id": 200, "name": "rest", "isthing": 0})
    (root.with_suffix(".json")).write_text(json.dumps(document))
    return {"format": "panoptic", "annotations": "labels_{split}.json"}


@pytest.mark.parametrize("write", [write_masks, write_panoptic])
def test_masks_of_real_photographs_come_back_pixel_by_pixel(photographs, original, tmp_path, write):
    wanted = composed(original)
    names = set(list(wanted)[::4])
    ignored = next(iter(names))
    wanted[ignored][:20, :30] = 255  # a corner that counts nowhere
    root, data = tmp_path / "data", {}
    for split in ("train2017", "val2017"):
        shutil.copytree(photographs / split, root / split, copy_function=lambda a, b: Path(b).hardlink_to(a))
        (root / f"labels_{split}").mkdir()
        data = write(
            root / f"labels_{split}", {n: m for n, m in wanted.items() if (root / split / n).exists()}, original
        )
    run = first_stages(tmp_path / "run", root, match="none", **data)
    found = composed(run)
    assert found.keys() == wanted.keys()
    for name, mask in wanted.items():
        there = np.where(found[name] == 200, 0, found[name]) if write is write_panoptic else found[name]
        assert (there == mask).all(), name
    pixels = run.table("samples").merge(run.table("index")[["image_id", "path"]])
    share = pixels.loc[pixels["path"].str.endswith(ignored)].filter(regex=r"^share\.(?!super)").sum(axis=1).iloc[0]
    assert share == pytest.approx((wanted[ignored] != 255).mean())
    assert set(run.table("skipped")["reason"]) <= {"copy_in_earlier_split"}


def test_outlines_of_real_photographs_come_back_from_fractions(photographs, original, tmp_path):
    """Polygons of one part; YOLO knows no others."""
    root = tmp_path / "data"
    wanted: dict[str, list[str]] = {}
    for split in ("train2017", "val2017"):
        document = json.loads((photographs / "annotations" / f"instances_{split}.json").read_text())
        shutil.copytree(photographs / split, root / split, copy_function=lambda a, b: Path(b).hardlink_to(a))
        (root / f"labels_{split}").mkdir()
        sizes = {image["id"]: image for image in document["images"]}
        class_of = {category["id"]: n for n, category in enumerate(document["categories"])}
        lines: dict[int, list[str]] = {}
        for row in document["annotations"]:
            outline = row["segmentation"]
            if isinstance(outline, list) and len(outline) == 1:
                of = sizes[row["image_id"]]
                fractions = np.reshape(outline[0], (-1, 2)) / [of["width"], of["height"]]
                numbers = " ".join(repr(float(x)) for x in fractions.ravel())
                lines.setdefault(row["image_id"], []).append(f"{class_of[row['category_id']]} {numbers}")
                wanted.setdefault(of["file_name"], []).append(row["id"])
        for image_id, text in lines.items():
            (root / f"labels_{split}" / f"{Path(sizes[image_id]['file_name']).stem}.txt").write_text("\n".join(text))
        names = [category["name"] for category in document["categories"]]
        (root / "data.yaml").write_text(f"names: {json.dumps(names)}")
    run = first_stages(tmp_path / "run", root, match="none", format="yolo", annotations="labels_{split}")
    index = original.table("index")
    path_of = index.assign(name=index["path"].map(lambda path: Path(path).name)).set_index("image_id")["name"]
    before = original.table("instances")
    before = before[
        [i in wanted.get(path_of.get(m), ()) for i, m in zip(before["annotation_id"], before["image_id"], strict=True)]
    ]
    after = run.table("instances")
    assert len(before) == len(after) > 50

    def outlines(of: Run, table: pd.DataFrame) -> list[tuple[str, str, str]]:
        names = of.table("index").assign(file=lambda t: t["path"].map(lambda path: Path(path).name))
        rows = table.merge(names[["image_id", "file"]]).merge(of.categories[["category_id", "name"]])
        return sorted(zip(rows["file"], rows["name"], rows["rle"], strict=True))

    assert outlines(original, before) == outlines(run, after)


# Layouts of COCO's files, as exporters have them.


def coco_document(split: str, file_name: str) -> dict[str, Any]:
    """Four images of a split's number, of a dog, a cat or both."""
    images, annotations = [], []
    for i in range(1, 5):
        images.append({"id": i, "file_name": file_name.format(split=split, i=i), "width": 40, "height": 30})
        for category, left in ((1, 2), (2, 20))[: 1 + i % 2]:
            outline = [left, 4, left + 10, 4, left + 10, 20]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i, "category_id": category, "segmentation": [outline]}
            )
    categories = [
        {"id": 0, "name": "animals"},
        {"id": 1, "name": "dog", "supercategory": "animals"},
        {"id": 2, "name": "cat"},
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


# Annotation files by the split they hold, the images' folder, their names there.
LAYOUTS = {
    "roboflow": (
        {
            "train": "train/_annotations.coco.json",
            "valid": "valid/_annotations.coco.json",
            "test": "test/_annotations.coco.json",
        },
        "{split}",
        "{split}_{i}.jpg",
    ),
    "cvat": (
        {"Train": "annotations/instances_Train.json", "Validation": "annotations/instances_Validation.json"},
        "images/{split}",
        "{split}_{i}.jpg",
    ),
    "cvat_unsplit": ({"default": "annotations/instances_default.json"}, "images/default", "{i}.jpg"),
    "label_studio": ({"": "result.json"}, "images", "images/{i}.jpg"),
    "label_studio_windows": ({"": "result.json"}, "images", "images\\{i}.jpg"),
    "flat": ({"train": "train.json", "val": "val.json"}, "", "{split}_{i}.jpg"),
    "coco": (
        {"train2017": "annotations/instances_train2017.json", "val2017": "annotations/instances_val2017.json"},
        "{split}",
        "{i:012d}.jpg",
    ),
    "test alone": (
        {"train": "annotations/train.json", "test": "annotations/test.json"},
        "all images",
        "{split}_{i}.jpg",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_runs_by_the_command_that_inspect_prints(name, tmp_path, monkeypatch, capsys):
    files, folder, file_name = LAYOUTS[name]
    root = tmp_path / "an export, of 'cats'"
    rng = np.random.default_rng(0)
    for split, path in files.items():
        document = coco_document(split, file_name)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(document))
        for image in document["images"]:
            picture = root / folder.format(split=split) / Path(image["file_name"].replace("\\", "/")).name
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((40, 30), 0).save(picture)
    monkeypatch.setattr("segscope.inspection.VAL_SHARE", 0.5)
    run = printed_run(root, tmp_path / "project", monkeypatch, capsys)
    index = run.table("index")
    unsplit = len(files) == 1
    assert index["split"].value_counts().to_dict().keys() == {"train", "val"}
    assert len(index) == (4 if unsplit else 8)
    assert run.params.classes == {"dog": ["dog"], "cat": ["cat"]}
    assert len(run.table("instances")) == (6 if unsplit else 12)
    assert run.table("skipped").empty
    assert all(decode_rle(r.rle, 30, 40).any() for r in run.table("instances").itertuples())
