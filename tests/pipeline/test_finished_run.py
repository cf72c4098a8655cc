"""A finished run: what a user finds in it, and what they do with it next."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from exclusions import exclusion_yaml
from in_process import call_here, run_here
from PIL import Image
from project import ROOT, STAGES, call, commit, measures, metrics, new_project, run, set_params, stale
from scipy.spatial import procrustes

from segscope.cli import main
from segscope.insights.insights import KINDS
from segscope.model.card import read_card
from segscope.model.folds import fold_of


def test_the_pipeline_ends_in_a_report_and_all_metrics(finished):
    page = (finished / "reports" / "index.html").read_text()
    assert "These images are drawn" in page
    masks = metrics(finished, "masks")
    assert metrics(finished, "report") == {"images": masks["train"]["images"] + masks["val"]["images"]}
    for line in page.split('src="')[1:]:
        assert (finished / "reports" / line.split('"')[0]).is_file()
    assert 0 <= metrics(finished, "predict")["val"]["iou"]["person"] <= 1


def test_a_second_run_does_nothing_and_says_so(finished):
    assert "Data and pipelines are up to date." in run(finished, "dvc", "repro")


def test_artefacts_fit_together(finished):
    artefacts = finished / "artifacts"
    ids = set(pd.read_parquet(finished / "data" / "index.parquet")["image_id"])
    for name in ("samples", "predictions", "embeddings", "clusters"):
        table = pd.read_parquet(artefacts / f"{name}.parquet")
        assert set(table["image_id"]) == ids
        assert table["image_id"].is_unique
    assert set(pd.read_parquet(artefacts / "neighbors.parquet")["neighbor_id"]) <= ids
    predictions = pd.read_parquet(artefacts / "predictions.parquet")
    assert {sum(counts) for counts in predictions["counts"]} == {64 * 64}


def test_attention_of_the_run_sums_to_its_scores(finished):
    maps = pd.read_parquet(finished / "artifacts" / "heatmaps.parquet")
    clusters = pd.read_parquet(finished / "artifacts" / "clusters.parquet").set_index("image_id")["cluster"]
    vectors = pd.read_parquet(finished / "artifacts" / "embeddings.parquet").set_index("image_id")["latent"]
    assert len(maps)
    group = pd.read_parquet(finished / "artifacts" / "groups.parquet").set_index("image_id")["group"]
    # Near copies count once: a direction is of the groups' means.
    of_groups = pd.DataFrame(np.stack(vectors).astype(float), vectors.index).groupby(group[vectors.index]).mean()
    stacked = of_groups.to_numpy()
    for cluster, rows in maps.groupby("cluster"):
        inside = (clusters.loc[of_groups.index] == cluster).to_numpy()
        direction = stacked[inside].mean(0) - stacked[~inside].mean(0)
        direction /= np.linalg.norm(direction)
        expected = np.stack(vectors.loc[rows["image_id"]]) @ direction
        assert np.allclose([m.sum(dtype=float) for m in rows["attention"]], expected, rtol=1e-3, atol=1e-3)


def test_wrong_pixels_are_explained(finished):
    supports = pd.read_parquet(finished / "artifacts" / "supports.parquet")
    predictions = pd.read_parquet(finished / "artifacts" / "predictions.parquet").set_index("image_id")
    assert len(supports)
    assert set(predictions.loc[supports["image_id"], "split"]) == {"val"}
    total = [support.sum(dtype=float) for support in supports["support"]] + supports["constant"]
    assert np.allclose(total, supports["score"], atol=1e-3)
    assert (finished / "reports" / "attention" / "support-1.js").is_file()


def test_the_stages_measure_what_they_claim(finished):
    found = measures(finished)
    assert 0.5 < found.value("trustworthiness") <= 1
    assert found.value("neighbor_recall") == 1
    assert 0 <= found.value("neighbor_purity", "val") <= 1
    for kind in ("seeds", "seeds_lowest", "subsamples", "subsamples_lowest"):
        assert -1 <= found.value(f"stability.{kind}") <= 1
    samples = pd.read_parquet(finished / "artifacts" / "samples.parquet")
    assert found.value("gray") == samples["is_gray"].sum()
    clusters = pd.read_parquet(finished / "artifacts" / "clusters.parquet")
    assert found.value("clusters") == clusters["cluster"].max() + 1


def ask(capsys, *command: str) -> str:
    """What a command that succeeds prints."""
    assert main(command) == 0
    return capsys.readouterr().out


def test_similar_images_of_an_id_and_of_a_file(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(finished)
    listed = pd.read_parquet("artifacts/neighbors.parquet").query("image_id == 3")["neighbor_id"]
    said = ask(capsys, "similar", "3", "-k", "5", "--heat", "--out", str(tmp_path / "sheet.png"))
    assert [int(line.split()[0]) for line in said.splitlines()[1:6]] == listed.head(5).tolist()
    assert "what they share lies on" in said
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    index = pd.read_parquet("data/index.parquet").set_index("image_id")
    shutil.copy(index.loc[3, "path"], tmp_path / "own.jpg")
    said = ask(capsys, "similar", str(tmp_path / "own.jpg"), "-k", "3", "--out", str(tmp_path / "sheet.jpg"))
    first = said.splitlines()[1].split()
    assert int(first[0]) == 3  # the same pixels: its own twin, at no distance
    assert float(first[2]) < 0.1
    assert (tmp_path / "sheet.jpg").is_file()


def test_what_supports_a_class_in_an_image(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(finished)
    row = pd.read_parquet("artifacts/supports.parquet").iloc[0]
    command = ["explain", str(row["image_id"]), "--class", row["class"], "--out", str(tmp_path / "explained.jpg")]
    said = ask(capsys, *command)
    assert said.startswith(f"The model sees {row['class']} in ")
    assert f"Of what in the picture speaks for {row['class']}, most lies on: " in said
    assert (tmp_path / "explained.jpg").is_file()
    assert main([*command, "--overwrite", "--box", "0", "0", "1", "1"]) == 1
    assert f"error: the model predicts no pixel of {row['class']} there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["similar", "999999"], "error: 999999 is neither a file nor an image_id of data/index.parquet"),
        (["similar", "dvc.yaml"], "error: image dvc.yaml cannot be decoded"),
        (["explain", "3", "--class", "zebra"], "error: variant category has no class zebra; choices: car, person"),
        (["similar", "3", "--out", "dvc.yaml/a.jpg"], "error: dvc.yaml/a.jpg cannot be written"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(finished, monkeypatch, capsys, command, message):
    monkeypatch.chdir(finished)
    assert main(command) == 1
    assert message in capsys.readouterr().err


def test_a_number_that_cannot_be_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["similar", "3", "-k", "0"])
    assert "'0' is not a whole number from 1 on" in capsys.readouterr().err


def test_a_question_to_no_run_says_what_to_run(tmp_path):
    """As a user sees it: no traceback, exit status 1."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    result = call(tmp_path, "segscope", "similar", "3")
    assert result.returncode == 1
    assert "error: data/index.parquet cannot be read" in result.stderr
    assert "run `dvc repro download`" in result.stderr
    assert "Traceback" not in result.stderr


