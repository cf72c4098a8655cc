"""Speed of the stages' work as ratios to the plainest code that does the same, all in one run; and their memory.

Uses the photographs that the environment variable COCO_MINI names, or else drawn ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from joblib import delayed
from PIL import Image
from pycocotools.coco import COCO
from results import record, spread, watched

from segscope.artefacts.images import open_image, resize_image
from segscope.artefacts.parallel import workers
from segscope.labels.conversion import Job, Reading, convert_all, decode_instances, jobs
from segscope.labels.masks import compose_mask
from segscope.sources.coco import read_coco
from segscope.sources.sample import draw_sample

ROOT = Path(__file__).parent.parent
SIZE = 128
REPEATS = 5
VAL2014 = {"images": 40_504, "annotations": 290_000}
MIB = 1 << 20

Pair = tuple[np.ndarray, np.ndarray]


def plain(annotation_file: Path, folder: Path) -> list[Pair]:
    """The straightforward loop: decode, annToMask for each annotation, paint, resize."""
    coco = COCO(str(annotation_file))
    pairs = []
    for image_id in sorted(coco.getImgIds()):
        row = coco.loadImgs(image_id)[0]
        with Image.open(folder / row["file_name"]) as image:
            picture = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        annotations = [(a, coco.annToMask(a)) for a in coco.loadAnns(coco.getAnnIds(image_id))]
        mask = np.zeros((row["height"], row["width"]), np.uint8)
        for a, m in sorted(annotations, key=lambda pair: (-pair[0]["iscrowd"], -int(pair[1].sum()), pair[0]["id"])):
            mask[m > 0] = a["category_id"]
        resized = Image.fromarray(mask).resize((SIZE, SIZE), Image.Resampling.NEAREST)
        pairs.append((np.asarray(picture), np.asarray(resized)))
    return pairs


def read_jobs(annotation_file: Path, folder: Path) -> Iterator[Job]:
    coco = read_coco(annotation_file)
    coco.annotations["segmentation"] = coco.annotations["segmentation"].map(bytes)
    paths = f"{folder}/" + coco.images["file_name"]
    return jobs(coco.images.assign(path=paths), pa.Table.from_pandas(coco.annotations, preserve_index=False))


def pair(job: Job) -> Pair:
    picture = resize_image(open_image(job.path, (job.width, job.height)), SIZE)
    return np.asarray(picture), compose_mask(decode_instances(job)[0], job.height, job.width, size=SIZE)


def segscope_pairs(annotation_file: Path, folder: Path) -> list[Pair]:
    """The same by segscope's functions, on all cores as its masks stage uses them."""
    return list(workers()(delayed(pair)(job) for job in read_jobs(annotation_file, folder)))


def segscope_stage(annotation_file: Path, folder: Path) -> list:
    """All that the masks stage does with an image: metadata, areas, PNG and records, too."""
    return list(convert_all(read_jobs(annotation_file, folder), Reading(SIZE, "include", "ignore")))


def timed(work: Callable, *arguments: object) -> tuple[float, list]:
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def speed(annotation_file: Path, folder: Path) -> None:
    cold, _ = timed(segscope_pairs, annotation_file, folder)
    seconds = []
    for _ in range(REPEATS):
        slow, expected = timed(plain, annotation_file, folder)
        fast, pairs = timed(segscope_pairs, annotation_file, folder)
        for a, b in zip(expected, pairs, strict=True):
            if not (np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])):
                raise SystemExit("the outputs differ: a ratio would compare two different things")
        whole, _ = timed(segscope_stage, annotation_file, folder)
        seconds.append((slow, fast, whole))
    table = np.array(seconds)
    n, found = len(expected), {}
    print(f"{n} images, {os.cpu_count()} cores; medians of {REPEATS} runs, ratios within a run")
    print(f"plain loop:                       {n / np.median(table[:, 0]):6.0f} images/s")
    for name, column in (("pictures and masks, same output", 1), ("the masks stage's whole work", 2)):
        ratios = table[:, 0] / table[:, column]
        rate, found[name] = n / np.median(table[:, column]), spread(ratios.tolist())
        between = f"{ratios.min():.2f} to {ratios.max():.2f}"
        print(f"{name + ':':33} {rate:6.0f} images/s, {np.median(ratios):.2f} times the plain loop's ({between})")
    record("masks", found)
    print(f"first run, workers not started:   {n / cold:6.0f} images/s")


