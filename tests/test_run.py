import json
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from small import CATEGORIES

from segscope.artefacts.measures import METRICS, Measure, measure_table
from segscope.artefacts.revisions import WORKSPACE, read_file
from segscope.artefacts.schemas import Confusions
from segscope.errors import SegscopeError
from segscope.params import Data, Params
from segscope.run import FILES, TABLES, Run, measures_path

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CLUSTERS = pd.DataFrame({"image_id": [1, 2], "cluster": [0, -1], "probability": [1.0, 0.0]})
# Params of another time: keys that are gone, in groups that are gone or stayed.
OLD_PARAMS = """
variant: supercategory
variants:
  supercategory: {person: [person], vehicle: [vehicle]}
data: {image_size: 32, splits: {train: a, val: b, test: c}, colour: red}
cluster: {exemplars: 3, seed: 1}
gallery: {images: 24}
"""


@pytest.fixture
def run(tmp_path) -> Run:
    """A run of the params' defaults whose categories are known."""
    run = Run(Params(), tmp_path)
    run.write("categories", CATEGORIES)
    return run


def in_revision(run: Run, params: str = OLD_PARAMS) -> Run:
    """The run as of a revision that holds what lies in its folder, and these params."""

    def read(path: str) -> bytes:
        return params.encode() if path == "params.yaml" else (run.folder / path).read_bytes()

    return Run(read=read)


def test_every_artefact_is_an_output_of_one_stage_and_every_output_is_an_artefact():
    made = Counter(
        (name, out if isinstance(out, str) else next(iter(out)))
        for name, stage in STAGES.items()
        for out in stage["outs"]
    )
    known = [(maker, path) for name, (maker, path, *_) in (TABLES | FILES).items() if name != "checkpoint"]
    known += [(stage, measures_path(stage)) for stage in STAGES]
    assert made == Counter(known)


@pytest.mark.parametrize("stage", METRICS)
def test_a_stages_measures_are_its_own_outputs(stage, run):
    run.write_measures(stage, measure_table([Measure("images", 1)]))
    written = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert written - {"data/categories.parquet"} == {measures_path(stage), f"metrics/{stage}.json"}
    assert measures_path(stage) in STAGES[stage]["outs"]
    assert [list(metric) for metric in STAGES[stage]["metrics"]] == [[f"metrics/{stage}.json"]]


def test_names_are_not_those_of_two_artefacts():
    assert not set(TABLES) & set(FILES)


@pytest.mark.parametrize("name", [*TABLES, *FILES])
def test_an_artefact_lies_below_the_runs_folder(name, tmp_path):
    assert Run(Params(), tmp_path).path(name).is_relative_to(tmp_path)
    assert Run(Params()).path(name) == Run(Params(), tmp_path).path(name).relative_to(tmp_path)


def test_a_table_is_read_as_it_was_written_whole_or_in_columns(run):
    run.write("clusters", CLUSTERS)
    pd.testing.assert_frame_equal(run.table("clusters"), CLUSTERS, check_dtype=False)
    assert run.table("clusters", ["cluster", "image_id"]).columns.tolist() == ["cluster", "image_id"]
    assert isinstance(run.arrow("clusters"), pa.Table)


def test_a_table_may_be_written_in_parts(run):
    with run.open("clusters") as write:
        for row in (CLUSTERS[:1], CLUSTERS[1:]):
            write(row)
    assert run.table("clusters")["image_id"].tolist() == [1, 2]


def test_categories_and_classes_are_those_of_the_run(run):
    assert run.categories["name"].tolist() == ["person", "car", "bus", "dog"]
    assert run.taxonomy.class_names == ["background", "person", "car"]


@pytest.mark.parametrize(
    ("name", "column", "of"),
    [
        ("samples", "count.super.vehicle", {}),
        ("predictions", "iou.vehicle", {"variant": "supercategory"}),
        ("embeddings", "latent", {"embed": {"dimensions": 7}}),
        ("heatmaps", "attention", {"data": {"image_size": 32}}),
        ("supports", "support", {"data": {"image_size": 32}}),
    ],
)
def test_a_schema_may_depend_on_the_runs_categories_and_params(run, name, column, of):
    own = Run(Params.model_validate(of), run.folder)
    with own.open(name):
        pass  # an empty table
    field = own.arrow(name).schema.field(column)
    sizes = {"latent": 7, "attention": 32 * 32, "support": 32 * 32}
    if column in sizes:
        assert field.type.list_size == sizes[column]
        with pytest.raises(SegscopeError, match="has another schema"):
            run.arrow(name)


def test_the_params_are_those_of_the_folder_unless_given(tmp_path):
    (tmp_path / "params.yaml").write_text("data: {image_size: 64}\n")
    assert Run(folder=tmp_path).params.data.image_size == 64
    with pytest.raises(SegscopeError, match=r"params\.yaml cannot be read: No such file"):
        _ = Run(folder=tmp_path / "other").params


def test_a_folders_own_params_may_hold_no_unknown_key(tmp_path):
    (tmp_path / "params.yaml").write_text(OLD_PARAMS)
    with pytest.raises(SegscopeError, match="gallery: unknown key"):
        _ = Run(folder=tmp_path).params


def test_of_another_revisions_params_the_known_ones_count(run):
    params = in_revision(run).params
    assert (params.variant, params.data.image_size, params.cluster.exemplars) == ("supercategory", 32, 3)
    assert params.data.splits.model_dump() == {"train": "a", "val": "b"}
    assert params.embed == Params().embed


