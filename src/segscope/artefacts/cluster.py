"""A Dask cluster: connected to, asked whether it can do a run's work, and given tasks.

Not by joblib's own backend for Dask: where there is one worker it works in the caller's process instead, and where a
task ends with every worker that tries it, it waits for ever.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import platform
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, NamedTuple

from segscope import limits
from segscope.errors import SegscopeError
from segscope.params import Params
from segscope.quiet import hush, verbose

if TYPE_CHECKING:
    from distributed import Client, Worker

SECONDS, WORKER_SECONDS = 5, 30  # to reach the scheduler and between counts of workers; for a first to be there
LIBRARIES = ("h5py", "keras", "numpy", "pandas", "pillow", "pycocotools", "scikit-learn", "scipy", "tensorflow")
PACKAGE = Path(__file__).parents[1]
PAGE = "docs/scale.md says how a cluster is set up"


class Wanted(NamedTuple):
    """What a worker must have so that its results are those of this process.

    folder: the run's, absolute. paths: what it must see, absolute. versions: of each name, and what to do.
    """

    folder: str
    paths: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]


class Cluster:
    """Workers that do tasks for this process."""

    def __init__(self, client: Client, wanted: Wanted):
        self._client, self._wanted = client, wanted

    def results(self, tasks: Iterable[tuple], batch: int, ahead: int) -> Iterator[Any]:
        """The results of tasks, as `joblib.delayed` makes them, in order.

        batch: so many are given to a worker together. ahead: so many batches a worker, done or not, wait to be asked
        for. What a worker had when it died, another does. Raises what a task raises, and SegscopeError if the cluster
        fails.
        """
        from distributed import CancelledError
        from distributed.client import ClosedClientError
        from distributed.scheduler import KilledWorker

        try:
            yield from self._results(iter(tasks), batch, ahead)
        except KilledWorker as error:
            raise SegscopeError(
                f"{error.allowed_failures + 1} workers died, one after another, while they did the same task: give "
                "each more memory, or start fewer on a machine; their logs say more"
            ) from error
        except (CancelledError, ClosedClientError) as error:
            raise SegscopeError(
                "the Dask scheduler ended or cannot be reached any more, and its tasks are lost: see that it runs, "
                "then go on by `dvc repro`"
            ) from error

    def _results(self, tasks: Iterator[tuple], batch: int, ahead: int) -> Iterator[Any]:
        waiting, limit, counted = deque[Any](), ahead, -math.inf
        while some := list(islice(tasks, batch)):
            if time.monotonic() - counted > SECONDS:  # workers come and go
                limit = ahead * (self._client.scheduler_info(n_workers=0).get("n_workers") or 1)
                counted = time.monotonic()
            # Pickled: Dask would look for tasks of its own in all that they are made of.
            waiting.append(self._client.submit(_work, self._wanted, pickle.dumps(some), pure=False))
            while len(waiting) >= limit:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


@contextmanager
def connected(params: Params, folder: Path = Path()) -> Iterator[Cluster]:
    """The cluster at `compute.address`, to work for the run in a folder.

    Raises SegscopeError if Dask is not installed, the scheduler cannot be reached, there is no worker, or one differs
    from this process in what decides results, or does not see the run's files.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SegscopeError(
            f"compute.engine: dask needs Dask ({error}): `pip install 'segscope[dask]'`, or set it to local"
        ) from error
    if not verbose():
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what it says there comes as exceptions, too
    address = params.compute.address
    with ExitStack() as stack:
        try:
            client = stack.enter_context(Client(address, timeout=SECONDS, set_as_default=False))
        except (OSError, ValueError) as error:
            raise SegscopeError(
                f"compute.address: no Dask scheduler answers at {address} ({error}); start it, or name another; {PAGE}"
            ) from error
        wanted = Wanted(str(folder.absolute()), stack.enter_context(_shown(params, folder)), _versions())
        _require_workers(client, wanted, str(address))
        yield Cluster(client, wanted)


def _require_workers(client: Client, wanted: Wanted, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        raise SegscopeError(f"the Dask cluster at {address} has no workers: start some; {PAGE}") from error
    for worker, found in client.run(_asked, wanted, on_error="return").items():
        if isinstance(found, Exception):
            found = f"it cannot run segscope ({type(found).__name__}: {found}): start it in the same environment"
        if found:
            raise SegscopeError(f"worker {worker} cannot work for this run: {found}; {PAGE}")


@contextmanager
def _shown(params: Params, folder: Path) -> Iterator[tuple[str, ...]]:
    """What every worker must see: folders that tasks read, and in those that are our own a file of this moment."""
    data, model = params.data, params.model
    own, read = [folder / "artifacts"], [Path(model.path)] * (model.source != "train")
    if data.source == "directory":
        root = Path(data.root)
        read += [root, *(sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else [])]
    elif data.source != "sample":
        own.append(Path(data.cache_dir))
    with ExitStack() as stack:
        for place in own:
            place.mkdir(parents=True, exist_ok=True)
            read.append(Path(stack.enter_context(NamedTemporaryFile(prefix=".shared-", dir=place)).name))
        yield tuple(str(path.absolute()) for path in read)


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Of what decides a task's results: program, libraries, and the limits that the environment may have raised."""
    code = sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        code.update(str(file.relative_to(PACKAGE)).encode() + file.read_bytes())
    libraries = ((name, _version(name)) for name in LIBRARIES)
    bounds = ((f"SEGSCOPE_{name}", str(bound)) for name, bound in vars(limits).items() if name.startswith("MAX_"))
    return (("segscope's code", code.hexdigest()[:12]), ("Python", platform.python_version()), *libraries, *bounds)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # as which TensorFlow's build for CPUs is installed
        return version(f"{library}-cpu")


def _asked(wanted: Wanted, dask_worker: Worker) -> str:
    """As `_differing`, of the worker that `Client.run` asks."""
    return _differing(wanted, dask_worker.state.nthreads)


@cache  # a stage asks once
def _differing(wanted: Wanted, threads: int) -> str:
    """What keeps this process, a worker of so many threads, from working for a run, and what to do; "": nothing."""
    if threads != 1:
        return "it has several threads, and TensorFlow's state is the process's: start workers with `--nthreads 1`"
    for (name, there), (_, here) in zip(wanted.versions, _versions(), strict=True):
        if there != here:
            return f"its {name} is {here}, the run's {there}: start it in the run's environment, with its code"
    for path in wanted.paths:
        if not os.path.exists(path):
            return f"it does not see {path}: project and data must lie on a file system that all workers share"
    return ""


def _work(wanted: Wanted, tasks: bytes) -> list:
    """In a worker: the results of pickled tasks, done in the run's folder."""
    from distributed import get_worker

    found = _differing(wanted, get_worker().state.nthreads)  # it may have come later than the stage began
    if found:
        raise SegscopeError(f"a worker cannot work for this run: {found}; {PAGE}")
    hush()
    with chdir(wanted.folder):
        return [function(*arguments, **keywords) for function, arguments, keywords in pickle.loads(tasks)]
