"""The pipeline on models of the user's, in this process: a Keras network, and predictions in files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from in_process import run_stages, stage
from networks import network, saved
from PIL import Image

from segscope.artefacts.images import decode_png
from segscope.artefacts.records import shard_name
from segscope.cli import main
from segscope.errors import SegscopeError
from segscope.labels.masks import compose_mask
from segscope.latent.space import load_latent_space
from segscope.model.card import read_card, read_facts
from segscope.outcome import outcome
from segscope.params_file import parse_params
from segscope.report.compare import Side, compare_sides, run_of
from segscope.report.findings import how_made
from segscope.run import Run

SIZE = 64


def run_in(folder: Path, classes: tuple[str, ...] = ("person", "car"), **model: object) -> Run:
    data = {"image_size": SIZE, "sample_images": {"train": 24, "val": 16}, "exclude": str(folder / "exclude.yaml")}
    document = {
        "data": data | {"cache_dir": str(folder / "cache")},
        "model": {"encoder_weights": "none"} | model,
        "embed": {"dimensions": 8},
        "cluster": {"min_cluster_size": 4, "stability_runs": 1, "explained": 2},
        "variants": {"category": {name: [name] for name in classes}},
    }
    return Run(parse_params(yaml.safe_dump(document, sort_keys=False), "params.yaml"), folder)


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> Path:
    """A run after download and masks."""
    folder = tmp_path_factory.mktemp("masked")
    (folder / "exclude.yaml").touch()
    run_stages(run_in(folder))
    return folder


@pytest.fixture(scope="module")
def begun(masked, tmp_path_factory) -> Callable:
    def begin(classes: tuple[str, ...] = ("person", "car"), **model: object) -> Run:
        folder = tmp_path_factory.mktemp("run") / "project"
        shutil.copytree(masked, folder)
        run = run_in(folder, classes, **model)
        index = run.table("index")  # of absolute paths, here
        run.write("index", index.assign(path=index["path"].str.replace(str(masked), str(folder))))
        return run

    return begin


def labels_of(run: Run) -> dict[str, np.ndarray]:
    """Each image's class mask at its own size, by the name of its file."""
    instances = dict(list(run.table("instances").groupby("image_id")))
    none = run.table("instances")[:0]
    return {
        Path(row.path).stem: run.taxonomy.class_of_id[
            compose_mask(instances.get(row.image_id, none), row.height, row.width, "include")
        ]
        for row in run.table("index").itertuples()
    }


def fully(run: Run, *names: str) -> Run:
    for name in names:
        stage(name)(run)
    return run


@pytest.fixture(scope="module")
def adopted(begun, tmp_path_factory) -> Run:
    file = saved(tmp_path_factory.mktemp("user") / "user.keras", network(100, 100, 5, "softmax"))
    run = begun(source="keras", path=str(file), outputs={"person": [1, 2], "car": [4]}, preprocessing="zero_one")
    return fully(run, "train", "predict", "embed", "cluster", "report")


def test_a_users_network_need_not_have_learned_what_train_shows(begun, tmp_path):
    """Nothing is learned from train: a class that it lacks is no error, and unknown is how well it is found."""
    file = saved(tmp_path / "user.keras", network(64, 64, 3, "softmax"))
    run = begun(("person", "zebra"), source="keras", path=str(file), outputs={"person": [1], "zebra": [2]})
    # Nor does a copy that was left out, and could not be read, keep predict from its end.
    run.write("copies", run.table("index")[:1].assign(image_id=99_999, other_id=1))
    (run.path("dataset") / shard_name("copies", 0, 1)).touch()
    fully(run, "train", "predict")
    found = run.measures("predict")
    assert np.isnan(found.value("iou.zebra", "val"))
    assert found.value("iou.person", "val") >= 0


@pytest.fixture(scope="module")
def written(begun, masked, tmp_path_factory) -> Run:
    """What is labelled, as the predictions of a model that calls person 15 and car 7; one of val's is missing."""
    folder = tmp_path_factory.mktemp("predictions")
    run = begun(source="predictions", path=str(folder), outputs={"person": [15], "car": [7]})
    run = Run(
        run.params.model_copy(update={"data": run.params.data.model_copy(update={"max_missing": 0.1})}), run.folder
    )
    names = labels_of(run)
    numbers = np.array([0, 15, 7] + [0] * 253, np.uint8)
    for name, mask in list(names.items())[:-1]:
        Image.fromarray(numbers[mask]).save(folder / f"{name}.png")
    return fully(run, "train", "predict", "embed", "cluster", "report")


