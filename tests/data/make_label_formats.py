"""Makes tests/data/label_formats: four drawn images in three formats, as public tools write them.

    pip install datumaro==1.13.12 supervision==0.31.2 && python tests/data/make_label_formats.py

Datumaro does not say what the values of its masks mean: classes.txt is ours. Supervision names no folders: they are as
its guide has them.
"""

import shutil
from pathlib import Path

import numpy as np
import supervision
from datumaro import Dataset, DatasetItem, Mask
from datumaro.components.media import Image

OUT = Path(__file__).with_name("label_formats")
HEIGHT, WIDTH = 30, 40
NAMES = ["background", "cat", "traffic light"]
# Left, top, right, bottom (not in it) of the cat and of the light, in pixels, of each image.
BOXES = {
    "train_1": [(3, 4, 17, 22), (22, 8, 36, 20)],
    "train_2": [(5, 6, 19, 20), (25, 2, 33, 27)],
    "val_1": [(2, 9, 12, 25), (20, 5, 39, 16)],
    "val_2": [(6, 3, 15, 13), (18, 11, 30, 28)],
}


def picture(number: int) -> np.ndarray:
    blocks = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return blocks.repeat(5, 0).repeat(5, 1)


def masks(name: str) -> np.ndarray:
    """Of an image's boxes: bool 2 × HEIGHT × WIDTH."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([(x <= columns) & (columns < r) & (y <= rows) & (rows < b) for x, y, r, b in BOXES[name]])


def by_datumaro() -> Dataset:
    items = [
        DatasetItem(
            name,
            subset=name.split("_")[0],
            media=Image.from_numpy(picture(number)),
            attributes={"id": number},
            annotations=[Mask(mask, label=k, id=k, group=k) for k, mask in enumerate(masks(name), start=1)],
        )
        for number, name in enumerate(BOXES, start=1)
    ]
    return Dataset.from_iterable(items, categories=NAMES, media_type=Image)


def by_supervision(split: str, folder: Path) -> None:
    names = [name for name in BOXES if name.startswith(split)]
    shutil.copytree(OUT / "masks" / split, folder / split / "images")
    found = {
        str(folder / split / "images" / f"{name}.jpg"): supervision.Detections(
            np.array(BOXES[name], float), masks(name), class_id=np.array([0, 1])
        )
        for name in names
    }
    supervision.DetectionDataset(NAMES[1:], list(found), found).as_yolo(
        annotations_directory_path=str(folder / split / "labels"), data_yaml_path=str(folder / "data.yaml")
    )


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    by_datumaro().export(str(OUT / "panoptic"), "coco_panoptic", save_media=True)
    by_datumaro().export(str(OUT / "masks"), "camvid", save_media=True, apply_colormap=False)
    (OUT / "masks" / "classes.txt").write_text("\n".join(NAMES) + "\n")
    for split in ("train", "val"):
        by_supervision(split, OUT / "yolo")
