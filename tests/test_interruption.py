"""Stages that are killed at any moment, and run again, end in the same files as if nothing had happened."""

import multiprocessing
import os
import runpy
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from conftest import as_mirror
from project import INPUTS, set_params
from serving import serve

from segscope.artefacts.files import sha256_of
from segscope.sources.sample import draw_sample

ROOT = Path(__file__).parent.parent
STAGES = ("download", "masks")
KILLS = 8
# A server of processes that have the libraries loaded: kills shall meet the work, not the imports.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "segscope.stage",
        "segscope.model.encoder",
        "segscope.sources.sample",
        "segscope.sources.source",
        "segscope.labels.shards",
    ]
)


def run_stages(folder: Path, cores: str) -> None:
    os.environ["LOKY_MAX_CPU_COUNT"] = cores
    os.chdir(folder)
    os.setpgrp()
    for stage in STAGES:
        runpy.run_path(str(ROOT / "stages" / f"{stage}.py"), run_name="__main__")
    os._exit(0)  # loky's workers end with the interpreter; multiprocessing would wait for them here


def start(folder: Path, cores: str = "2") -> multiprocessing.Process:
    process = CONTEXT.Process(target=run_stages, args=(folder, cores))
    process.start()
    return process


def complete(folder: Path, cores: str = "2") -> float:
    """Run the stages to their end; returns the seconds they took. On one core no workers have to be started."""
    began = time.monotonic()
    process = start(folder, cores)
    process.join(120)
    seconds = time.monotonic() - began
    with suppress(ProcessLookupError):  # none is left of its group
        os.killpg(process.pid, signal.SIGKILL)
    assert process.exitcode == 0
    return seconds


def made(folder: Path) -> dict[str, str]:
    """Checksums of all that the stages made but what they keep for themselves."""
    files = (p for part in ("data", "artifacts", "metrics") for p in (folder / part).rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): sha256_of(p) for p in files if p.name != "checksums.parquet"}


@pytest.fixture
def project(tmp_path):
    """A project that fetches sixty images from a server."""
    draw_sample(tmp_path / "coco", {"train2017": 40, "val2017": 20}, 0)
    sha256 = as_mirror(tmp_path / "coco", tmp_path / "served")
    with serve(tmp_path / "served", delay=0.02) as (url, _):
        data = {"source": "coco2017", "images_url": url, "annotations_url": f"{url}/annotations"}
        data |= {"archive_sha256": sha256, "match": "none", "image_size": 32}
        folder = tmp_path / "project"
        (folder / "data").mkdir(parents=True)
        for name in INPUTS:
            shutil.copy(ROOT / name, folder / name)
        set_params(folder, data=data, model={"encoder_weights": "none"})
        yield folder


def test_a_killed_run_leaves_nothing_behind_that_the_next_does_not_mend(project, tmp_path):
    complete(shutil.copytree(project, tmp_path / "warm"), cores="1")
    undisturbed = shutil.copytree(project, tmp_path / "undisturbed")
    seconds = complete(undisturbed)
    expected = made(undisturbed)
    assert sum(name.endswith(".jpg") for name in expected) == 60
    random, killed = Random(0), 0
    for number in range(KILLS):
        folder = shutil.copytree(project, tmp_path / f"killed-{number}")
        process = start(folder)
        process.join(random.uniform(0, seconds))
        if process.exitcode is None:
            killed += 1
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        complete(folder, cores="1")
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers would wait for work some minutes more
        assert made(folder) == expected, number
    assert killed > KILLS / 4  # on a busy machine some come too late
