"""Time and memory of every stage against the number of images, beside a bare `model.predict` over the same images.

python bench/scale.py FOLDER [IMAGES ...]   # of photographs as COCO has them; 1000 5000 20000

A quarter of the images are val's; one epoch is trained. Each stage is a process of its own, as DVC runs it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from results import STAGES, record, watched

ROOT = Path(__file__).parent.parent
SIZES = (1_000, 5_000, 20_000)
BARE = """
import sys, time
import numpy as np
from pathlib import Path
from segscope.model.dataset import split_records
from segscope.model.inference import batches_of
from segscope.model.saving import read_model
from segscope.run import Run
run = Run()
model, size = read_model(run.path("model")), run.params.data.image_size
records = split_records(run.path("dataset"), size, "train", "val")[:2048]
pictures = np.concatenate([batch.astype(np.float32) for _, batch, _ in batches_of(records, size, 256)])
model.predict(pictures[:64], batch_size=32, verbose=0)
start = time.perf_counter()
model.predict(pictures, batch_size=32, verbose=0)
print((time.perf_counter() - start) / len(pictures))
"""


def project(folder: Path, photographs: Path, images: int) -> Path:
    """A clone of this repository's last commit that is to run on so many images."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["data"] |= {"source": "directory", "root": str(photographs), "match": "none"}
    params["data"]["max_images"] = {"train": images - images // 4, "val": images // 4}
    params["train"]["epochs"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def measure(photographs: Path, images: int) -> dict[str, dict[str, float]]:
    """Of each stage seconds and MiB; bare: seconds of `model.predict` over the images, by those of 2,048."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, found = project(Path(scratch) / "project", photographs, images), {}
        for stage in STAGES:
            seen = watched(folder, [sys.executable, f"stages/{stage}.py"])
            found[stage] = {"seconds": round(seen.seconds, 1), "mib": round(seen.together)}
            print(f"{images} images, {stage}: {seen.seconds:.1f} s, {seen.together:.0f} MiB", flush=True)
        seen = watched(folder, [sys.executable, "-c", BARE])
        found["bare"] = {"seconds": round(float(seen.said.split()[-1]) * images, 1), "mib": round(seen.together)}
        size = sum(file.stat().st_size for file in (folder / "reports").rglob("*") if file.is_file())
        index = (folder / "reports" / "index.html").stat().st_size
        found["sizes"] = {"report_mb": round(size / 1e6, 1), "index_kb": round(index / 1e3, 1)}
        for name in ("dataset", "predictions.parquet", "activations.parquet", "instances.parquet"):
            path = folder / "artifacts" / name
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            found["sizes"][f"{name}_mb"] = round(sum(file.stat().st_size for file in files) / 1e6, 1)
    later = sum(found[stage]["seconds"] for stage in ("predict", "embed", "cluster", "report"))
    print(
        f"{images} images: bare model.predict {found['bare']['seconds']} s; predict to report {later:.0f} s, ", end=""
    )
    print(f"{later / found['bare']['seconds']:.2f} times; {found['sizes']}", flush=True)
    return found


def main() -> None:
    photographs = Path(sys.argv[1]).absolute()
    found: dict[str, dict] = {}
    for n in map(int, sys.argv[2:] or SIZES):
        found[str(n)] = measure(photographs, n)
        record("scale", found)


if __name__ == "__main__":
    main()
