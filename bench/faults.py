"""What becomes of the stages when what they read is damaged, when they are killed, when the disk is full. Seeded.

python bench/faults.py FOLDER [damaged | killed | full] ... [--stages STAGE ...] [--times N]

FOLDER: a finished run of a tiny configuration; made if it is not there. It is only read.
damaged: every stage with every file that it reads, damaged in every way of tests/faults.py, N times (1).
killed: every stage killed at N (20) random moments, and run again.
full: every stage N (5) times on a disk with room for a random part of what it writes (Linux, as root).

A fault is survived if the stage ends in one line that names the file and what to do, or in the bytes of an undisturbed
run, and if no file is there that is half. One line a fault that is not, and a table at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import faults  # noqa: E402
from in_process import run_stage  # noqa: E402
from project import STAGES, new_project, run_scripts  # noqa: E402

TIMES = {"damaged": 1, "killed": 20, "full": 5}
LOG = "artifacts/training/"  # is written while a model learns, and says no more than that
PARTIAL = ".partial"  # what becomes an artefact when it is whole
# A server of processes that have the libraries loaded: kills shall meet the work, not the imports.
CONTEXT = multiprocessing.get_context("forkserver")
LOADED = ["segscope.model.training", "segscope.suspects.find", "segscope.latent.projection", "segscope.latent.support"]
LOADED += ["segscope.report.page", "segscope.labels.conversion", "segscope.sources.source", "segscope.sources.sample"]


def stage_process(folder: Path, stage: str, log: Path) -> None:
    os.chdir(folder)
    os.setpgrp()  # with its workers
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        runpy.run_path(f"stages/{stage}.py", run_name="__main__")
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(99)
    os._exit(0)


def start(folder: Path, stage: str) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=stage_process, args=(folder, stage, folder.with_suffix(".log")))
    process.start()
    return process


def end(process: multiprocessing.process.BaseProcess) -> None:
    with suppress(ProcessLookupError):  # none is left of its group
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def complete(folder: Path, stage: str) -> tuple[int, float]:
    """Run a stage to its end: its exit status, and the seconds it took."""
    began = time.monotonic()
    process = start(folder, stage)
    process.join()
    seconds = time.monotonic() - began
    status = int(process.exitcode or 0)
    end(process)
    return status, seconds


def copied(project: Path, folder: Path) -> Path:
    return Path(shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".git", ".dvc", "src", "cache")))


def outputs(stage: str) -> list[str]:
    return [out for out, maker in faults.makers().items() if maker == stage] + [f"metrics/{stage}.json"]


def is_scratch(path: str) -> bool:
    """Whether nobody takes a file for an artefact; the next run removes it."""
    return path.startswith(LOG) or any(part.startswith(".") and PARTIAL in part for part in Path(path).parts)


def differing(project: Path, expected: dict[str, str]) -> list[str]:
    found = faults.made(project)
    return sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))


def damaged(project: Path, scratch: Path, stage: str, times: int) -> Iterator[str]:
    """What happened to each damaged input: nothing to say if it was survived."""
    folder = copied(project, scratch / stage)
    os.chdir(folder)
    expected = faults.made(folder)
    for path in faults.inputs(stage):
        for name, damage in faults.DAMAGES.items():
            for seed in range(times):
                try:
                    with faults.damaged(folder / path, damage, Random(f"{stage} {path} {name} {seed}")):
                        status, said = run_stage(stage)
                    fault = faults.fault(said, *faults.named(path, name)) if status else None
                except Exception as error:
                    fault = f"a traceback of {type(error).__name__}: {error}"
                changed = differing(folder, expected)
                fault = fault or (f"other files: {', '.join(changed[:3])}" if changed else None)
                seen = fault and not faults.harmless(stage, path, name)
                yield f"{stage}, {path} {name}: {fault}" if seen else ""
                for each in changed:
                    (folder / each).unlink(missing_ok=True)
                    if each in expected:
                        (folder / each).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(project / each, folder / each)


def without_outputs(project: Path, folder: Path, stage: str) -> Path:
    """A copy as DVC has it when it runs the stage."""
    copied(project, folder)
    for out in outputs(stage):
        if (folder / out).is_dir():
            shutil.rmtree(folder / out)
        else:
            (folder / out).unlink()
    return folder


def killed(project: Path, scratch: Path, stage: str, times: int) -> Iterator[str]:
    """What happened to each killed run."""
    complete(without_outputs(project, scratch / "warm", stage), stage)
    undisturbed = without_outputs(project, scratch / "undisturbed", stage)
    status, seconds = complete(undisturbed, stage)
    if status:
        raise SystemExit(f"{stage} fails undisturbed: {undisturbed.with_suffix('.log').read_text()}")
    expected, random = faults.made(undisturbed), Random(stage)
    for number in range(times):
        folder = without_outputs(project, scratch / f"killed-{number}", stage)
        moment = random.uniform(0, seconds)
        process = start(folder, stage)
        process.join(moment)
        alive = process.exitcode is None
        end(process)
        found = faults.made(folder)
        half = [path for path in found if found[path] != expected.get(path) and not is_scratch(path)]
        status, _ = complete(folder, stage)
        other = differing(folder, expected)
        where = f"{stage}, killed after {moment:.1f} of {seconds:.1f} s"
        if not alive:
            yield "late"
        elif half or status or other:
            yield f"{where}: half {half[:3]}, then status {status}, other files {other[:3]}"
        else:
            yield ""
        shutil.rmtree(folder)


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def full(project: Path, scratch: Path, stage: str, times: int) -> Iterator[str]:
    """What happened on each full disk: what lay there before must stay, as whole as it was."""
    expected, random = faults.made(project), Random(stage)
    written = sum((project / path).stat().st_size for path in expected if path.startswith(tuple(outputs(stage))))
    for _ in range(times):
        with small_disk(2**28) as disk:
            folder = copied(project, disk / "project")
            free, room = shutil.disk_usage(disk).free, int(random.uniform(0, written))
            with (disk / "others").open("wb") as others:
                others.write(bytes(max(free - room, 0)))
            log = scratch / f"{stage}.log"
            process = CONTEXT.Process(target=stage_process, args=(folder, stage, log))
            process.start()
            process.join()
            status = process.exitcode
            end(process)
            said = log.read_text()
            fault = faults.fault("".join(line for line in said.splitlines(True) if line.strip())) if status else None
            other = [path for path in differing(folder, expected) if not path.startswith(LOG)]
        if not status:
            yield "late"  # it had room enough
        else:
            yield f"{stage}, {room} of {written} bytes: {fault} {other[:3]}" if fault or other else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", choices=[[], *TIMES], default=[])
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=STAGES)
    parser.add_argument("--times", type=int)
    options = parser.parse_args()
    CONTEXT.set_forkserver_preload(LOADED)
    project = options.folder.absolute()
    if not project.exists():
        run_scripts(new_project(project), *STAGES)
    rows = []
    for kind in options.kinds or TIMES:
        for stage in options.stages:
            with tempfile.TemporaryDirectory() as scratch:
                results = []
                times = options.times or TIMES[kind]
                for result in globals()[kind](project, Path(scratch), stage, times):
                    results.append(result)
                    if result not in ("", "late"):
                        print(result, flush=True)
                os.chdir(ROOT)
            tried = [each for each in results if each != "late"]
            rows.append(f"| {kind} | {stage} | {len(tried)} | {tried.count('')} |")
            print(rows[-1], flush=True)
    print("\n| fault | stage | tried | survived |\n| --- | --- | --- | --- |", *rows, sep="\n")


if __name__ == "__main__":
    main()