def test_one_split_alone_can_be_shown_on_the_map_of_another_revision(project):
    before = pd.read_parquet(project / "artifacts" / "embeddings.parquet").query("split == 'val'")
    set_params(project, embed={"splits": ["val"], "align_to": "HEAD", "seed": 5})
    run_here(project, "embed", "cluster")
    artefacts = project / "artifacts"
    val = set(pd.read_parquet(project / "data" / "index.parquet").query("split == 'val'")["image_id"])
    for name in ("embeddings", "clusters"):
        assert set(pd.read_parquet(artefacts / f"{name}.parquet")["image_id"]) == val
    assert set(pd.read_parquet(artefacts / "neighbors.parquet")["neighbor_id"]) <= val
    found = measures(project, "embed")
    assert set(found.table["split"]) == {"", "all", "val"}
    assert found.value("aligned.images") == len(val)
    after = pd.read_parquet(artefacts / "embeddings.parquet")
    old, new = (table.set_index("image_id")[["x", "y"]] for table in (before, after))
    rng = np.random.default_rng(0)
    chance = np.mean([procrustes(old, rng.permutation(new))[2] for _ in range(100)])
    assert found.value("aligned.disparity") < 0.8 * chance
    moved = np.hypot(*(new - old).to_numpy().T).mean()
    assert moved < np.hypot(*(old - old.mean()).to_numpy().T).mean()


