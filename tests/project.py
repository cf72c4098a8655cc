"""The project's pipeline as a user has it: a repository of its own, a tiny configuration, commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from segscope.artefacts.measures import Measures
from segscope.run import Run

ROOT = Path(__file__).parents[1]
STAGES = ["download", "masks", "train", "predict", "embed", "cluster", "report"]
# Without what quiets the tests' own process: a user has it not.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.invalid",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.invalid",
    "CUDA_VISIBLE_DEVICES": "",
    "LOKY_MAX_CPU_COUNT": "1",  # workers take longer to start than to do what there is here for them
}


def call(folder: Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def run(folder: Path, *command: str) -> str:
    result = call(folder, *command)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def run_scripts(folder: Path, *stages: str) -> str:
    """Run stages without DVC, in one process: most of a small stage's time is that of its imports."""
    code = "import runpy, sys\nfor script in sys.argv[1:]: runpy.run_path(script, run_name='__main__')"
    return run(folder, sys.executable, "-c", code, *(f"stages/{stage}.py" for stage in stages))


def set_params(folder: Path, **groups: object) -> None:
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for name, value in groups.items():
        params[name] = params[name] | value if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(params))


def metrics(folder: Path, stage: str) -> dict:
    return json.loads((folder / "metrics" / f"{stage}.json").read_text())


def measures(folder: Path, *stages: str) -> Measures:
    return Run(folder=folder).measures(*stages)


def stale(folder: Path) -> list[str]:
    """The stages that `dvc repro` would run, as far as is known before it runs any."""
    from dvc.repo import Repo  # takes long, and few tests ask

    with pytest.MonkeyPatch.context() as patch, Repo(folder) as repo:
        patch.chdir(folder)  # DVC names stages by where it is
        status = repo.status()
    return [stage for stage in STAGES if stage in status]


INPUTS = ("params.yaml", "data/exclude.yaml", "data/corrections.json", "data/metadata.csv")


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "--allow-empty", "-m", message)


def new_project(folder: Path) -> Path:
    """The project's pipeline in a git repository of its own, without anything made before."""
    for name in ("stages", "src", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("cache", "tmp", "__pycache__"))
    for name in ("coco", "model"):
        (folder / "data" / name).mkdir(parents=True)
    own = ("data/coco/README.md", "data/model/README.md", *INPUTS)
    for name in ("dvc.yaml", ".gitignore", ".dvcignore", *own):
        shutil.copy(ROOT / name, folder / name)
    set_params(
        folder,
        data={"image_size": 64, "sample_images": {"train": 30, "val": 20}},
        train={"epochs": 8, "batch_size": 4},  # as many steps as it takes to contradict any label
        embed={"dimensions": 8},
        cluster={"min_cluster_size": 4, "stability_runs": 1, "explained": 2},
    )
    run(folder, "git", "init", "--quiet")
    commit(folder, "start")
    return folder


def copy_of(project: Path, folder: Path) -> Path:
    """A project to change, as far as the given one is."""
    shutil.copytree(project, folder, symlinks=True)
    return folder


def first_two_stages(folder: Path, **data: object) -> Path:
    """A folder in which the first two stages can run, without an encoder."""
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data").mkdir()
    for name in INPUTS:
        shutil.copy(ROOT / name, folder / name)
    data |= {"sample_images": {"train": 2, "val": 2}}
    set_params(folder, data=data, model={"encoder_weights": "none"})
    return folder
