"""The whole pipeline, as a user runs it: in a fresh repository, with a tiny configuration."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES = ["download", "masks", "train", "predict", "embed", "cluster", "report"]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.invalid",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.invalid",
    "CUDA_VISIBLE_DEVICES": "",
}


def call(folder: Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def run(folder: Path, *command: str) -> str:
    result = call(folder, *command)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def set_params(folder: Path, **groups: object) -> None:
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for name, value in groups.items():
        params[name] = params[name] | value if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(params))


def new_project(folder: Path) -> Path:
    """The project's pipeline in a git repository of its own, without anything made before."""
    for name in ("stages", "src", ".dvc", "metrics"):
        ignore = shutil.ignore_patterns("cache", "tmp", "*.json" if name == "metrics" else "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    set_params(
        folder,
        data={"image_size": 64, "sample_images": {"train": 30, "val": 20}},
        train={"epochs": 1},
        predict={"bootstrap": 100},
        embed={"dimensions": 8},
        cluster={"min_cluster_size": 4},
    )
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "-m", "start")
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = new_project(tmp_path_factory.mktemp("project"))
    run(folder, "dvc", "repro")
    return folder


def metrics(folder: Path, stage: str) -> dict:
    return json.loads((folder / "metrics" / f"{stage}.json").read_text())


def test_the_pipeline_ends_in_a_report_and_all_metrics(project):
    page = (project / "reports" / "index.html").read_text()
    assert "These images are drawn" in page
    shown = metrics(project, "report")
    assert shown["samples"] == sum(metrics(project, "masks")[split]["images"] for split in ("train", "val"))
    for line in page.split('src="')[1:]:
        assert (project / "reports" / line.split('"')[0]).is_file()
    assert 0 <= metrics(project, "predict")["val"]["iou"]["person"] <= 1


def test_a_second_run_does_nothing_and_says_so(project):
    assert "Data and pipelines are up to date." in run(project, "dvc", "repro")


def test_artefacts_fit_together(project):
    artefacts = project / "artifacts"
    ids = set(pd.read_parquet(project / "data" / "index.parquet")["image_id"])
    for name in ("samples", "predictions", "embeddings", "clusters"):
        table = pd.read_parquet(artefacts / f"{name}.parquet")
        assert set(table["image_id"]) == ids
        assert table["image_id"].is_unique
    assert set(pd.read_parquet(artefacts / "neighbors.parquet")["neighbor_id"]) <= ids
    predictions = pd.read_parquet(artefacts / "predictions.parquet")
    assert {sum(counts) for counts in predictions["counts"]} == {64 * 64}


def test_attention_of_the_run_sums_to_its_scores(project):
    maps = pd.read_parquet(project / "artifacts" / "heatmaps.parquet")
    clusters = pd.read_parquet(project / "artifacts" / "clusters.parquet").set_index("image_id")["cluster"]
    vectors = pd.read_parquet(project / "artifacts" / "embeddings.parquet").set_index("image_id")["latent"]
    assert len(maps)
    stacked = np.stack(vectors).astype(float)
    for cluster, rows in maps.groupby("cluster"):
        inside = (clusters.loc[vectors.index] == cluster).to_numpy()
        direction = stacked[inside].mean(0) - stacked[~inside].mean(0)
        direction /= np.linalg.norm(direction)
        expected = np.stack(vectors.loc[rows["image_id"]]) @ direction
        assert np.allclose([m.sum(dtype=float) for m in rows["attention"]], expected, rtol=1e-3, atol=1e-3)


def test_another_variant_reuses_the_data_and_can_be_compared(project):
    set_params(project, variant="supercategory")
    said = run(project, "dvc", "repro")
    for stage in STAGES[:2]:
        assert f"Stage '{stage}' didn't change, skipping" in said
    for stage in STAGES[2:]:
        assert f"Running stage '{stage}'" in said
    difference = json.loads(run(project, "dvc", "metrics", "show", "--json"))
    files = difference[""]["data"]
    assert "vehicle" in files["metrics/predict.json"]["data"]["val"]["iou"]
    assert "bus" in files["metrics/predict.json"]["data"]["val"]["recall"]


def test_plots_are_made_without_a_network(project):
    run(project, "dvc", "plots", "show", "--out", "plots")
    page = (project / "plots" / "index.html").read_text()
    for title in ("Training loss", "IoU of each class", "Confusion"):
        assert title in page


def test_a_wrong_value_stops_the_run_with_one_clear_line(project):
    set_params(project, train={"epochs": "many"})
    result = call(project, "dvc", "repro", "train")
    assert result.returncode != 0
    assert "error: params.yaml is not valid:\n  train.epochs: 'many' is not allowed" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_real_photographs_are_read_in_place(coco_mini, tmp_path):
    folder = new_project(tmp_path)
    data = {"source": "directory", "root": str(coco_mini), "match": "any"}
    set_params(folder, data=data | {"max_images": {"train": 40, "val": 30}})
    run(folder, "dvc", "repro")
    index = pd.read_parquet(folder / "data" / "index.parquet")
    assert len(index) == 70
    assert index["path"].str.startswith(str(coco_mini)).all()
    assert not list((folder / "data" / "sample").iterdir())
    page = (folder / "reports" / "index.html").read_text()
    assert "These images are drawn" not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "directory", "root": "nowhere"}, "data.root: 'nowhere' is not a directory"),
        ({"contains": ["unicorn"]}, "'unicorn' is neither a category nor a super-category"),
        ({"contains": ["toothbrush"], "match": "all"}, "no image of split train fits data.contains"),
    ],
)
def test_impossible_data_is_a_clear_error(tmp_path, change, message):
    for name in ("stages", "params.yaml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    set_params(tmp_path, data=change, model={"encoder_weights": "none"})
    result = call(tmp_path, sys.executable, "stages/download.py")
    assert result.returncode == 1
    assert f"error: {message}" in result.stderr
    assert "Traceback" not in result.stderr


def test_coco_is_downloaded_from_a_mirror_but_only_the_chosen_images(mirror, tmp_path):
    url, _ = mirror
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(ROOT / "stages", folder / "stages")
    shutil.copy(ROOT / "params.yaml", folder)
    data = {"source": "coco2017", "base_url": url, "contains": ["person", "car"], "match": "all"}
    set_params(folder, data=data, model={"encoder_weights": "none"})
    run(folder, sys.executable, "stages/download.py")
    index = pd.read_parquet(folder / "data" / "index.parquet")
    assert index["image_id"].tolist() == [3, 103]
    assert index["path"].tolist() == [
        "data/coco/coco2017/train2017/000000000003.jpg",
        "data/coco/coco2017/val2017/000000000103.jpg",
    ]
    assert len(list((folder / "data" / "coco").rglob("*.jpg"))) == 2
    assert metrics(folder, "download")["val"] == {"images": 1, "annotations": 2, "images_in_source": 4}
