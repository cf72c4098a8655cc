"""What a DVC user takes for granted: nothing stale is called up to date, nothing that did not change runs again,
and an experiment runs its own code. That equal inputs give equal bytes: test_again.py."""

import json

import pytest
import yaml
from project import STAGES, call, copy_of, metrics, run, set_params, stale


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


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_params_that_it_declares_and_no_other(finished, stage):
    read = set(json.loads((finished / "read.json").read_text())[stage])
    declared = yaml.safe_load((finished / "dvc.yaml").read_text())["stages"][stage]["params"]
    declared = {"variants" if name.startswith("variants.") else name for name in declared}

    def covers(a: str, b: str) -> bool:
        return a == b or b.startswith(f"{a}.")

    # compute says where a stage's tasks run, download warns of classes that the data lack: no output depends on these.
    checked = {"compute.engine", *({"variant", "variants"} if stage == "download" else ())}
    assert {name for name in read - checked if not any(covers(d, name) for d in declared)} == set()
    unread = {d for d in declared if not any(covers(d, name) for name in read)}
    of_directories = ("root", "format", "splits", "val_share", "annotations", "images")
    of_the_web = ("annotations_url", "images_url", "archive_sha256")
    unread -= {f"data.{key}" for key in of_directories + of_the_web}
    of_models = {f"model.{key}" for key in ("path", "outputs", "preprocessing")}
    assert unread <= of_models | ({"data.max_missing"} if stage == "predict" else set())


def test_a_worktree_runs_its_own_code(project, tmp_path):
    run(project, "git", "worktree", "add", "--quiet", str(tmp_path / "other"))
    code = "\nprint('another tree', flush=True)\nraise SystemExit(3)\n"
    append(tmp_path / "other", "src/segscope/stage.py", code)
    assert "another tree" in call(tmp_path / "other", "dvc", "repro", "download").stdout


def test_metrics_are_few(finished):
    def values(document: dict) -> int:
        return sum(values(value) if isinstance(value, dict) else 1 for value in document.values())

    assert sum(values(metrics(finished, stage)) for stage in STAGES) <= 60
