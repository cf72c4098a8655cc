"""Whether a run made what is committed. `python tests/reproduced.py` after `make repro`; exit status 1 if not.

The first two stages give the same bytes everywhere. Training's sums of floats depend on the instructions and the number
of the processor's cores: `.ci/machine.txt` says on which kind the committed run was made. On that kind nothing may
differ; on another, dvc.lock and the metrics of the later stages do. `--record` writes that file.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
MACHINE = ROOT / ".ci" / "machine.txt"
SAME_EVERYWHERE = ("download", "masks")


def machine() -> str:
    """The kind of this machine, as far as it decides the floats."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        known = ""
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", known, re.MULTILINE))
    kind = " ".join(fields[key] for key in ("vendor_id", "cpu family", "model") if key in fields)
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    vector = sorted(flag for flag in flags if re.match("avx|amx|fma|sse4|asimd|sve", flag))
    return f"{platform.system()} {platform.machine()} {kind}, {os.cpu_count()} cores: {' '.join(vector)}\n"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Compare, say what differs, and whether it may."""
    if "--record" in sys.argv:
        MACHINE.write_text(machine(), encoding="utf-8")
        return 0
    changed = git("status", "--porcelain").splitlines()
    if not changed:
        print("everything is as committed")
        return 0
    print("\n".join(changed))
    if MACHINE.read_text(encoding="utf-8") == machine():
        print("error: this run differs from the committed one, on a machine of the same kind")
        return 1
    committed = yaml.safe_load(git("show", "HEAD:dvc.lock"))["stages"]
    own = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    later = {f" M metrics/{stage}.json" for stage in own if stage not in SAME_EVERYWHERE} | {" M dvc.lock"}
    if set(changed) - later or any(own[stage] != committed[stage] for stage in SAME_EVERYWHERE):
        print("error: this run differs from the committed one in what is the same on every machine")
        return 1
    print(
        f"the committed run was made on another kind of machine, whose floats differ:\n{MACHINE.read_text()}{machine()}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
