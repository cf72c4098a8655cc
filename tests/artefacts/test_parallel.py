"""Tasks on this machine's cores and on a Dask cluster of two processes."""

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_cluster import scheduler, two_workers, workers_of
from joblib import delayed

from segscope.artefacts import cluster
from segscope.artefacts.parallel import engine, in_turn, workers
from segscope.errors import SegscopeError
from segscope.params import Params


def params(address: str, **data: object) -> Params:
    return Params.model_validate({"compute": {"engine": "dask", "address": address}, "data": data})


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with two_workers(tmp_path_factory.mktemp("dask")) as address:
        yield address


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    gc.collect()  # a Client that found no scheduler locks the next up for ever if it is collected while that starts


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def where(path: str) -> str:
    return os.path.abspath(path)


def slow_square(number: int) -> int:
    """Also leaves word of itself in the run's folder."""
    Path(f"begun-{number}-{os.getpid()}").touch()
    time.sleep(0.1)
    return number * number


def test_here_heavy_tasks_are_done_in_this_process_each_when_it_is_asked_for():
    done: list[int] = []
    results = in_turn(lambda n: done.append(n) or n, [3, 1, 2])
    assert (next(results), done) == (3, [3])
    assert (list(results), done) == ([1, 2], [3, 1, 2])


def test_results_come_in_order_from_processes_of_the_cluster(address, folder):
    with engine(params(address)):
        many = list(workers()(delayed(square)(n) for n in range(100)))
        few = list(in_turn(square, range(10)))
        assert list(in_turn(where, ["a"])) == [str(folder / "a")]
        assert list(in_turn(square, [])) == []
    assert [value for value, _ in many] == [n * n for n in range(100)]
    assert [value for value, _ in few] == [n * n for n in range(10)]
    assert os.getpid() not in {process for _, process in many + few}
    assert [process for _, process in in_turn(square, [1])] == [os.getpid()]
    assert list((folder / "artifacts").iterdir()) == []


def test_items_are_drawn_as_they_are_needed(address):
    drawn: list[int] = []
    with engine(params(address)):
        results = in_turn(square, (drawn.append(n) or n for n in range(100)))
        assert next(results)[0] == 0
        assert len(drawn) == 2 * 2
        assert [value for value, _ in results] == [n * n for n in range(1, 100)]


def test_what_a_killed_worker_had_is_done_by_another(address, folder):
    with engine(params(address)):
        results = in_turn(slow_square, range(20))
        assert next(results) == 0
        process = next(int(path.name.split("-")[2]) for path in folder.glob("begun-1-*"))
        os.kill(process, signal.SIGKILL)
        assert list(results) == [n * n for n in range(1, 20)]
    assert len({path.name.split("-")[1] for path in folder.glob("begun-*")}) == 20


def test_what_a_task_raises_is_raised_here(address):
    with engine(params(address)):
        with pytest.raises(FileNotFoundError):
            list(in_turn(os.stat, ["missing"]))
        assert [value for value, _ in in_turn(square, [3])] == [9]


def test_a_task_that_ends_its_workers_is_an_error(address):
    with (
        engine(params(address)),
        pytest.raises(SegscopeError, match="2 workers died, one after another, while they did the same task: give"),
    ):
        list(in_turn(os._exit, [1]))


def test_one_worker_does_the_tasks_itself_and_a_scheduler_that_ends_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 1)
    with (
        scheduler(folder) as (address, process),
        workers_of(address, folder, 1, "--no-nanny") as worker,
        engine(params(address)),
    ):
        assert {process for _, process in in_turn(square, range(3))} == {worker.pid}
        process.kill()
        with pytest.raises(SegscopeError, match=r"the Dask scheduler ended or cannot be .* go on by `dvc repro`"):
            list(in_turn(square, range(3)))


def test_an_address_at_which_there_is_no_scheduler_is_an_error(monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 0.5)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        expected = rf"compute\.address: no Dask scheduler answers at {address} .*; start it, or name another"
        with pytest.raises(SegscopeError, match=expected), engine(params(address)):
            pass


@pytest.mark.parametrize("address", ["nonsense://scheduler", "tcp://no.such.host.invalid:8786", "scheduler"])
def test_what_is_no_address_is_an_error(address, monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 0.5)
    with pytest.raises(SegscopeError, match=r"compute\.address: no Dask scheduler"), engine(params(address)):
        pass


def test_without_dask_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SegscopeError, match=r"needs Dask .* `pip install 'segscope\[dask\]'`"), engine(params("x")):
        pass


def test_a_cluster_without_workers_and_one_whose_workers_have_threads_are_errors(folder, monkeypatch):
    with scheduler(folder) as (address, _):
        monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
        expected = f"the Dask cluster at {address} has no workers: start some"
        with pytest.raises(SegscopeError, match=expected), engine(params(address)):
            pass
        with (
            workers_of(address, folder, 1, "--no-nanny", "--nthreads", "2"),
            pytest.raises(SegscopeError, match=r"worker tcp://.* cannot work for this run: it has several threads"),
            engine(params(address)),
        ):
            pass


def test_workers_with_another_code_are_refused(address, monkeypatch, folder):
    """As if this process were of the changed code: the workers are of the unchanged."""
    changed = folder / "segscope"
    changed.mkdir()
    (changed / "new.py").write_text("")
    monkeypatch.setattr(cluster, "PACKAGE", changed)
    cluster._versions.cache_clear()
    expected = "cannot work for this run: its segscope's code is .*, the run's .*: start it in the run's environment"
    try:
        with pytest.raises(SegscopeError, match=expected), engine(params(address)):
            pass
    finally:
        cluster._versions.cache_clear()


def test_data_that_workers_do_not_see_is_an_error(address, folder):
    """/proc/self/cwd is each process's own working folder, so what is below it is seen from here alone."""
    (folder / "coco").mkdir()
    root = "/proc/self/cwd/coco"
    with (
        pytest.raises(SegscopeError, match=f"cannot work for this run: it does not see {root}: project and data must"),
        engine(params(address, source="directory", root=root)),
    ):
        pass