def test_a_users_network_goes_through_all_stages(adopted, capsys):
    predictions, samples = adopted.table("predictions"), adopted.table("samples")
    assert set(predictions["image_id"]) == set(samples["image_id"])
    assert np.isfinite(predictions["loss"]).all()
    assert load_latent_space(adopted.path("latent_space")).layers == ("coarse", "last")
    assert len(adopted.table("heatmaps"))
    for row in adopted.table("heatmaps").itertuples():
        assert row.attention.sum() == pytest.approx(row.score, rel=1e-3, abs=1e-3)
    assert len(adopted.table("supports"))
    assert adopted.table("unpredicted").empty
    assert read_card(adopted.path("model_card")) == (["background", "person", "car"], SIZE)
    assert how_made(read_facts(adopted.path("model_card"))).startswith("none here: the user's network")
    assert outcome("train", adopted.measures("train")) == "train: nothing was trained; the model is the user's"
    assert main(["layers", str(adopted.path("model"))]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if "default" in line] == [
        "coarse: 25 × 25 × 6 (default)",
        "last: 50 × 50 × 5 (default)",
    ]


def test_predictions_are_measured_and_what_they_do_not_tell_is_absent(written):
    measures = written.measures("predict", "cluster")
    # What is left is that a pixel's nearest label and the data's mask, drawn at its own size, differ at outlines.
    for name in ("person", "car"):
        assert measures.value(f"iou.{name}", "val") > 0.9
    for name in ("loss", "calibration_error", "gap.person", "confidence.person"):
        assert measures.find(name, "val") is None
    predictions = written.table("predictions")
    assert predictions[["loss", "confidence", "confidence.person"]].isna().all(axis=None)
    assert not any(decode_png(png).any() for png in predictions["loss_map"])
    assert written.table("objects")["probability"].isna().all()
    assert not written.table("label_issues")["evidence"].str.contains("%.*where the model is sure|nan").any()
    assert not (written.table("associations")["metric"] == "loss").any()
    assert not (written.table("insights")["metric"] == "loss").any()
    assert written.table("heatmaps").empty
    assert written.table("supports").empty
    missing = written.table("unpredicted")
    assert missing["reason"].tolist() == ["no_prediction"]
    assert set(predictions["image_id"]) == set(written.table("samples")["image_id"]) - set(missing["image_id"])
    assert set(written.table("clusters")["image_id"]) == set(predictions["image_id"])
    page = (
        (written.path("report") / "data" / "run.js").read_text() if (written.path("report") / "data").exists() else ""
    )
    assert "no prediction" in page or "no_prediction" in page


def test_predictions_have_no_network_to_run(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(written.folder)
    assert main(["predict", "a.jpg", "--out", str(tmp_path / "out")]) == 1
    assert "known by its predictions alone" in capsys.readouterr().err


def test_more_missing_predictions_than_allowed_are_an_error(written):
    with pytest.raises(
        SegscopeError, match=r"no prediction of 1 of \d+ val images, more than data.max_missing \(0.01\)"
    ):
        stage("predict")(run_in(written.folder, **written.params.model.model_dump(exclude={"encoder_weights"})))


def test_a_comparison_says_which_models_are_compared(adopted, written):
    a, b = (Side([run_of(run, name)]) for run, name in ((adopted, "a"), (written, "b")))
    notes = " ".join(compare_sides(a, b).notes)
    assert f"user's network {adopted.params.model.path}" in notes
    assert f"predictions in {written.params.model.path}" in notes


def test_a_run_is_the_same_bytes_again(adopted):
    outputs = ["model", "model_card", "groups", "predictions"]
    before = {name: adopted.path(name).read_bytes() for name in outputs}
    fully(adopted, "train", "predict")
    assert {name: adopted.path(name).read_bytes() for name in outputs} == before
