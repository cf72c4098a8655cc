"""What a run costs besides its work: the stages' imports, and DVC where there is nothing to do.

python bench/overhead.py FOLDER   # of a finished run; its stages are run again without DVC
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from results import STAGES, record, spread

REPEATS = 3
IMPORTS = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='imported')"


def seconds(folder: Path, *command: str) -> float:
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    folder, found = Path(sys.argv[1]).absolute(), {}
    pairs = [(seconds(folder, "dvc", "status"), seconds(folder, "dvc", "repro")) for _ in range(REPEATS)]
    ratios = [repro / status for status, repro in pairs]
    found["repro_of_status"] = of = spread(ratios)
    print(f"dvc repro without work: {of['median']} ({of['low']} to {of['high']}) times dvc status, ", end="")
    print(f"{np.median(pairs, 0)[1]:.1f} s")
    for stage in STAGES:
        script = f"stages/{stage}.py"
        imports = float(np.median([seconds(folder, sys.executable, "-c", IMPORTS, script) for _ in range(REPEATS)]))
        whole = seconds(folder, sys.executable, script)
        found[stage] = {"imports": round(imports, 2), "whole": round(whole, 2)}
        print(f"{stage}: imports {imports:.1f} of {whole:.1f} s, {imports / whole:.0%}", flush=True)
    record("overhead", found)


if __name__ == "__main__":
    main()