def test_a_map_cannot_lie_on_that_of_no_revision(project):
    set_params(project, embed={"align_to": "no-such-revision"})
    status, said = call_here(project, "embed")
    assert status == 1
    assert "error: data/index.parquet of revision no-such-revision cannot be read" in said


def test_a_review_of_the_labels_changes_the_next_run(project, monkeypatch, capsys):
    """Review, exclude, correct, say what is known of the images, run again, compare."""
    issues = pd.read_parquet(project / "artifacts" / "label_issues.parquet")
    assert set(issues["split"]) == {"val"}  # the model has seen train's labels
    assert measures(project, "predict").find("suspects.missing", "train") is None
    monkeypatch.chdir(project)
    said = ask(capsys, "labels", "export", "--format", "csv")
    assert f"exports/label_issues.val.csv: {len(issues)} suspects" in said
    reviewed = pd.read_csv(project / "exports" / "label_issues.val.csv")
    assert len(reviewed) == len(issues)
    assert main(["labels", "export", "--format", "csv", "--split", "train"]) == 1
    assert capsys.readouterr().err.startswith(
        "error: labels of train are not judged by a model that learned them: set labels.folds"
    )

    judged = pd.read_parquet(project / "artifacts" / "instances.parquet").query("split == 'val' and not iscrowd")
    annotation = judged[judged["category_id"] == 1].nlargest(1, "area").iloc[0]
    image = judged[judged["image_id"] != annotation["image_id"]]["image_id"].iloc[0]
    annotations = {int(annotation["image_id"]): [int(annotation["annotation_id"])], 5: [1]}
    text = exclusion_yaml("sample, seed 0", [int(image)], annotations)
    (project / "data" / "exclude.yaml").write_text(text)

    # What was planted, as a reviewer would mend it: persons and cars are told apart, statues are none.
    truth = pd.read_parquet(project / "data" / "truth.parquet").dropna(subset=["annotation_id"])
    truth = truth[truth["planted"].isin(["mislabeled", "ambiguous"]) & ~truth["image_id"].isin([*annotations, image])]
    number = {1: 1, 3: 2}
    edits = [
        {"image_id": int(row.image_id), "id": int(row.annotation_id)}
        | ({"removed": True} if row.planted == "ambiguous" else {"category_id": number[row.true_category_id]})
        for row in truth.itertuples()
    ]
    images = [{"id": i, "file_name": ""} for i in sorted({edit["image_id"] for edit in edits})]
    categories = [{"id": 2, "name": "car"}, {"id": 1, "name": "person"}]
    document = {"info": {"segscope_source": "sample, seed 0"}, "images": images, "annotations": edits}
    (project / "data" / "corrections.json").write_text(json.dumps(document | {"categories": categories}))
    (project / "data" / "metadata.csv").write_text(
        "image_id,site\n" + "".join(f"{i},{'a' if i % 2 else 'b'}\n" for i in range(1, 31))
    )
    set_params(project, train={"epochs": 1}, cluster={"stability_runs": 0, "explained": 0})  # not what is looked at
    commit(project, "reviewed")

    assert "download" not in stale(project)
    said = run_here(project, *STAGES[1:6])
    assert "data/exclude.yaml names 1 ids that this run does not have" in said
    index = pd.read_parquet(project / "data" / "index.parquet")
    unknown = (index["image_id"] > 30).sum() - 1
    assert f"data/metadata.csv: {unknown} of {len(index) - 1} images have no row" in said
    kinds = truth["planted"].value_counts()
    assert f"{kinds['mislabeled']} of another category, {kinds['ambiguous']} removed" in said
    corrections = pd.read_parquet(project / "artifacts" / "corrections.parquet")
    assert sorted(corrections["annotation_id"]) == sorted(truth["annotation_id"])
    assert metrics(project, "masks")["val"]["skipped"] == 2
    assert measures(project, "masks").value("skipped.excluded", "val") == 2
    samples = pd.read_parquet(project / "artifacts" / "samples.parquet").set_index("image_id")
    assert image not in samples.index
    sites = samples.loc[samples.index <= 30, "user.site"]
    assert sites.tolist() == ["a" if i % 2 else "b" for i in sites.index]
    of_image = judged[(judged["image_id"] == annotation["image_id"]) & (judged["category_id"] == 1)]
    assert samples.loc[annotation["image_id"], "count.person"] == len(of_image) - 1
    counts = pd.read_parquet(project / "artifacts" / "predictions.parquet").set_index("image_id")["counts"]
    assert sum(counts[annotation["image_id"]]) < 64 * 64  # its pixels count nowhere
    diff = json.loads(run(project, "dvc", "metrics", "diff", "--json", "HEAD"))
    assert diff["metrics/masks.json"]["val.images"] == {"old": 20, "new": 19, "diff": -1}
    relabelled = {int(annotation["image_id"]), *truth.loc[truth["split"] == "val", "image_id"]}
    said = ask(capsys, "compare", "HEAD~1", "workspace", "--markdown")
    assert f"{len(relabelled)} more, which both have, are labelled otherwise in A than in B" in said


