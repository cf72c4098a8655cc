"""The ways of DVC's users: experiments, sweeps, the model by its name, remotes."""

import json
import re
import shlex
import time
from pathlib import Path

import boto3
import dvc.api
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from in_process import run_here
from moto.server import ThreadedMotoServer
from networks import network, saved
from project import ENVIRONMENT, ROOT, STAGES, call, commit, copy_of, metrics, new_project, run, set_params

from segscope.artefacts.files import sha256_of
from segscope.run import Run

CI_REMOTE = str(ROOT / ".ci" / "remote")


@pytest.fixture
def experimented(varied, tmp_path) -> Path:
    """A finished run and its experiment `other`, to change."""
    return copy_of(varied, tmp_path / "project")


def test_an_experiment_is_compared_applied_branched_and_removed(experimented):
    project = experimented
    other = metrics(project, "predict")
    changed = json.loads(run(project, "dvc", "metrics", "diff", "--json", "HEAD", "other"))
    iou = changed["metrics/predict.json"]["val.iou.vehicle"]
    assert iou["new"] == other["val"]["iou"]["vehicle"]
    assert "old" not in iou or iou["old"] is None
    # Going back: nothing runs.
    run(project, "git", "checkout", "--quiet", ".")
    run(project, "dvc", "checkout")
    assert metrics(project, "predict") != other
    assert run(project, "dvc", "status").strip() == "Data and pipelines are up to date."
    run(project, "dvc", "exp", "apply", "other")
    assert metrics(project, "predict") == other
    assert yaml.safe_load((project / "params.yaml").read_text())["variant"] == "supercategory"
    assert run(project, "dvc", "status").strip() == "Data and pipelines are up to date."
    run(project, "dvc", "exp", "branch", "other", "vehicles")
    assert "variant: supercategory" in run(project, "git", "show", "vehicles:params.yaml")
    run(project, "dvc", "exp", "remove", "other")
    assert run(project, "dvc", "exp", "list", "--name-only").strip() == ""
    run(project, "dvc", "metrics", "diff", "HEAD", "vehicles")


def test_a_variant_that_was_run_before_is_restored_and_not_run(experimented):
    """Flipped by hand in params.yaml, there and back."""
    project = experimented
    there, back = ("supercategory", 2, [0, 5], 2), ("category", 1, [0], 8)
    for variant, folds, seeds, epochs in (back, there):
        set_params(project, variant=variant, labels={"folds": folds}, train={"seeds": seeds, "epochs": epochs})
        said = run(project, "dvc", "repro")
        for stage in STAGES[2:]:
            assert f"Stage '{stage}' is cached - skipping run, checking out outputs" in said
        assert "Running stage" not in said
        changed = run(project, "git", "status", "--porcelain", "metrics", "dvc.lock")
        assert (changed == "") == (variant == "category")


def test_the_table_of_experiments_fits_a_terminal(experimented):
    """With the command of docs/experiments.md."""
    page = (ROOT / "docs" / "experiments.md").read_text()
    (command,) = re.findall(r"^    (dvc exp show .*)", page, re.MULTILINE)
    shown = run(experimented, "env", "COLUMNS=120", "sh", "-c", command)
    assert max(map(len, shown.splitlines())) <= 120
    assert "…" not in shown
    for text in ("[other]", "val.iou.person", "val.iou.vehicle", "supercategory"):
        assert text in shown


def test_plots_of_two_revisions_open_without_a_network(experimented, open_report):
    run(experimented, "dvc", "plots", "diff", "HEAD", "other", "--out", "plots")
    with open_report(experimented / "plots", ready=".vega-embed canvas, .vega-embed svg") as page:
        assert page.locator(".vega-embed").count() >= 10
    text = (experimented / "plots" / "index.html").read_text()
    for title in ("loss.tsv", "IoU of each class", "Confusion", "Images by loss", "Reliability", "Wrong pixels"):
        assert title in text


def test_classes_of_ones_own(tmp_path):
    """With what the README's command sets, on a small network. What is kept apart are two of the classes."""
    section = (ROOT / "README.md").read_text().split("## Your classes")[1].split("\n## ")[0]
    (command,) = re.findall(r"^    (dvc exp run (?:.*\\\n)*.*)", section, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:5] == ["dvc", "exp", "run", "-n", "wheels"]
    project = new_project(tmp_path / "project")
    apply_overrides(project / "params.yaml", words[6::2])
    file = saved(tmp_path / "user.keras", network(64, 64, 4, "softmax"))
    outputs = {"bicycle": [1], "car": [2], "large": [3]}
    set_params(project, model={"source": "keras", "path": str(file), "outputs": outputs, "encoder_weights": "none"})
    run_here(project, *STAGES[:5])
    classes = yaml.safe_load((project / "params.yaml").read_text())["variants"]["wheels"]
    assert metrics(project, "predict")["val"]["iou"].keys() <= classes.keys() == {"bicycle", "car", "large"}
    found = {row.measure for row in Run(folder=project).measures("embed").table.itertuples() if row.split == "val"}
    heavy = {name.removesuffix("_heavy") for name in found if name.endswith("_heavy")}
    assert len(heavy) == 2
    assert heavy <= classes.keys()


