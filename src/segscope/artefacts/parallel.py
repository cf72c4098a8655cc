"""Work on all cores, of this machine or, by `compute.engine: dask`, of a cluster's.

Tasks depend on nothing but their arguments and on files, so that where they run changes no output.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from joblib import Parallel, delayed

from segscope.artefacts.cluster import Cluster, connected
from segscope.params import Params

BATCH = 16  # images a task: a worker gets one while it does another, so few are in memory at once
# Tasks that a worker of a cluster may have before their results are asked for.
MANY, FEW = 4, 2

Item = TypeVar("Item")
Result = TypeVar("Result")

_cluster: Cluster | None = None  # of this process; in a worker's there is none


@contextmanager
def engine(params: Params) -> Iterator[None]:
    """A block whose `workers` and `in_turn` work where `compute` says.

    Raises SegscopeError if that is a cluster which cannot be reached, or cannot do this run's work.
    """
    global _cluster
    if params.compute.engine == "local":
        yield
        return
    with connected(params) as _cluster:
        try:
            yield
        finally:
            _cluster = None


def workers() -> Callable[[Iterable[tuple]], Iterator[Any]]:
    """A process on each core, for many short tasks as `joblib.delayed` makes them; their results come in order.

    LOKY_MAX_CPU_COUNT sets fewer of this machine's; a cluster has those that it was started with.
    """
    if _cluster:
        return lambda tasks: _cluster.results(tasks, BATCH, MANY)
    return Parallel(
        n_jobs=-1,
        return_as="generator",
        batch_size=BATCH,
        pre_dispatch="4*n_jobs",
        initializer=_end_with,
        initargs=(os.getpid(),),
    )


def in_turn(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The function of each item, in order: of tasks that take all cores of a machine each, as TensorFlow's do.

    Here one after another, in this process, each when its result is asked for; on a cluster several at a time. There
    the function, items and results are pickled, paths are of the run's folder, and a task whose worker dies is begun
    again by another: what it writes must bear that.
    """
    if _cluster:
        return _cluster.results((delayed(function)(item) for item in items), 1, FEW)
    return map(function, items)


def _end_with(parent: int) -> None:
    """In a worker: end when the process of this id does. Killed, it cannot tell its workers to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
