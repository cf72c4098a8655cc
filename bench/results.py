"""What benchmarks measured, kept beside the machine and the commit: bench/results.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from segscope.artefacts.measures import METRICS

STAGES = tuple(METRICS)
MIB = 1 << 20
FILE = Path(__file__).resolve().with_name("results.json")


def record(name: str, figures: Any) -> None:
    """Put a benchmark's figures in the place of its former ones."""
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[name] = {"commit": commit(), "machine": machine(), "figures": figures}
    FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def spread(ratios: Sequence[float]) -> dict[str, float]:
    """Median and range of ratios that were measured within one run each."""
    return {"median": round(median(ratios), 3), "low": round(min(ratios), 3), "high": round(max(ratios), 3)}


class Watched(NamedTuple):
    """A process that ended well. said: what it printed.

    own, worker, together: peak resident memory in MiB of its own, of its largest worker, of it with its workers.
    """

    seconds: float
    own: float
    worker: float
    together: float
    said: str


def watched(folder: Path, command: list[str]) -> Watched:
    """Run a command in a project, with the project's own code."""
    start, peaks = time.perf_counter(), (0, 0, 0)
    with tempfile.TemporaryFile("w+") as said:
        environment = os.environ | ({"PYTHONPATH": str(folder / "src")} if (folder / "src").exists() else {})
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said)
        watch = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                own, *workers = (each.memory_info().rss for each in (watch, *watch.children(recursive=True)))
                peaks = tuple(map(max, peaks, (own, max(workers, default=0), own + sum(workers))))
            time.sleep(0.02)
        if process.returncode:
            raise SystemExit(f"{command[-1]} failed")
        said.seek(0)
        return Watched(time.perf_counter() - start, *(peak / MIB for peak in peaks), said.read())


def commit() -> str:
    return subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=FILE.parent, capture_output=True, text=True, check=True
    ).stdout.strip()


def machine() -> dict[str, Any]:
    """Of what the figures depend on; load: runnable processes of the last minute, those of the benchmark included."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }
