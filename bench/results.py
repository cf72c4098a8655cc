"""What benchmarks measured, kept beside the machine and the commit: bench/results.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

FILE = Path(__file__).resolve().with_name("results.json")


def record(name: str, figures: Any) -> None:
    """Put a benchmark's figures in the place of its former ones."""
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[name] = {"commit": commit(), "machine": machine(), "figures": figures}
    FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def spread(ratios: Sequence[float]) -> dict[str, float]:
    """Median and range of ratios that were measured within one run each."""
    return {"median": round(median(ratios), 3), "low": round(min(ratios), 3), "high": round(max(ratios), 3)}


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
