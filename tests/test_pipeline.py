"""The whole pipeline, as a user runs it: in a fresh repository, with a tiny configuration."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from browser import open_report
from conftest import as_mirror
from PIL import Image
from serving import serve

from segscope.exclusion import exclusion_yaml
from segscope.folds import fold_of
from segscope.model_card import read_card

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
    (folder / "data" / "coco").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", "data/coco/README.md", "data/exclude.yaml"):
        shutil.copy(ROOT / name, folder / name)
    set_params(
        folder,
        data={"image_size": 64, "sample_images": {"train": 30, "val": 20}},
        train={"epochs": 1},
        predict={"bootstrap": 100},
        embed={"dimensions": 8},
        cluster={"min_cluster_size": 4, "stability_runs": 1, "explained": 2},
        insights={"permutations": 100, "bootstrap": 100},
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
    shown = metrics(project, "report")["report"]
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


def test_wrong_pixels_are_explained(project):
    supports = pd.read_parquet(project / "artifacts" / "supports.parquet")
    predictions = pd.read_parquet(project / "artifacts" / "predictions.parquet").set_index("image_id")
    assert len(supports)
    assert set(predictions.loc[supports["image_id"], "split"]) == {"val"}
    total = [support.sum(dtype=float) for support in supports["support"]] + supports["constant"]
    assert np.allclose(total, supports["score"], atol=1e-3)
    assert "What supports wrong pixels" in (project / "reports" / "index.html").read_text()


def test_the_stages_measure_what_they_claim(project):
    embed, cluster = metrics(project, "embed"), metrics(project, "cluster")
    assert 0.5 < embed["trustworthiness"] <= 1
    assert embed["neighbor_recall"] == 1
    assert 0 <= embed["val"]["neighbor_purity"] <= 1
    assert set(cluster["stability"]) == {"seeds", "seeds_lowest", "subsamples", "subsamples_lowest"}
    samples = pd.read_parquet(project / "artifacts" / "samples.parquet")
    assert cluster["gray"]["images"] == samples["is_gray"].sum()
    clusters = pd.read_parquet(project / "artifacts" / "clusters.parquet")
    assert cluster["clusters"] == clusters["cluster"].max() + 1


def test_similar_images_of_an_id_and_of_a_file(project):
    listed = pd.read_parquet(project / "artifacts" / "neighbors.parquet").query("image_id == 3")["neighbor_id"]
    said = run(project, "segscope", "similar", "3", "-k", "5", "--heat", "--out", "sheet.png")
    assert [int(line.split()[0]) for line in said.splitlines()[1:6]] == listed.head(5).tolist()
    assert "what they share lies on" in said
    with Image.open(project / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    index = pd.read_parquet(project / "data" / "index.parquet").set_index("image_id")
    shutil.copy(project / index.loc[3, "path"], project / "own.jpg")
    said = run(project, "segscope", "similar", "own.jpg", "-k", "3").splitlines()
    first = said[1].split()
    assert int(first[0]) == 3  # the same pixels: its own twin, at no distance
    assert float(first[2]) < 0.1
    assert (project / "similar.jpg").is_file()


def test_what_supports_a_class_in_an_image(project):
    supports = pd.read_parquet(project / "artifacts" / "supports.parquet")
    row = supports.iloc[0]
    command = ["segscope", "explain", str(row["image_id"]), "--class", row["class"]]
    said = run(project, *command)
    assert f"pixels are seen as {row['class']}" in said
    assert "the support lies on" in said
    assert (project / "explained.jpg").is_file()
    nowhere = call(project, *command, "--box", "0", "0", "1", "1")
    assert f"error: the model predicts no pixel of {row['class']} there" in nowhere.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["similar", "999999"], "error: 999999 is neither a file nor an image_id of data/index.parquet"),
        (["similar", "dvc.yaml"], "error: image dvc.yaml cannot be decoded"),
        (["similar", "3", "-k", "0"], "'0' is not a whole number from 1 on"),
        (["explain", "3", "--class", "zebra"], "error: variant category has no class zebra; choices: car, person"),
        (["similar", "3", "--out", "dvc.yaml/a.jpg"], "error: dvc.yaml/a.jpg cannot be written"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(project, command, message):
    result = call(project, "segscope", *command)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def committed(project):
    """The project as a revision; what a test changes is taken back."""
    run(project, "git", "add", ".")
    run(project, "git", "commit", "--quiet", "-m", "a finished run", "--allow-empty")
    yield project
    run(project, "git", "checkout", "--quiet", "params.yaml", "dvc.lock", "metrics", "data/exclude.yaml")
    run(project, "dvc", "checkout")


def test_one_split_alone_can_be_shown(committed):
    set_params(committed, embed={"splits": ["val"]})
    run(committed, "dvc", "repro")
    artefacts = committed / "artifacts"
    val = set(pd.read_parquet(committed / "data" / "index.parquet").query("split == 'val'")["image_id"])
    for name in ("embeddings", "clusters"):
        assert set(pd.read_parquet(artefacts / f"{name}.parquet")["image_id"]) == val
    assert set(pd.read_parquet(artefacts / "neighbors.parquet")["neighbor_id"]) <= val
    assert "train" not in metrics(committed, "embed")


def test_a_map_can_lie_on_that_of_another_revision(committed):
    project = committed
    before = pd.read_parquet(project / "artifacts" / "embeddings.parquet")
    set_params(project, embed={"align_to": "HEAD", "seed": 5})
    run(project, "dvc", "repro", "--single-item", "embed")
    after = pd.read_parquet(project / "artifacts" / "embeddings.parquet")
    aligned = metrics(project, "embed")["aligned"]
    assert aligned["images"] == len(before)
    assert aligned["disparity"] < 0.2
    moved = np.hypot(after["x"] - before["x"], after["y"] - before["y"]).mean()
    assert moved < np.hypot(before["x"] - before["x"].mean(), before["y"] - before["y"].mean()).mean()
    set_params(project, embed={"align_to": "no-such-revision"})
    result = call(project, sys.executable, "stages/embed.py")
    assert result.returncode == 1
    assert "error: artifacts/embeddings.parquet of revision no-such-revision cannot be read" in result.stderr


def test_a_review_of_the_labels_changes_the_next_run(committed):
    """Review, exclude, run again, compare."""
    issues = pd.read_parquet(committed / "artifacts" / "label_issues.parquet")
    assert set(issues["split"]) == {"val"}  # the model has seen train's labels
    assert "suspects" not in metrics(committed, "predict")["train"]
    said = run(committed, "segscope", "labels", "export", "--format", "csv")
    assert f"label_issues-csv.csv: {len(issues)} suspects" in said
    reviewed = pd.read_csv(committed / "label_issues-csv.csv")
    assert len(reviewed) == len(issues)
    judged = pd.read_parquet(committed / "artifacts" / "instances.parquet").query("split == 'val' and not iscrowd")
    annotation = judged[judged["category_id"] == 1].nlargest(1, "area").iloc[0]
    image = judged[judged["image_id"] != annotation["image_id"]]["image_id"].iloc[0]
    text = exclusion_yaml([int(image)], {int(annotation["image_id"]): [int(annotation["annotation_id"])], 5: [1]})
    (committed / "data" / "exclude.yaml").write_text(text)
    said = run(committed, "dvc", "repro", "predict")
    assert "Stage 'download' didn't change, skipping" in said
    assert "data/exclude.yaml names 1 ids that this run does not have" in said
    assert metrics(committed, "masks")["val"]["skipped"] == {"excluded": 2}
    samples = pd.read_parquet(committed / "artifacts" / "samples.parquet").set_index("image_id")
    assert image not in samples.index
    of_image = judged[(judged["image_id"] == annotation["image_id"]) & (judged["category_id"] == 1)]
    assert samples.loc[annotation["image_id"], "count.person"] == len(of_image) - 1
    counts = pd.read_parquet(committed / "artifacts" / "predictions.parquet").set_index("image_id")["counts"]
    assert sum(counts[annotation["image_id"]]) < 64 * 64  # its pixels count nowhere
    diff = json.loads(run(committed, "dvc", "metrics", "diff", "--json", "HEAD"))
    assert diff["metrics/predict.json"]["val.images"] == {"old": 20, "new": 19, "diff": -1}


def test_train_labels_are_judged_by_models_that_did_not_see_them(committed):
    set_params(committed, labels={"folds": 2})
    said = run(committed, "dvc", "repro", "predict")
    assert "fold 2 of 2" in said
    folds = json.loads((committed / "artifacts" / "folds" / "folds.json").read_text())
    assert folds["folds"] == 2
    train = pd.read_parquet(committed / "data" / "index.parquet").query("split == 'train'")["image_id"].to_numpy()
    assert folds["images"] == np.bincount(fold_of(train, 2)).tolist()
    issues = pd.read_parquet(committed / "artifacts" / "label_issues.parquet")
    assert set(issues["split"]) == {"train", "val"}
    assert set(issues.loc[issues["split"] == "train", "image_id"]) <= set(train)
    assert set(metrics(committed, "predict")["train"]["planted_faults"]) >= {"mislabeled", "missing"}
    assert not list((committed / "artifacts").glob("checkpoint*"))


def test_what_drives_performance_is_found_and_selectable(project):
    insights = pd.read_parquet(project / "artifacts" / "insights.parquet")
    samples = pd.read_parquet(project / "artifacts" / "samples.parquet").query("split == 'val'")
    assert len(insights)
    for row in insights.itertuples():
        assert len(samples.query(row.query)) == row.images
    found = metrics(project, "report")
    assert sum(found["insights"].values()) == len(insights)
    assert found["hard"]["low light"]["images"] == samples["low_light"].sum()
    associations = pd.read_parquet(project / "artifacts" / "associations.parquet")
    assert {"loss", "iou.person"} <= set(associations["metric"])


MAP = "document.getElementById('chart-map')"


def test_the_report_in_a_browser_shows_what_the_artefacts_hold(project):
    artefacts = project / "artifacts"
    embeddings = pd.read_parquet(artefacts / "embeddings.parquet")
    predictions = pd.read_parquet(artefacts / "predictions.parquet").set_index("image_id")
    insights = pd.read_parquet(artefacts / "insights.parquet")
    nearest = pd.read_parquet(artefacts / "neighbors.parquet").query("rank == 1").set_index("image_id")["neighbor_id"]
    count = f"{MAP}.data.reduce((sum, trace) => sum + trace.x.length, 0)"
    with open_report(project / "reports") as page:
        for section in ("overview", "map", "clusters", "suspects", "performance", "confusion"):
            page.click(f'nav a[href="#{section}"]')
            assert page.locator(f"#{section} h2").is_visible()
        assert page.evaluate(count) == len(embeddings)
        page.select_option("#filter-split", "val")
        val = predictions[predictions["split"] == "val"]
        assert page.evaluate(count) == len(val)
        page.select_option("#color-by", "loss")
        page.fill("#filter-low", str(val["loss"].median()))
        page.press("#filter-low", "Enter")
        page.click("#select-shown")
        shown = val["loss"].map(lambda loss: float(f"{loss:.4g}"))  # as the page holds it
        high = val[shown >= val["loss"].median()]
        assert page.inner_text("#selection h3").startswith(f"{len(high)} images selected")
        row = page.inner_text("#selection tr:has-text('loss')").split()
        assert float(row[2]) == pytest.approx(high["loss"].mean(), rel=0.01)
        assert float(row[4]) == pytest.approx(val["loss"].drop(high.index).mean(), rel=0.01)
        page.click("#selection .view >> nth=0")
        worst = high["loss"].idxmax()
        assert page.inner_text("#sample-title") == f"Image {worst}"
        page.wait_for_selector("#sample-view .over")
        shared = page.url
        page.click("#sample-neighbors .view >> nth=0")
        page.wait_for_function(f"document.getElementById('sample-title').textContent === 'Image {nearest[worst]}'")
        page.keyboard.press("Escape")
        page.locator("#insights .link >> nth=0").click()
        assert page.inner_text("#selection h3").startswith(f"{insights['images'].iloc[0]} images selected")
        page.select_option("#plot-y", "loss")
        page.select_option("#plot-x", "brightness")
        points = page.evaluate("document.getElementById('chart-performance').data[0].x.length")
        assert points == len(val)
    with open_report(project / "reports", fragment=f"#{shared.split('#')[1]}") as page:
        page.wait_for_selector("#sample[open]")
        assert page.inner_text("#sample-title") == f"Image {worst}"
        assert page.input_value("#color-by") == "loss"


def test_a_lasso_on_the_map_selects_images(project):
    with open_report(project / "reports", fragment="#map") as page:
        page.locator("#chart-map").scroll_into_view_if_needed()
        box = page.locator("#chart-map .nsewdrag").bounding_box()
        corners = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0.02)]
        places = [(box["x"] + 2 + (box["width"] - 4) * a, box["y"] + 2 + (box["height"] - 4) * b) for a, b in corners]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=8)
        page.mouse.up()
        page.wait_for_selector("#selection table")
        chosen = int(page.inner_text("#selection h3").split()[0])
        assert chosen == page.evaluate(f"{MAP}.data.reduce((sum, t) => sum + (t.selectedpoints ?? []).length, 0)") > 0


def test_the_report_fits_a_narrow_screen(project):
    with open_report(project / "reports", width=390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_another_variant_reuses_the_data_and_can_be_compared(project):
    run(project, "git", "add", ".")
    run(project, "git", "commit", "--quiet", "--allow-empty", "-m", "the category model")
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
    table = run(project, "segscope", "compare", "HEAD", "workspace", "--markdown")
    assert "| val | HEAD | workspace | difference |" in table
    assert "| recall.bus |" in table
    assert "| cluster purity |" in table
    run(project, "segscope", "compare", "HEAD", "workspace", "--out", "compared")
    assert "20 val images judged by both" in (project / "compared" / "index.html").read_text()
    assert list((project / "compared" / "images").iterdir())
    nowhere = call(project, "segscope", "compare", "HEAD", "no-such-revision")
    assert "error: params.yaml of revision no-such-revision cannot be read" in nowhere.stderr


def test_plots_are_made_without_a_network(project):
    run(project, "dvc", "plots", "show", "--out", "plots")
    page = (project / "plots" / "index.html").read_text()
    for title in (
        "val/loss.tsv",
        "learning_rate.tsv",
        "IoU of each class",
        "Confusion",
        "Images by loss",
        "Reliability",
    ):
        assert title in page


def test_the_model_card_says_what_the_model_is(project):
    names, size = read_card(project / "artifacts" / "model.md")
    params = yaml.safe_load((project / "params.yaml").read_text())
    assert names == ["background", *params["variants"][params["variant"]]]
    assert size == 64
    text = (project / "artifacts" / "model.md").read_text()
    head = run(project, "git", "rev-parse", "HEAD").strip()
    assert f"revision: {head}" in text
    assert f"Epoch {metrics(project, 'train')['epoch']} was kept" in text


def test_false_positives_are_found_and_stated(project):
    found = json.loads((project / "artifacts" / "confusions.json").read_text())
    shares = metrics(project, "predict")["val"]["false_positives"]
    table = pd.read_csv(project / "artifacts" / "plots" / "categories.csv").query("split == 'val'")
    categories = pd.read_parquet(project / "data" / "categories.parquet").set_index("name")["supercategory"]
    params = yaml.safe_load((project / "params.yaml").read_text())
    assert found["val"]
    for name, finding in found["val"].items():
        assert finding["statement"].startswith(f"Pixels wrongly predicted as {name} are: ")
        held = params["variants"][params["variant"]][name]
        of_class = table["category"].isin(held) | table["category"].map(categories).isin(held)
        wrong = table[(table["predicted"] == name) & ~of_class].set_index("category")["pixels"]
        assert shares[name] == pytest.approx((wrong / wrong.sum()).nlargest(len(shares[name])).to_dict(), abs=1e-5)


def test_a_killed_training_ends_as_an_undisturbed_one(project, tmp_path):
    stage = (sys.executable, "stages/train.py")
    results = []
    for name, killed in (("undisturbed", False), ("killed", True)):
        folder = tmp_path / name
        shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".dvc", ".git", "reports"), symlinks=True)
        set_params(folder, variant="category", train={"epochs": 4})
        state = folder / "artifacts" / "checkpoint" / "state.json"
        if killed:
            process = subprocess.Popen(stage, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
            while not state.exists() or len(json.loads(state.read_text())["history"]) < 2:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
            process.wait()
        said = run(folder, *stage)
        assert ("going on after epoch" in said) == killed
        assert not state.parent.exists()
        results.append(((folder / "metrics" / "train.json").read_text(), history(folder), weights(folder)))
    assert results[0][:2] == results[1][:2]
    assert all(np.array_equal(a, b) for a, b in zip(results[0][2], results[1][2], strict=True))


def history(folder: Path) -> str:
    return (folder / "artifacts" / "training" / "history.csv").read_text()


def weights(folder: Path) -> list[np.ndarray]:
    import keras

    return keras.models.load_model(folder / "artifacts" / "model.keras", compile=False).get_weights()


def test_a_class_that_no_image_shows_is_a_clear_error(project, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".dvc", ".git", "reports"), symlinks=True)
    set_params(folder, variant="pets", variants={"pets": {"zebra": ["zebra"]}})
    result = call(folder, sys.executable, "stages/train.py")
    assert result.returncode == 1
    assert "error: the train split has no pixel of class zebra: choose other images" in result.stderr
    assert "Traceback" not in result.stderr


def test_splits_of_one_image_are_trained_on_and_then_a_clear_error(coco_mini, tmp_path):
    folder = new_project(tmp_path)
    one = {"match": "all", "max_images": {"train": 1, "val": 1}}
    set_params(folder, data={"source": "directory", "root": str(coco_mini)} | one)
    result = call(folder, "dvc", "repro")
    assert result.returncode != 0
    assert metrics(folder, "predict")["val"]["images"] == 1
    assert (
        "embed.dimensions: 8 latent dimensions need more images than the 2 there are" in result.stdout + result.stderr
    )
    assert "Traceback" not in result.stdout + result.stderr


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
    assert index["sha256"].is_unique
    assert index["path"].str.startswith(str(coco_mini)).all()
    assert not list((folder / "data" / "sample").iterdir())
    page = (folder / "reports" / "index.html").read_text()
    assert "These images are drawn" not in page


def two_stages(folder: Path, **data: object) -> Path:
    """A folder in which the first two stages can run, without an encoder."""
    shutil.copytree(ROOT / "stages", folder / "stages")
    (folder / "data").mkdir()
    for name in ("params.yaml", "data/exclude.yaml"):
        shutil.copy(ROOT / name, folder / name)
    data |= {"sample_images": {"train": 2, "val": 2}}
    set_params(folder, data=data, model={"encoder_weights": "none"})
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "directory", "root": "nowhere"}, "data.root: 'nowhere' is not a directory"),
        ({"contains": ["unicorn"]}, "'unicorn' is neither a category nor a super-category"),
        ({"contains": ["toothbrush"], "match": "all"}, "no image of split train fits data.contains"),
    ],
)
def test_impossible_data_is_a_clear_error(tmp_path, change, message):
    result = call(two_stages(tmp_path, **change), sys.executable, "stages/download.py")
    assert result.returncode == 1
    assert f"error: {message}" in result.stderr
    assert "Traceback" not in result.stderr


def test_coco_is_downloaded_from_a_mirror_but_only_the_chosen_images(small_coco, tmp_path):
    sha256 = as_mirror(small_coco, tmp_path / "served")
    with serve(tmp_path / "served", rate=0.3) as (url, server):
        data = {"source": "coco2017", "images_url": url, "annotations_url": f"{url}/annotations/"}
        data |= {"archive_sha256": sha256, "contains": ["person", "car"], "match": "all"}
        folder = two_stages(tmp_path / "project", **data)
        run(folder, sys.executable, "stages/download.py")
    index = pd.read_parquet(folder / "data" / "index.parquet")
    assert index["image_id"].tolist() == [3, 103]
    assert index["path"].tolist() == [
        "data/cache/coco2017/train2017/000000000003.jpg",
        "data/cache/coco2017/val2017/000000000103.jpg",
    ]
    assert sum(path.endswith(".jpg") for path in server.requests) == 2
    found = metrics(folder, "download")["val"]
    size = (tmp_path / "served" / "val2017" / "000000000103.jpg").stat().st_size
    assert found == {"images": 1, "annotations": 2, "images_in_source": 4, "bytes": size, "missing": 0, "skipped": {}}


@pytest.mark.parametrize("max_missing", [0.2, 0.1])
def test_missing_images_are_named_and_too_many_are_an_error(small_coco, tmp_path, max_missing):
    (small_coco / "val2017" / "000000000102.jpg").unlink()
    data = {"source": "directory", "root": str(small_coco), "match": "none", "max_missing": max_missing}
    folder = two_stages(tmp_path / "project", **data)
    result = call(folder, sys.executable, "stages/download.py")
    if max_missing < 1 / 8:
        assert result.returncode == 1
        assert "error: of 8 images 1 are missing, more than data.max_missing (10.00%) allows:" in result.stderr
        assert "val2017/000000000102.jpg: not in the directory" in result.stderr
        assert not (folder / "data" / "index.parquet").exists()
    else:
        assert "left out: 1 missing_file; see data/skipped.parquet" in result.stderr
        found = metrics(folder, "download")["val"]
        assert (found["images"], found["missing"], found["missing_files"]) == (3, 1, ["000000000102.jpg"])
        (row,) = pd.read_parquet(folder / "data" / "skipped.parquet").to_dict("records")
        assert (row["split"], row["image_id"], row["reason"]) == ("val", 102, "missing_file")


def test_what_cannot_be_used_is_counted_and_listed(small_coco, tmp_path):
    file = small_coco / "annotations" / "instances_train2017.json"
    document = json.loads(file.read_text())
    row = document["annotations"][0]
    document["annotations"] += [row | {"id": 1, "image_id": 999}, row | {"id": 2, "segmentation": None}]
    document["images"].append({"id": 50, "file_name": "../x.jpg", "width": 40, "height": 30})
    document["images"][1]["width"] = 41
    file.write_text(json.dumps(document))
    broken = small_coco / "train2017" / "000000000004.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    folder = two_stages(tmp_path / "project", source="directory", root=str(small_coco), match="none")
    run(folder, sys.executable, "stages/download.py")
    said = run(folder, sys.executable, "stages/masks.py")
    skipped = pd.read_parquet(folder / "artifacts" / "skipped.parquet")
    assert skipped[["image_id", "annotation_id", "reason"]].astype(object).fillna("").values.tolist() == [
        [50, "", "unsafe_file_name"],
        [999, 1, "unknown_image"],
        [1, 2, "bad_segmentation"],
        [2, "", "size_mismatch"],
        [4, "", "unreadable_image"],
    ]
    found = metrics(folder, "masks")
    assert found["train"]["skipped"] == dict.fromkeys(sorted(skipped["reason"]), 1)
    assert (found["train"]["images"], found["val"]["images"], found["val"]["skipped"]) == (2, 4, {})
    assert "1 unreadable_image" in said


def test_a_split_of_which_nothing_can_be_used_is_an_error(small_coco, tmp_path):
    for file in (small_coco / "val2017").iterdir():
        file.write_bytes(b"no image")
    folder = two_stages(tmp_path / "project", source="directory", root=str(small_coco), match="none")
    run(folder, sys.executable, "stages/download.py")
    result = call(folder, sys.executable, "stages/masks.py")
    assert result.returncode == 1
    assert "error: no image of split val can be used: image" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((folder / "artifacts").iterdir())


def test_a_split_whose_images_are_all_in_the_other_is_an_error(small_coco, tmp_path):
    for split in ("train2017", "val2017"):
        shutil.copytree(small_coco / split, small_coco / "images", dirs_exist_ok=True)
    train = small_coco / "annotations" / "instances_train2017.json"
    shutil.copy(train, train.with_name("instances_val2017.json"))
    folder = two_stages(tmp_path / "project", source="directory", root=str(small_coco), images="images", match="none")
    result = call(folder, sys.executable, "stages/download.py")
    assert result.returncode == 1
    assert "error: no image of split val is left: {'in_earlier_split': 4}" in result.stderr


def test_an_export_with_ids_of_its_own_runs_through(small_coco, tmp_path):
    """Both splits number from 0, categories too; images are in sub-folders of one folder."""
    export = tmp_path / "export"
    for split, start in (("train", 1), ("val", 101)):
        document = json.loads((small_coco / "annotations" / f"instances_{split}2017.json").read_text())
        for image in document["images"]:
            target = export / "images" / split / image["file_name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(small_coco / f"{split}2017" / image["file_name"], target)
            image |= {"id": image["id"] - start, "file_name": f"{split}/{image['file_name']}"}
        for number, annotation in enumerate(document["annotations"]):
            annotation |= {"id": number, "image_id": annotation["image_id"] - start}
            annotation["category_id"] = {1: 0, 3: 1}[annotation["category_id"]]
        document["categories"] = [{"id": 0, "name": "person"}, {"id": 1, "name": "car", "supercategory": "none"}]
        (export / f"{split}.json").write_text(json.dumps(document))
    data = {"source": "directory", "root": str(export), "splits": {"train": "train", "val": "val"}}
    folder = two_stages(tmp_path / "project", **data, annotations="{split}.json", images="images", match="none")
    run(folder, sys.executable, "stages/download.py")
    run(folder, sys.executable, "stages/masks.py")
    samples = pd.read_parquet(folder / "artifacts" / "samples.parquet")
    assert samples["image_id"].tolist() == [0, 1, 2, 3, 100, 101, 102, 103]
    assert samples["count.person"].tolist() == [1, 0, 1, 0] * 2
    assert samples["count.car"].tolist() == [0, 1, 1, 0] * 2
    index = pd.read_parquet(folder / "data" / "index.parquet")
    assert index["source_id"].tolist() == [0, 1, 2, 3] * 2


def test_a_directory_that_changed_is_noticed(small_coco, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    new_project(folder)
    data = {"source": "directory", "root": str(small_coco), "match": "none"}
    set_params(folder, data=data, model={"encoder_weights": "none"})
    annotations = small_coco / "annotations" / "instances_val2017.json"
    image = small_coco / "val2017" / "000000000104.jpg"

    def runs() -> bool:
        return "Running stage 'download'" in run(folder, "dvc", "repro", "download")

    assert runs()
    assert not runs()
    shutil.copy(image, image.with_name("000000000105.jpg"))
    assert runs()
    annotations.write_text(annotations.read_text().replace('"category_id": 3', '"category_id": 6'))
    assert runs()
    assert not runs()
    assert metrics(folder, "download")["val"]["images"] == 4
