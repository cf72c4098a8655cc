"""Eight freely licensed photographs that packages ship, labelled by hand: a COCO folder for pictures of these pages.

python docs/photographs.py FOLDER      # pip install scikit-image==0.26.0 matplotlib==3.11.2 first
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

CATEGORIES = {"person": (1, "person"), "car": (3, "vehicle"), "cat": (17, "animal")}  # as COCO has them
# Where each is, its licence, and what is labelled in it: x, y, x, y ... in pixels.
PHOTOGRAPHS: dict[str, dict[str, tuple[str, str, dict[str, list[int]]]]] = {
    "train": {
        "grace_hopper.jpg": (
            "matplotlib/mpl-data/sample_data",
            "public domain (U.S. Navy)",
            {
                "person": [
                    *(150, 160, 150, 105, 160, 88, 180, 60, 205, 35, 240, 22, 280, 22, 320, 40, 345, 65, 352, 85),
                    *(368, 88, 372, 110, 370, 180, 375, 190, 372, 215, 362, 240, 358, 270, 350, 300, 338, 310),
                    *(345, 325, 400, 355, 470, 380, 495, 400, 512, 445, 512, 600, 15, 600, 25, 480, 35, 420),
                    *(50, 385, 75, 375, 150, 355, 185, 330, 205, 318, 200, 300, 180, 290, 165, 280, 162, 255),
                    *(155, 225, 153, 190, 165, 175),
                ]
            },
        ),
        "coffee.png": ("skimage/data", "CC0 (Rachel Michetti)", {}),
        "china.jpg": ("sklearn/datasets/images", "CC BY 2.0 (danielbuechele)", {}),
        "flower.jpg": ("sklearn/datasets/images", "CC BY 2.0 (vultilion)", {}),
    },
    "val": {
        "astronaut.png": (
            "skimage/data",
            "public domain (NASA)",
            {
                "person": [
                    *(153, 75, 158, 55, 185, 30, 215, 16, 250, 16, 280, 35, 298, 60, 301, 85, 295, 110, 285, 125),
                    *(272, 130, 266, 150, 257, 178, 285, 200, 302, 225, 304, 250, 330, 255, 345, 275, 355, 310),
                    *(362, 345, 340, 360, 310, 395, 290, 430, 280, 460, 285, 512, 110, 512, 45, 495, 30, 475),
                    *(22, 440, 25, 390, 28, 345, 40, 310, 40, 275, 60, 245, 100, 215, 118, 205, 116, 188, 125, 170),
                    *(140, 155, 165, 150, 187, 150, 182, 130, 172, 118, 155, 105),
                ]
            },
        ),
        "camera.png": (
            "skimage/data",
            "CC0 (Lav Varshney)",
            {
                "person": [
                    *(160, 105, 165, 85, 185, 66, 215, 66, 245, 85, 265, 105, 270, 125, 268, 132, 253, 140, 252, 170),
                    *(245, 180, 243, 195, 260, 205, 275, 195, 290, 190, 319, 179, 328, 190, 322, 210, 300, 218),
                    *(300, 235, 303, 265, 285, 285, 262, 300, 245, 310, 225, 300, 205, 290, 185, 335, 165, 360),
                    *(145, 380, 152, 450, 152, 512, 0, 512, 0, 255, 10, 240, 30, 190, 55, 150, 90, 130, 125, 125),
                    *(150, 108),
                ]
            },
        ),
        "chelsea.png": (
            "skimage/data",
            "CC0 (Stefan van der Walt)",
            {
                "cat": [
                    *(40, 0, 395, 0, 385, 30, 360, 60, 352, 95, 362, 115, 355, 160, 335, 200, 315, 240, 290, 270),
                    *(250, 285, 230, 300, 0, 300, 0, 150, 40, 120, 35, 60),
                ]
            },
        ),
        "rocket.jpg": ("skimage/data", "CC0 (SpaceX)", {}),
    },
}


def write(folder: Path) -> None:
    """Copy the photographs, and write an annotation file for each split."""
    (folder / "annotations").mkdir(parents=True)
    for split, photographs in PHOTOGRAPHS.items():
        (folder / split).mkdir()
        images, annotations = [], []
        for name, (place, licence, outlines) in photographs.items():
            package, *rest = place.split("/")
            found = find_spec(package)
            if not found or not found.origin:
                sys.exit(f"{package} is not installed")
            shutil.copy(Path(found.origin).parent.joinpath(*rest, name), folder / split / name)
            width, height = Image.open(folder / split / name).size
            images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
            for category, outline in outlines.items():
                annotation = {"id": len(annotations) + 1, "image_id": len(images), "iscrowd": 0}
                annotation |= {"category_id": CATEGORIES[category][0], "segmentation": [outline]}
                annotations.append(annotation)
            print(f"{split}/{name}: {package}, {licence}")
        categories = [{"id": n, "name": name, "supercategory": of} for name, (n, of) in CATEGORIES.items()]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
