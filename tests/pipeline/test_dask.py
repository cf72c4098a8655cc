"""The stages on a Dask cluster of two worker processes, one of which is killed: the same bytes as on this machine."""

import os
import shutil
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

BEFORE, AFTER = ("masks",), ("predict", "embed", "cluster", "report")  # train: a worker is killed


def outputs(folder: Path) -> list[Path]:
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    return [folder / out for stage in (*BEFORE, "train", *AFTER) for out in stages[stage]["outs"]]


def made(folder: Path) -> dict[str, str]:
    """Checksums of what the stages made."""
    files = [file for out in outputs(folder) for file in (out, *out.rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): sha256_of(file) for file in files}


def kill_a_worker_while_it_trains(folder: Path, address: str) -> None:
    """Run the train stage, and kill the worker of a training after its first epoch."""
    command = (sys.executable, "stages/train.py")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with (
        Client(address, set_as_default=False) as client,
        subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **pipes) as process,
    ):
        processes = client.run(os.getpid)
        while not list(folder.glob("artifacts/checkpoint-*/state.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        busy = next(worker for worker, tasks in client.processing().items() if tasks)
        os.kill(processes[busy], signal.SIGKILL)
        said, _ = process.communicate()
    assert process.returncode == 0, said


def test_stages_on_a_cluster_make_the_same_bytes_though_a_worker_is_killed(varied, tmp_path):
    folder, expected = copy_of(varied, tmp_path / "project"), made(varied)
    assert {"artifacts/repeats/seed-5.keras", "artifacts/folds/fold-1.keras", "reports/index.html"} <= set(expected)
    for out in outputs(folder):
        shutil.rmtree(out) if out.is_dir() else out.unlink()
    with two_workers(tmp_path) as address:
        set_params(folder, compute={"engine": "dask", "address": address})
        run_scripts(folder, *BEFORE)
        kill_a_worker_while_it_trains(folder, address)
        run_scripts(folder, *AFTER)
        log = (tmp_path / "log").read_text()
    assert made(folder) == expected
    assert "Restarting worker" in log
    assert "going on after epoch" in log
    assert not list(folder.glob("artifacts/.shared-*"))
