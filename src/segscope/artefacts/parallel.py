"""Work on all cores."""

from __future__ import annotations

import os
import threading
import time

from joblib import Parallel

BATCH = 16  # images a task: a worker gets one while it does another, so few are in memory at once


def workers() -> Parallel:
    """A process on each core, for many short tasks; set LOKY_MAX_CPU_COUNT to use fewer."""
    return Parallel(
        n_jobs=-1,
        return_as="generator",
        batch_size=BATCH,
        pre_dispatch="4*n_jobs",
        initializer=_end_with,
        initargs=(os.getpid(),),
    )


def _end_with(parent: int) -> None:
    """In a worker: end when the process of this id does. Killed, it cannot tell its workers to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
