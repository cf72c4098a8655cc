"""A run again, in another folder, on a Dask cluster of two worker processes of which one is killed: the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from dask_cluster import two_workers
from distributed import Client
from project import ENVIRONMENT, STAGES, copy_of, run, run_scripts, set_params


@pytest.fixture(scope="module")
def again(varied, tmp_path_factory):
    """The finished run `other` in another folder, its outputs made anew on a cluster; and what the cluster said."""
    folder = copy_of(varied, tmp_path_factory.mktemp("another place") / "again")
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values():
        for out in map(folder.joinpath, stage["outs"]):
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    params = (folder / "params.yaml").read_text()
    cluster = tmp_path_factory.mktemp("cluster")
    with two_workers(cluster) as address:
        set_params(folder, compute={"engine": "dask", "address": address})
        run_scripts(folder, *STAGES[:2])
        kill_a_worker_while_it_trains(folder, address)
        run_scripts(folder, *STAGES[3:])
        log = (cluster / "log").read_text()
    (folder / "params.yaml").write_text(params)
    return folder, log


def kill_a_worker_while_it_trains(folder: Path, address: str) -> None:
    """Run the train stage, and kill the worker of a training after its first epoch."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with (
        Client(address, set_as_default=False) as client,
        subprocess.Popen((sys.executable, "stages/train.py"), cwd=folder, env=ENVIRONMENT, **pipes) as process,
    ):
        processes = client.run(os.getpid)
        while not list(folder.glob("artifacts/checkpoint-*/state.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        busy = next(worker for worker, tasks in client.processing().items() if tasks)
        os.kill(processes[busy], signal.SIGKILL)
        said, _ = process.communicate()
    assert process.returncode == 0, said


def test_equal_inputs_give_equal_bytes(again, varied):
    """dvc.lock holds a sum of every output, and the metrics files are in git."""
    folder, _ = again
    assert (folder / "artifacts/repeats/seed-5.keras").exists()
    assert (folder / "artifacts/folds/fold-1.keras").exists()
    assert json.loads(run(folder, "dvc", "status", "--json")) == {}
    for command in (("diff",), ("status", "--porcelain")):
        assert run(folder, "git", *command) == run(varied, "git", *command)


def test_a_killed_worker_leaves_nothing_but_its_log(again):
    folder, log = again
    assert "Restarting worker" in log
    assert "going on after epoch" in log
    assert not list(folder.glob("artifacts/.shared-*"))
    assert not list(folder.glob("artifacts/checkpoint*"))
