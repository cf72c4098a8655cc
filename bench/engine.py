"""The masks stage's work on photographs: on this machine's cores, and by one and by two workers of a Dask cluster here.

python bench/engine.py FOLDER [REPEATS]    # in COCO's layout; its split train2017 is converted
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from distributed import LocalCluster

from bench import SIZE, read_jobs
from segscope.artefacts.parallel import engine
from segscope.labels.conversion import Job, Reading, convert_all
from segscope.params import Params

WARM = 64  # images before the clock starts: workers import


@contextmanager
def dask(workers: int, folder: Path) -> Iterator[None]:
    with LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        compute = {"engine": "dask", "address": cluster.scheduler_address}
        data = {"source": "directory", "root": str(folder)}
        with engine(Params.model_validate({"compute": compute, "data": data})):
            yield


def rate(jobs: list[Job]) -> tuple[float, str]:
    """Images per second, and a checksum of what was made of them."""
    reading, made = Reading(SIZE, "include", "ignore"), sha256()
    list(convert_all(islice(jobs, WARM), reading))
    start = time.perf_counter()
    for result in convert_all(jobs, reading):
        made.update(result.record or b"")
    return len(jobs) / (time.perf_counter() - start), made.hexdigest()


def main(folder: Path, repeats: int) -> None:
    jobs = list(read_jobs(folder / "annotations" / "instances_train2017.json", folder / "train2017"))
    places = {f"local, {os.cpu_count()} cores": nullcontext, "dask, 1 worker": dask, "dask, 2 workers": dask}
    rates: dict[str, list[float]] = {name: [] for name in places}
    sums = set()
    os.chdir(tempfile.mkdtemp())
    for _ in range(repeats):
        for name, place in places.items():
            with place(int(name.split()[1]), folder) if place is dask else place():
                found, made = rate(jobs)
            rates[name].append(found)
            sums.add(made)
    if len(sums) != 1:
        raise SystemExit("the outputs differ: a ratio would compare two different things")
    print(f"{len(jobs)} images; medians of {repeats} runs (lowest to highest), load {os.getloadavg()[0]:.1f}")
    first = np.array(next(iter(rates.values())))
    for name, each in rates.items():
        ratio = np.median(np.array(each) / first)
        print(
            f"{name:16} {np.median(each):6.0f} images/s ({min(each):.0f} to {max(each):.0f}), {ratio:.2f} times local"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