def test_a_registered_version_of_the_model_is_had_by_its_name(experimented, tmp_path):
    project, path = experimented, "artifacts/model.keras"
    declared = yaml.safe_load((project / "dvc.yaml").read_text())["artifacts"]["model"]
    assert declared.keys() == {"path", "type", "desc", "labels"}
    run(project, "gto", "register", "model", "--version", "v1.0.0")
    commit(project, "the other variant")
    run(project, "gto", "register", "model", "--version", "v2.0.0")
    shown = dvc.api.artifacts_show("model", repo=str(project))
    assert shown == {"path": path, "rev": run(project, "git", "rev-parse", "HEAD").strip()}
    for version in ("v1.0.0", "v2.0.0"):
        run(tmp_path, "dvc", "artifacts", "get", str(project), "model", "--rev", version, "-o", f"{version}.keras")
    assert sha256_of(tmp_path / "v2.0.0.keras") == sha256_of(project / path)
    assert sha256_of(tmp_path / "v1.0.0.keras") != sha256_of(project / path)


def test_a_sweep_runs_on_several_workers_each_experiment_its_own_code(project):
    """One is queued with a change of the library that the workspace no more has when it starts."""
    module = project / "src" / "segscope" / "sources" / "subset.py"
    code = module.read_text()
    assert code.count('"images": len(images)') == 1
    module.write_text(code.replace('"images": len(images)', '"images": 12345'))
    run(project, "dvc", "exp", "run", "--queue", "--name", "changed", "download")
    module.write_text(code)
    run(project, "dvc", "exp", "run", "--queue", "-S", "data.seed=range(1,3)", "download")
    run(project, "dvc", "queue", "start", "--jobs", "2")
    wait_for_queue(project, 3)
    shown = json.loads(run(project, "dvc", "exp", "show", "--json"))
    found = {}
    for experiment in shown[1]["experiments"]:
        data = experiment["revs"][0]["data"]
        seed = data["params"]["params.yaml"]["data"]["data"]["seed"]
        found[seed] = data["metrics"]["metrics/download.json"]["data"]["val"]["images"]
    assert found == {0: 12345, 1: 20, 2: 20}
    assert module.read_text() == code


def wait_for_queue(project: Path, tasks: int, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said = run(project, "dvc", "queue", "status")
        if said.count("Success") == tasks:
            return
        assert "Failed" not in said, said
        time.sleep(1)
    raise AssertionError(said)


@pytest.fixture
def s3(monkeypatch):
    """The address of an S3 server of this machine, with a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setitem(ENVIRONMENT, name, "testing")
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="bucket")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def applied(made_once, varied) -> Path:
    """The finished run, its experiment `other` committed."""

    def fill(folder: Path) -> None:
        copy_of(varied, folder)
        run(folder, "dvc", "exp", "apply", "other")
        commit(folder, "the other variant")

    return made_once("applied", fill)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_what_one_clone_pushed_another_pulls_and_has_nothing_to_run(kind, applied, tmp_path, request):
    project = copy_of(applied, tmp_path / "project")
    settings = [f"DVC_REMOTE_URL={tmp_path / 'remote'}"]
    if kind == "s3":
        settings = ["DVC_REMOTE_URL=s3://bucket/segscope", f"DVC_REMOTE_ENDPOINT={request.getfixturevalue('s3')}"]
    run(project, "env", *settings, CI_REMOTE, "push")
    assert run(project, "dvc", "data", "status", "--not-in-remote").strip() == "No changes."
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    assert "pulled" not in call(clone, CI_REMOTE, "pull").stdout  # no remote: nothing to do
    run(clone, "env", *settings, CI_REMOTE, "pull")
    assert run(clone, "dvc", "status").strip() == "Data and pipelines are up to date."
    assert metrics(clone, "predict") == metrics(project, "predict")
    assert "Running stage" not in run(clone, "dvc", "repro")
    # Nothing is needed here to know that nothing is stale.
    bare = tmp_path / "bare"
    run(tmp_path, "git", "clone", "--quiet", str(project), str(bare))
    assert "Running stage" not in run(bare, "dvc", "repro", "--allow-missing", "--dry")
