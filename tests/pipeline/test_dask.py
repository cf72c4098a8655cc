"""The stages on a Dask cluster of two worker processes, one of which is killed: the same bytes as on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from dask_cluster import two_workers
from distributed import Client
from project import ENVIRONMENT, copy_of, run_scripts, set_params

from segscope.artefacts.files import sha256_of

BEFORE, AFTER = ("download", "masks"), ("predict", "embed", "cluster", "report")  # train: a worker is killed


def made(folder: Path, stages: tuple[str, ...]) -> dict[str, str]:
    """Checksums of what stages made."""
    declared = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    outs = [folder / out for stage in stages for out in declared[stage]["outs"]]
    files = (file for out in outs for file in ([out] if out.is_file() else out.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): sha256_of(file) for file in files}


def remove(folder: Path, stages: tuple[str, ...]) -> None:
    for out in made(folder, stages):
        (folder / out).unlink()


def kill_a_worker_while_it_trains(folder: Path, address: str) -> str:
    """Run the train stage, and kill the worker of a training after its first epoch; returns what was said."""
    command = (sys.executable, "stages/train.py")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **pipes) as process:
        while not list(folder.glob("artifacts/checkpoint-*/state.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        with Client(address, set_as_default=False) as client:
            busy = next(worker for worker, tasks in client.processing().items() if tasks)
            os.kill(client.run(os.getpid)[busy], signal.SIGKILL)
        said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def test_stages_on_a_cluster_make_the_same_bytes_though_a_worker_is_killed(varied, tmp_path):
    folder, stages = copy_of(varied, tmp_path / "project"), (*BEFORE, "train", *AFTER)
    expected = made(folder, stages)
    assert {"artifacts/repeats/seed-5.keras", "artifacts/folds/fold-1.keras"} <= set(expected)
    with two_workers(tmp_path) as address:
        set_params(folder, compute={"engine": "dask", "address": address})
        remove(folder, stages)
        run_scripts(folder, *BEFORE)
        kill_a_worker_while_it_trains(folder, address)
        run_scripts(folder, *AFTER)
        log = (tmp_path / "log").read_text()
    assert made(folder, stages) == expected
    assert "Restarting worker" in log
    assert "going on after epoch" in log
    assert not list(folder.glob("artifacts/.shared-*"))
