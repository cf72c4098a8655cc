"""A Dask scheduler and its workers, processes as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client
from project import ENVIRONMENT


@contextmanager
def dask_process(folder: Path, *command: str) -> Iterator[subprocess.Popen]:
    """A process of Dask's that ends with all of its own. It can import what this one can; its log is in the folder."""
    environment = ENVIRONMENT | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }
    arguments = (sys.executable, "-m", "dask", *command, "--no-dashboard")
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            arguments, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address and the process of a scheduler without workers."""
    file = folder / "scheduler.json"
    options = ("--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(file))
    options += ("--idle-timeout", "600")  # of a killed test's
    with dask_process(folder, "scheduler", *options) as process:
        while not file.exists() or not (text := file.read_text()):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield json.loads(text)["address"], process


@contextmanager
def workers_of(address: str, folder: Path, n: int, *options: str) -> Iterator[subprocess.Popen]:
    """So many workers of a scheduler, of one thread each; yields the process that they are of, when they are ready."""
    arguments = ("worker", address, "--nthreads", "1", "--nworkers", str(n), "--local-directory", str(folder))
    with dask_process(folder, *arguments, *options) as process:
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(n, timeout=300)  # a busy machine is no fault
        yield process


@contextmanager
def two_workers(folder: Path) -> Iterator[str]:
    """The address of a scheduler with two workers, each begun again when it dies."""
    with scheduler(folder) as (address, _), workers_of(address, folder, 2):
        yield address