def write_val2014_like(root: Path) -> None:
    """Annotation files of val2014's numbers (val) and of ten images (train), over few pictures."""
    rng = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    for i in range(20):
        pixels = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        for split in ("train", "val"):
            Image.fromarray(pixels).resize((64, 48)).resize((640, 480)).save(root / "images" / f"{split}{i}.jpg")
    categories = [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 3, "name": "car", "supercategory": "vehicle"},
    ]
    for split, n_images, n_annotations in (("val", VAL2014["images"], VAL2014["annotations"]), ("train", 10, 70)):
        ids = np.arange(n_images) + (1_000_000 if split == "train" else 0)
        images = [{"id": int(i), "file_name": f"{split}{i % 20}.jpg", "width": 640, "height": 480} for i in ids]
        of = rng.choice(ids, n_annotations)
        annotations = []
        for n in range(n_annotations):
            corners = int(rng.integers(8, 56))
            angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
            radius = rng.uniform(5, 90) * rng.uniform(0.8, 1.2, corners)
            centre = rng.uniform((0, 0), (640, 480))
            polygon = np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], 1).round(2)
            annotations.append(
                {
                    "id": n,
                    "image_id": int(of[n]),
                    "category_id": int(rng.choice([1, 3])),
                    "iscrowd": 0,
                    "segmentation": [polygon.ravel().tolist()],
                    "area": 1.0,
                    "bbox": [0, 0, 1, 1],
                }
            )
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(document))


def copy_stages(folder: Path) -> None:
    shutil.copytree(ROOT / "stages", folder / "stages")
    (folder / "data").mkdir()
    for file in ("exclude.yaml", "corrections.json", "metadata.csv"):
        shutil.copy(ROOT / "data" / file, folder / "data")


def write_project(folder: Path, photographs: str | None, **data: object) -> Path:
    """A project whose first two stages have run on a folder's photographs, or on drawn ones; returns its folder.

    data: other params of `data`.
    """
    copy_stages(folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    if photographs:
        params["data"] |= {"source": "directory", "root": photographs, "match": "none"} | data
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in ("download", "masks"):
        subprocess.run([sys.executable, f"stages/{stage}.py"], cwd=folder, check=True)
    return folder


def memory(scratch: Path) -> None:
    write_val2014_like(scratch / "coco")
    size = (scratch / "coco" / "annotations" / "val.json").stat().st_size / MIB
    print(f"val2014-sized file: {VAL2014['images']} images, {VAL2014['annotations']} annotations, {size:.0f} MiB")
    seconds, _ = timed(read_coco, scratch / "coco" / "annotations" / "val.json")
    print(f"reading and checking it: {seconds:.1f} s")
    found = {}
    for share in (0.25, 1):
        folder = scratch / f"project-{share}"
        copy_stages(folder)
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["data"] |= {
            "source": "directory",
            "root": str(scratch / "coco"),
            "annotations": "annotations/{split}.json",
        }
        params["data"] |= {"images": "images", "splits": {"train": "train", "val": "val"}, "match": "none"}
        params["data"]["max_images"] = {"train": 10, "val": int(share * VAL2014["images"])}
        params["model"]["encoder_weights"] = "none"
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        for stage in ("download", "masks"):
            seen = watched(folder, [sys.executable, f"stages/{stage}.py"])
            seconds, own, worker = seen.seconds, seen.own, seen.worker
            workers = f", largest worker {worker:.0f} MiB" if worker else ""
            found[f"{share:.0%} {stage}"] = {
                "seconds": round(seconds, 1),
                "mib": round(own),
                "worker_mib": round(worker),
            }
            print(f"{share:4.0%} of the images, {stage}: {seconds:.0f} s, peak {own:.0f} MiB{workers}")
    record("val2014", found)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if root := os.environ.get("COCO_MINI"):
            annotation_file = Path(root) / "annotations" / "instances_train2017.json"
            folder = Path(root) / "train2017"
        else:
            draw_sample(Path(scratch) / "sample", {"val": 120}, 0)
            annotation_file = Path(scratch) / "sample" / "annotations" / "instances_val.json"
            folder = Path(scratch) / "sample" / "val"
        speed(annotation_file, folder)
        memory(Path(scratch))


if __name__ == "__main__":
    main()