def test_train_labels_are_judged_by_models_that_did_not_see_them(varied):
    project = varied
    folds = json.loads((project / "artifacts" / "folds" / "folds.json").read_text())
    assert folds["folds"] == 2
    train = pd.read_parquet(project / "data" / "index.parquet").query("split == 'train'")["image_id"].to_numpy()
    group = pd.read_parquet(project / "artifacts" / "groups.parquet").set_index("image_id")["group"]
    assert folds["images"] == np.bincount(fold_of(group[train].to_numpy(), 2), minlength=2).tolist()
    issues = pd.read_parquet(project / "artifacts" / "label_issues.parquet")
    assert set(issues.loc[issues["split"] == "train", "image_id"]) <= set(train)
    assert {"mislabeled", "missing"} <= set(pd.read_parquet(project / "data" / "truth.parquet")["planted"])
    found = measures(project, "predict")
    for kind in ("mislabeled", "missing"):
        assert 0 <= found.value(f"found.{kind}", "train") <= 1
        assert found.value(f"suspects.{kind}", "train") == (issues.query("split == 'train'")["kind"] == kind).sum()
    assert not list((project / "artifacts").glob("checkpoint*"))
    repeats = pd.read_parquet(project / "artifacts" / "repeats.parquet")
    predictions = pd.read_parquet(project / "artifacts" / "predictions.parquet").query("split == 'val'")
    assert set(repeats["seed"]) == {5}
    assert repeats["image_id"].tolist() == predictions["image_id"].tolist()
    losses = predictions["loss"].mean(), repeats["loss"].mean()
    assert found.value("trainings", "val") == 2
    assert found.value("spread.loss", "val") == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5, abs=1e-6)


def test_what_drives_performance_is_found_and_selectable(finished):
    insights = pd.read_parquet(finished / "artifacts" / "insights.parquet")
    samples = pd.read_parquet(finished / "artifacts" / "samples.parquet").query("split == 'val'")
    assert len(insights)
    for row in insights.itertuples():
        assert len(samples.query(row.query)) == row.images
        assert set(samples.query(row.query)["image_id"]) == set(row.image_ids)
    found = measures(finished, "predict")
    assert sum(found.value(f"insights.{kind}", "val") for kind in KINDS) == len(insights)
    assert found.find("inside.low light.loss", "val").images == samples["low_light"].sum()
    associations = pd.read_parquet(finished / "artifacts" / "associations.parquet")
    assert {"loss", "iou.person"} <= set(associations["metric"])


