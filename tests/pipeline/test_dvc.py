"""What a DVC user takes for granted: nothing stale is called up to date, nothing that did not change runs again,
equal inputs give equal bytes, and an experiment runs its own code."""

import json
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from dvc.repo import Repo
from project import ENVIRONMENT, STAGES, copy_of, metrics, run, set_params


def stale(project) -> list[str]:
    with pytest.MonkeyPatch.context() as patch, Repo(project) as repo:
        patch.chdir(project)  # DVC names stages by where it is
        status = repo.status()
    return [stage for stage in STAGES if stage in status]


def append(project, file: str, text: str = "\n# changed\n") -> None:
    path = project / file
    path.write_text(path.read_text() + text)


@pytest.fixture(scope="module")
def unchanged(finished, tmp_path_factory):
    """A copy of the finished run, to change and to change back."""
    return copy_of(finished, tmp_path_factory.mktemp("unchanged") / "project")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("src/segscope/params.py", STAGES),
        ("src/segscope/artefacts/schemas.py", STAGES),
        ("src/segscope/model/folds.py", ["train", "predict"]),
        ("src/segscope/model/dataset.py", ["train", "predict", "cluster"]),
        ("src/segscope/evaluation/per_image.py", ["predict", "cluster", "report"]),
        ("src/segscope/report/assets/style.css", ["report"]),
        ("src/segscope/report/compare_assets/compare.js", []),
        ("src/segscope/cli.py", []),
    ],
)
def test_a_change_of_code_makes_stale_what_it_can_affect(unchanged, file, expected):
    code = (unchanged / file).read_text()
    append(unchanged, file)
    found = stale(unchanged)
    (unchanged / file).write_text(code)
    assert found == expected


def test_only_the_variant_that_is_run_matters(project):
    variants = yaml.safe_load((project / "params.yaml").read_text())["variants"]
    set_params(
        project, variants=variants | {"supercategory": {"person": ["person"], "ride": ["bus"]}, "more": {"a": ["bus"]}}
    )
    assert stale(project) == []
    set_params(project, variants=variants | {"category": {"person": ["person"], "car": ["car", "truck"]}})
    assert stale(project) == ["train", "predict", "embed", "cluster", "report"]


@pytest.fixture(scope="module")
def again(finished, tmp_path_factory):
    """The finished run in another folder, its outputs made anew, each stage watched for the params that it reads.

    The training is killed after its first epoch, and goes on.
    """
    folder = copy_of(finished, tmp_path_factory.mktemp("another place") / "again")
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values():
        for out in map(folder.joinpath, stage["outs"]):
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    (folder / "watch.py").write_text(WATCH)
    run(folder, sys.executable, "watch.py", "download", "masks")
    kill_after_an_epoch(folder)
    said = run(folder, sys.executable, "watch.py", *STAGES[2:])
    assert "going on after epoch 1" in said
    read = {stage: set((folder / f"{stage}.read").read_text().split()) for stage in STAGES}
    for file in ("watch.py", *(f"{stage}.read" for stage in STAGES)):
        (folder / file).unlink()
    return folder, read


def kill_after_an_epoch(folder) -> None:
    state = folder / "artifacts" / "checkpoint" / "state.json"
    command = (sys.executable, "stages/train.py")
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        while not state.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()


def test_equal_inputs_give_equal_bytes(again):
    """dvc.lock holds a sum of every output, and the metrics files are in git. The training was killed on the way."""
    folder, _ = again
    assert not (folder / "artifacts" / "checkpoint").exists()
    assert json.loads(run(folder, "dvc", "status", "--json")) == {}
    assert run(folder, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_params_that_it_declares_and_no_other(again, stage):
    folder, read = again
    declared = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"][stage]["params"]
    declared = {"variants" if name.startswith("variants.") else name for name in declared}

    def covers(a: str, b: str) -> bool:
        return a == b or b.startswith(f"{a}.")

    # compute says where a stage's tasks run, download warns of classes that the data lack: no output depends on these.
    checked = {"compute.engine", *({"variant", "variants"} if stage == "download" else ())}
    assert {name for name in read[stage] - checked if not any(covers(d, name) for d in declared)} == set()
    unread = {d for d in declared if not any(covers(d, name) for name in read[stage])}
    of_directories = ("root", "format", "splits", "val_share", "annotations", "images")
    of_the_web = ("annotations_url", "images_url", "archive_sha256")
    unread -= {f"data.{key}" for key in of_directories + of_the_web}
    of_models = {f"model.{key}" for key in ("path", "outputs", "preprocessing")}
    assert unread <= of_models | ({"data.max_missing"} if stage == "predict" else set())


def test_a_worktree_runs_its_own_code(project, tmp_path):
    run(project, "git", "worktree", "add", "--quiet", str(tmp_path / "other"))
    append(tmp_path / "other", "src/segscope/stage.py", "\nprint('another tree', flush=True)\n")
    assert "another tree" in run(tmp_path / "other", "dvc", "repro", "download")


def test_metrics_are_few(finished):
    def values(document: dict) -> int:
        return sum(values(value) if isinstance(value, dict) else 1 for value in document.values())

    assert sum(values(metrics(finished, stage)) for stage in STAGES) <= 60


WATCH = """
import runpy, sys
from pydantic import BaseModel
from segscope import params_file

seen, loaded = set(), []
paths = {}

def watch(group, prefix):
    paths[id(group)] = prefix
    for name in type(group).model_fields:
        value = object.__getattribute__(group, name)
        if isinstance(value, BaseModel):
            watch(value, f"{prefix}{name}.")

def get(self, name):
    value = object.__getattribute__(self, name)
    prefix = paths.get(id(self))
    if prefix is not None and name in type(self).model_fields and not isinstance(value, BaseModel):
        seen.add(prefix + name)
    if prefix is not None and name in ("model_dump", "model_copy", "__dict__"):
        seen.update(prefix + field for field in type(self).model_fields)
    return value

BaseModel.__getattribute__ = get
load = params_file.load_params

def load_and_watch(*arguments):
    found = load(*arguments)
    watch(found, "")
    loaded.append(found)
    seen.clear()
    return found

params_file.load_params = load_and_watch
for stage in sys.argv[1:]:
    runpy.run_path(f"stages/{stage}.py", run_name="__main__")
    with open(f"{stage}.read", "w") as file:
        print(*sorted(seen), file=file)
"""
