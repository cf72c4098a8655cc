"""The sample: a drawn dataset in COCO's format, with planted groups and label faults, for runs without a network.

It is a fixture, not a benchmark: its scenes are drawings, made so that a pipeline's every part has something
known to find. What was planted is recorded; see `Planted`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import binary_dilation
from tqdm import tqdm

from segscope.artefacts import rle
from segscope.artefacts.rle import bbox
from segscope.sources import drawing
from segscope.sources.coco_categories import COCO_CATEGORIES
from segscope.sources.drawing import Pen

GROUP_SHARES = {"grayscale_file": 0.08, "colourless": 0.06, "low_light": 0.08, "crowd": 0.06}
FAULTS = ("mislabeled", "missing", "inaccurate", "ambiguous")
FAULT_SHARE = 0.16
DECOY_SHARE = 0.3  # of the images: a near statue or crate that nobody labelled, as most are
SCENES = ("street", "court", "snow", "room")
SIZES = ((320, 240), (320, 240), (320, 256), (240, 320))
SUPERSAMPLING = 2
MIN_AREA = 24

_IDS = {name: category_id for category_id, name, _ in COCO_CATEGORIES}
# Height of each thing as a multiple of a person's, and width as a multiple of its own height.
_HEIGHT = {"person": 1.0, "car": 0.82, "bus": 1.6, "truck": 1.4, "bicycle": 0.62}
_ASPECT = {"person": 0.42, "car": 2.3, "bus": 2.3, "truck": 2.3, "bicycle": 1.7}


@dataclass
class Thing:
    """Something drawn: its category (None: part of the background), and its full silhouette, H × W at drawing size."""

    category: str | None
    silhouette: np.ndarray
    crowd: bool = False


@dataclass
class Scene:
    """A picture being made, and the things on it from back to front."""

    picture: Image.Image
    horizon: float = 0.5
    things: list[Thing] = field(default_factory=list)

    def add(
        self,
        shape: Any,
        rng: np.random.Generator,
        box: drawing.Box,
        category: str | None = None,
        **options: Any,
    ) -> Thing:
        pen = Pen(self.picture, box, flip=bool(rng.random() < 0.5))
        shape(pen, rng, **options)
        thing = Thing(category, np.asarray(pen.silhouette) > 0)
        self.things.append(thing)
        return thing


@dataclass(frozen=True)
class Planted:
    """One planted group or fault, as a row of truth.parquet."""

    image_id: int
    split: str
    planted: str
    annotation_id: int | None = None
    category_id: int | None = None
    true_category_id: int | None = None
    bbox: list[float] | None = None


def draw_sample(root: Path, sizes: dict[str, int], seed: int) -> pd.DataFrame:
    """Write the dataset below `root` (annotations/instances_SPLIT.json, SPLIT/*.jpg).

    sizes: split → number of images. Equal arguments give equal files. Returns what was planted.
    """
    planted: list[Planted] = []
    for number, (split, count) in enumerate(sizes.items()):
        rng = np.random.default_rng([seed, number])
        plan = _plan(count, rng)
        (root / split).mkdir(parents=True, exist_ok=True)
        (root / "annotations").mkdir(exist_ok=True)
        images, annotations = [], []
        for i in tqdm(range(count), desc=f"draw {split}", unit="image", disable=None):
            image_id = number * 100_000 + i + 1
            row, rows, found = _draw_image(image_id, split, plan[i], np.random.default_rng([seed, number, i]), root)
            images.append(row)
            annotations += rows
            planted += found
        document = {
            "info": {"description": "segscope sample: drawn scenes with planted groups and label faults"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i, "name": n, "supercategory": s} for i, n, s in COCO_CATEGORIES],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document), encoding="utf-8")
    return pd.DataFrame([vars(p) for p in planted], columns=list(Planted.__dataclass_fields__))


@dataclass(frozen=True)
class _Plan:
    scene: str
    size: tuple[int, int]
    group: str | None = None
    fault: str | None = None


def _plan(count: int, rng: np.random.Generator) -> list[_Plan]:
    """Which image gets which scene, photometric group and fault; groups and faults never meet on one image."""
    plans = [
        _Plan(SCENES[int(rng.choice(4, p=(0.5, 0.2, 0.14, 0.16)))], SIZES[int(rng.integers(len(SIZES)))])
        for _ in range(count)
    ]
    order = list(rng.permutation(count))
    for group, share in GROUP_SHARES.items():
        for _ in range(round(share * count)):
            i = order.pop()
            plans[i] = replace(plans[i], group=group)
    for n in range(round(FAULT_SHARE * count)):
        i = order.pop()
        plans[i] = replace(plans[i], fault=FAULTS[n % len(FAULTS)])
    return plans


def _draw_image(
    image_id: int, split: str, plan: _Plan, rng: np.random.Generator, root: Path
) -> tuple[dict, list[dict], list[Planted]]:
    width, height = plan.size
    scene = Scene(Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING)))
    scene.horizon = getattr(drawing, plan.scene)(scene.picture, rng)
    faulty = _compose(scene, plan, rng)
    planted = [Planted(image_id, split, plan.scene)]
    if plan.group:
        planted.append(Planted(image_id, split, plan.group))
    annotations = _annotate(scene, image_id)
    if plan.fault and faulty is not None:
        planted.append(_plant_fault(plan.fault, annotations, faulty, image_id, split, rng))
    file_name = f"{image_id:012d}.jpg"
    _develop(scene.picture, plan, rng).save(root / split / file_name, quality=92)
    row = {"id": image_id, "file_name": file_name, "width": width, "height": height}
    return row, [_as_coco(a, width, height) for a in annotations], planted


def _compose(scene: Scene, plan: _Plan, rng: np.random.Generator) -> int | None:
    """Put things into the scene, from far to near. Returns the index of the thing that a fault is to befall."""
    if plan.group == "crowd":
        _crowd(scene, rng)
    else:
        for category, depth in _cast(plan.scene, rng):
            _stand(scene, category, depth, plan.scene, rng)
        if rng.random() < DECOY_SHARE:
            _decoy(scene, str(rng.choice(["person", "car"])), float(rng.uniform(0.4, 0.8)), rng)
    if plan.fault is None:
        return None
    # A fault befalls something near and large, drawn last: nothing hides it.
    category = str(rng.choice(["person", "car"])) if plan.scene == "street" else "person"
    if plan.fault == "ambiguous":
        _decoy(scene, category, float(rng.uniform(0.6, 0.8)), rng).category = category
    else:
        _stand(scene, category, float(rng.uniform(0.6, 0.85)), plan.scene, rng, props=False)
    return len(scene.things) - 1


def _cast(scene: str, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Categories and depths (0 far … 1 near), far first; at least one is a person or a car."""
    if scene == "street":
        first = ["car"] if rng.random() < 0.6 else ["person"]
        names = ["person", "car", "bus", "truck", "bicycle"]
        rest = rng.choice(names, size=int(rng.integers(1, 6)), p=(0.34, 0.28, 0.13, 0.12, 0.13)).tolist()
    else:
        first, rest = ["person"], ["person"] * int(rng.integers(0, 4))
    cast = first + rest
    depths = np.sort(rng.beta(1.3, 1.6, len(cast)))
    return [(cast[i], float(depth)) for i, depth in zip(rng.permutation(len(cast)), depths, strict=True)]


def _box(scene: Scene, tall: float, aspect: float, depth: float, rng: np.random.Generator) -> drawing.Box:
    """A box for something `tall` persons high whose foot is at `depth`."""
    width, height = scene.picture.size
    bottom = (scene.horizon + 0.04 + depth * (0.94 - scene.horizon)) * height
    unit = (0.12 + 0.5 * depth) * min(width, height) * float(rng.uniform(0.9, 1.15))
    tall *= unit
    wide = tall * aspect
    left = float(rng.uniform(0.12, 0.88)) * width - wide / 2
    return (left, bottom - tall, wide, tall)


def _decoy(scene: Scene, category: str, depth: float, rng: np.random.Generator) -> Thing:
    """Something that might be taken for a person or a car: a statue or a crate."""
    shape, aspect = (drawing.statue, 0.5) if category == "person" else (drawing.crate, 1.2)
    return scene.add(shape, rng, _box(scene, _HEIGHT[category], aspect, depth, rng))


def _stand(scene: Scene, category: str, depth: float, place: str, rng: np.random.Generator, props: bool = True) -> None:
    box = _box(scene, _HEIGHT[category], _ASPECT[category], depth, rng)
    left, top, wide, tall = box
    if category != "person":
        scene.add(getattr(drawing, category), rng, box, category)
        return
    pose = {"street": "walk", "court": "play", "snow": "play", "room": "stand"}[place]
    scene.add(drawing.person, rng, box, category, pose=pose)
    if not props:
        return
    if place == "court":
        scene.add(
            drawing.racket,
            rng,
            (left + 0.86 * wide, top - 0.2 * tall, 0.3 * wide, 0.32 * tall),
            "tennis racket",
        )
        if rng.random() < 0.7:
            size = 0.11 * tall
            scene.add(drawing.ball, rng, (left + float(rng.uniform(-1, 2)) * wide, top, size, size), "sports ball")
    elif place == "snow":
        scene.add(drawing.skis, rng, (left - 0.35 * wide, top + 0.95 * tall, 1.9 * wide, 0.09 * tall), "skis")
    elif place == "street" and rng.random() < 0.15:
        scene.add(drawing.skateboard, rng, (left, top + 0.95 * tall, 1.1 * wide, 0.12 * tall), "skateboard")
    elif place == "room" and rng.random() < 0.5:
        scene.add(drawing.camera, rng, (left + 0.9 * wide, top + 0.3 * tall, 0.5 * tall, 0.7 * tall))
    if rng.random() < 0.08:
        _decoy(scene, "person" if rng.random() < 0.5 else "car", depth, rng)


def _crowd(scene: Scene, rng: np.random.Generator) -> None:
    """Rows of people; the far ones become one crowd annotation, the nearest row is annotated one by one."""
    width, height = scene.picture.size
    far: list[Thing] = []
    rows = int(rng.integers(4, 6))
    for row in range(rows):
        tall = (0.2 + 0.09 * row) * min(width, height)
        bottom = (scene.horizon + 0.1 + 0.16 * row) * height
        n = int(width / (tall * 0.34))
        for i in range(n):
            left = (i + float(rng.uniform(-0.2, 0.2))) * width / n
            jitter = float(rng.uniform(-0.03, 0.03)) * height
            thing = scene.add(drawing.person, rng, (left, bottom - tall + jitter, tall * 0.42, tall), "person")
            if row < rows - 1:
                far.append(thing)
    together = Thing("person", np.any([t.silhouette for t in far], axis=0), crowd=True)
    scene.things = [together, *(t for t in scene.things if not any(t is other for other in far))]


@dataclass
class _Annotation:
    annotation_id: int
    image_id: int
    category: str
    mask: np.ndarray
    crowd: bool
    thing: int


def _annotate(scene: Scene, image_id: int) -> list[_Annotation]:
    """The visible part of each thing that has a category, at the picture's final size."""
    hidden = np.zeros(scene.things[0].silhouette.shape, bool)
    annotations = []
    for number in reversed(range(len(scene.things))):
        thing = scene.things[number]
        visible = (thing.silhouette & ~hidden)[::SUPERSAMPLING, ::SUPERSAMPLING]
        hidden |= thing.silhouette
        if thing.category and visible.sum() >= MIN_AREA:
            annotation_id = image_id * 100 + number
            annotations.append(_Annotation(annotation_id, image_id, thing.category, visible, thing.crowd, number))
    return annotations[::-1]


def _plant_fault(
    fault: str,
    annotations: list[_Annotation],
    thing: int,
    image_id: int,
    split: str,
    rng: np.random.Generator,
) -> Planted:
    """Change the thing's annotation, in place, and say how."""
    (victim,) = (a for a in annotations if a.thing == thing)
    box = bbox(victim.mask)
    true: str | None = victim.category
    labelled: str | None = victim.category
    annotation_id: int | None = victim.annotation_id
    if fault == "mislabeled":
        labelled = victim.category = "car" if true == "person" else "person"
    elif fault == "missing":
        annotations.remove(victim)
        labelled, annotation_id = None, None
    elif fault == "inaccurate":
        victim.mask = _coarsen(victim.mask, rng)
    else:
        true = None
    return Planted(
        image_id,
        split,
        fault,
        annotation_id,
        _IDS[labelled] if labelled else None,
        _IDS[true] if true else None,
        box,
    )


def _coarsen(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A careless outline: the mask, grown by about a quarter of its width and shifted."""
    _, _, width, height = bbox(mask)
    grown = binary_dilation(mask, iterations=max(4, round(0.25 * min(width, height))))
    shift = [int(rng.choice((-1, 1)) * 0.12 * side) for side in (height, width)]
    return np.roll(grown, shift, axis=(0, 1))


def _as_coco(annotation: _Annotation, width: int, height: int) -> dict[str, Any]:
    if annotation.crowd:  # COCO writes crowds as uncompressed RLE
        flat = annotation.mask.ravel(order="F")
        changes = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff(np.concatenate(([0], changes, [flat.size])))
        counts = [0, *runs.tolist()] if flat[0] else runs.tolist()
        segmentation = {"size": [height, width], "counts": counts}
    else:
        segmentation = {"size": [height, width], "counts": rle.encode_rle(annotation.mask)}
    return {
        "id": annotation.annotation_id,
        "image_id": annotation.image_id,
        "category_id": _IDS[annotation.category],
        "iscrowd": int(annotation.crowd),
        "area": int(annotation.mask.sum()),
        "bbox": bbox(annotation.mask),
        "segmentation": segmentation,
    }


def _develop(picture: Image.Image, plan: _Plan, rng: np.random.Generator) -> Image.Image:
    """From drawing to photograph: final size, colour cast, light, noise, and the planted group's look."""
    pixels: np.ndarray = np.asarray(picture.resize(plan.size, Image.Resampling.LANCZOS), dtype=np.float32)
    pixels = pixels * rng.uniform(0.92, 1.08, 3) * rng.uniform(0.85, 1.1)
    if plan.group == "low_light":
        pixels *= rng.uniform(0.14, 0.24)
    pixels += rng.normal(0, 4, (*pixels.shape[:2], 1)) + rng.normal(0, 2, pixels.shape)
    photograph = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if plan.group in ("grayscale_file", "colourless"):
        photograph = photograph.convert("L")
    return photograph.convert("RGB") if plan.group == "colourless" else photograph