def test_another_variant_reuses_the_data_and_can_be_compared(varied, tmp_path, monkeypatch, capsys):
    project, said = varied, (varied / "said_of_other.txt").read_text()
    for stage in STAGES[:2]:
        assert f"Stage '{stage}' didn't change, skipping" in said
    for stage in STAGES[2:]:
        assert f"Running stage '{stage}'" in said
    difference = json.loads(run(project, "dvc", "metrics", "show", "--json"))
    files = difference[""]["data"]
    assert "vehicle" in files["metrics/predict.json"]["data"]["val"]["iou"]
    assert "bus" in files["metrics/predict.json"]["data"]["val"]["recall"]
    changed = json.loads(run(project, "dvc", "metrics", "diff", "--json", "HEAD"))
    assert 0 < sum(map(len, changed.values())) <= 40
    monkeypatch.chdir(project)
    table = ask(capsys, "compare", "HEAD", "workspace", "--markdown")
    assert "| val | HEAD | workspace | difference |" in table
    assert "| recall.bus |" in table
    assert "| cluster purity above chance |" in table
    ask(capsys, "compare", "HEAD", "workspace", "--out", str(tmp_path / "compared"))
    written = (tmp_path / "compared" / "data" / "compare.js").read_text()
    assert "Compared are the 20 val images that both judged" in written
    assert list((tmp_path / "compared" / "images").iterdir())
    assert main(["compare", "HEAD", "workspace", "--markdown", "--fail-if", "iou.person < -0.5"]) == 1
    said = capsys.readouterr().err
    assert "two single trainings cannot tell a change" in said or "too few groups of images carry" in said
    assert main(["compare", "HEAD", "no-such-revision"]) == 1
    assert "error: data/index.parquet of revision no-such-revision cannot be read" in capsys.readouterr().err


def test_the_model_card_says_what_the_model_is(finished):
    names, size = read_card(finished / "artifacts" / "model.md")
    params = yaml.safe_load((finished / "params.yaml").read_text())
    assert names == ["background", *params["variants"][params["variant"]]]
    assert size == 64
    text = (finished / "artifacts" / "model.md").read_text()
    assert f"Epoch {metrics(finished, 'train')['epoch']} was kept" in text


def test_false_positives_are_found_and_stated(finished):
    found = json.loads((finished / "artifacts" / "confusions.json").read_text())
    shares = measures(finished, "predict")
    table = pd.read_json(finished / "artifacts" / "plots" / "categories.json").query("split == 'val'")
    categories = pd.read_parquet(finished / "data" / "categories.parquet").set_index("name")["supercategory"]
    params = yaml.safe_load((finished / "params.yaml").read_text())
    assert found["val"]
    for name, finding in found["val"].items():
        assert finding["statement"].startswith(f"Pixels wrongly predicted as {name} are: ")
        held = params["variants"][params["variant"]][name]
        of_class = table["category"].isin(held) | table["category"].map(categories).isin(held)
        wrong = table[(table["predicted"] == name) & ~of_class].set_index("category")["pixels"]
        for category, share in (wrong / wrong.sum()).nlargest(len(finding["categories"])).items():
            assert shares.value(f"false_positives.{name}.{category}", "val") == pytest.approx(share)


def test_a_class_that_no_image_shows_is_a_clear_error(project):
    set_params(project, variant="pets", variants={"pets": {"zebra": ["zebra"]}})
    status, said = call_here(project, "train")
    assert status == 1
    assert "error: the train split has no pixel of class zebra: choose other images" in said


def test_four_images_are_enough(coco_mini, tmp_path):
    folder = new_project(tmp_path)
    data = {"source": "directory", "root": str(coco_mini), "match": "all", "max_images": {"train": 3, "val": 1}}
    set_params(folder, data=data, train={"epochs": 1}, embed={"dimensions": 32})
    run_here(folder, *STAGES[:5])
    assert measures(folder, "predict").value("images", "val") == 1
    assert len(pd.read_parquet(folder / "artifacts" / "embeddings.parquet")) == 4


def test_a_wrong_value_stops_the_run_with_one_clear_line(project):
    set_params(project, embed={"seed": "many"})
    result = call(project, "dvc", "repro", "embed")
    assert result.returncode != 0
    assert "error: params.yaml is not valid:\n  embed.seed: 'many' is not allowed" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_real_photographs_are_read_in_place(coco_mini, tmp_path):
    folder = new_project(tmp_path)
    data = {"source": "directory", "root": str(coco_mini), "match": "any"}
    set_params(folder, data=data | {"max_images": {"train": 40, "val": 30}})
    run_here(folder, "download", "masks")
    index = pd.read_parquet(folder / "data" / "index.parquet")
    assert len(index) == 70
    assert index["sha256"].is_unique
    assert index["path"].str.startswith(str(coco_mini)).all()
    assert [file.name for file in (folder / "data" / "sample").iterdir()] == [".segscope"]
    assert set(pd.read_parquet(folder / "artifacts" / "samples.parquet")["image_id"]) == set(index["image_id"])