def test_another_revisions_impossible_value_is_an_error_that_names_the_file(run):
    with pytest.raises(SegscopeError, match=r"^params\.yaml is not valid:\n  data\.image_size: 7 is not allowed"):
        _ = in_revision(run, "data: {image_size: 7}").params


def test_a_run_of_another_revision_is_read_from_there(run):
    run.write("clusters", CLUSTERS)
    run.write_measures("embed", measure_table([Measure("trustworthiness", 0.9)]))
    other = in_revision(run)
    assert other.taxonomy.class_names == ["background", "person", "vehicle"]
    assert other.table("clusters", ["cluster"])["cluster"].tolist() == [0, -1]
    assert other.measures("embed").value("trustworthiness") == 0.9


def test_a_run_of_another_revision_has_its_own_schema(run):
    with run.open("heatmaps"):
        pass
    with pytest.raises(SegscopeError, match=r"^artifacts/heatmaps\.parquet has another schema"):
        in_revision(run).arrow("heatmaps")


def test_the_workspace_is_a_revision_too(run, monkeypatch):
    run.write("clusters", CLUSTERS)
    monkeypatch.chdir(run.folder)
    other = Run(Params(), read=partial(read_file, revision=WORKSPACE))
    assert other.table("clusters").equals(run.table("clusters"))
    with pytest.raises(SegscopeError, match=r"artifacts/neighbors\.parquet of revision workspace cannot be read"):
        other.table("neighbors")


@pytest.mark.parametrize("name", [name for name in TABLES if name != "categories"])
def test_a_table_that_is_missing_says_what_to_run(run, name):
    with pytest.raises(SegscopeError) as error:
        run.table(name)
    assert TABLES[name][1] in str(error.value)
    assert f"run `dvc repro {TABLES[name][0]}`" in str(error.value)


def test_whatever_needs_the_categories_says_that_they_are_missing(tmp_path):
    for ask in (lambda run: run.taxonomy, lambda run: run.table("samples"), lambda run: run.arrow("predictions")):
        with pytest.raises(SegscopeError, match=r"data/categories\.parquet cannot be read .*run `dvc repro download`"):
            ask(Run(Params(), tmp_path))


@pytest.mark.parametrize(
    "content", [None, "", "{", "\udcff", "[]", '{"train": {}}', '{"train": {}, "val": {"car": 1}}']
)
def test_a_json_artefact_that_cannot_be_read_says_what_to_run(run, content):
    run.path("confusions").parent.mkdir(parents=True)
    if content is not None:
        run.path("confusions").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        SegscopeError, match=r"confusions\.json cannot be read \(.*\); run `dvc repro predict` to make it"
    ):
        run.json("confusions", Confusions)


def test_measures_are_written_whole_and_the_metrics_file_is_a_selection(run):
    rows = [Measure("images", 3.0, split="val"), Measure("annotations", 7, split="val"), Measure("loss", float("nan"))]
    run.write_measures("download", measure_table(rows))
    assert json.loads((run.folder / "metrics" / "download.json").read_text()) == {"val": {"images": 3}}
    found = run.measures("download")
    assert found.table[["stage", "measure"]].values.tolist() == [["download", "images"], ["download", "annotations"]]
    assert found.value("annotations", "val") == 7


def test_measures_of_several_stages_are_looked_up_together(run, recwarn):
    run.write_measures("embed", measure_table([Measure("trustworthiness", 0.9)]))
    run.write_measures("predict", measure_table([Measure("loss", 0.5, 7, 0.4, 0.6, "val"), Measure("iou.car", 1)]))
    found = run.measures("predict", "embed")
    assert (found.value("loss", "val"), found.value("trustworthiness")) == (0.5, 0.9)
    assert found.find("loss", "val").images == 7
    with pytest.raises(
        SegscopeError, match=r"measures\.parquet/download\.parquet cannot be read .*run `dvc repro download`"
    ):
        run.measures()
    for stage in METRICS:
        run.write_measures(stage, measure_table([Measure("images", 1, split=stage)]))
    assert {run.measures().value("images", stage) for stage in METRICS} == {1}
    assert not recwarn.list


def test_measures_of_all_stages_are_one_dataset(run):
    for stage in ("predict", "embed"):
        run.write_measures(stage, measure_table([Measure("images", 1)]))
    table = pd.read_parquet(run.folder / "artifacts" / "measures.parquet")
    assert sorted(table["stage"]) == ["embed", "predict"]


def test_pictures_are_the_runs_own(tmp_path, monkeypatch):
    """Below the project, or where the params say that images are."""
    monkeypatch.chdir(tmp_path)
    run = Run(Params(data=Data(source="directory", root="/pictures", cache_dir="../cache")))
    run.require_own(["data/sample/a.jpg", "/pictures/a.jpg", str(tmp_path.parent / "cache/a.jpg"), "a..jpg"])
    for other in ("../a.jpg", "/pictures/../a.jpg", "/pictures2/a.jpg", "/pictures", "data/../../a.jpg"):
        with pytest.raises(SegscopeError, match=r"^.* is not shown: it lies neither in this folder, nor below"):
            run.require_own(["data/sample/a.jpg", other])
    with pytest.raises(SegscopeError, match="is not shown"):
        Run(Params(data=Data(root="/pictures"))).require_own(["/pictures/a.jpg"])
