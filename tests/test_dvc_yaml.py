"""What dvc.yaml declares, against what the stages are made of."""

import ast
import re

import pytest
import yaml
from closure import DATA, ROOT, SOURCE, STAGES, closure, declared, graph, path_of, picture, table

from segscope.artefacts.measures import METRICS

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def test_the_pipeline_has_exactly_the_seven_stages_with_one_metrics_file_each():
    assert tuple(PIPELINE["stages"]) == STAGES == tuple(METRICS)
    for name, stage in PIPELINE["stages"].items():
        assert [list(metric) for metric in stage["metrics"]] == [[f"metrics/{name}.json"]]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_imports_and_on_no_other(stage):
    assert declared(stage) == closure(stage), "`python tests/closure.py --write` mends dvc.yaml"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_outputs_of_earlier_stages_only(stage):
    made = [out for name in STAGES[: STAGES.index(stage)] for out in PIPELINE["stages"][name]["outs"]]
    data = [dep for dep in PIPELINE["stages"][stage]["deps"] if dep.startswith(("data/", "artifacts/", "metrics/"))]
    assert set(data) <= set(made)


def test_packages_own_files_hold_nothing_but_a_docstring():
    """They are in every closure; they cannot change an output."""
    for file in (ROOT / SOURCE).rglob("__init__.py"):
        (only,) = ast.parse(file.read_text()).body
        assert isinstance(only, ast.Expr), file


def test_every_file_beside_the_modules_is_known_to_whom_it_belongs():
    files = {str(p.relative_to(ROOT)) for p in (ROOT / SOURCE).rglob("*") if p.is_file() and p.suffix != ".py"}
    files = {file for file in files if "__pycache__" not in file and not file.endswith("py.typed")}
    known = tuple(f"{folder}/" for folders in DATA.values() for folder in folders)
    others = {file for file in files if not file.startswith(known)}
    assert {file.rpartition("/")[0] for file in others} == {f"{SOURCE}/report/compare_assets"}  # of no stage


def test_the_table_shows_whom_a_change_concerns():
    rows = {line.split()[0]: line.split()[1:] for line in table().splitlines()[1:]}
    assert set(rows) == {path for path in map(path_of, graph().modules) if path}
    stale = {
        file: [stage for stage, mark in zip(STAGES, marks, strict=True) if mark == "x"] for file, marks in rows.items()
    }
    assert stale[f"{SOURCE}/params.py"] == list(STAGES)
    assert stale[f"{SOURCE}/model/folds.py"] == ["train", "predict"]
    assert stale[f"{SOURCE}/insights/slices.py"] == ["predict"]
    assert stale[f"{SOURCE}/artefacts/revisions.py"] == ["embed"]
    assert stale[f"{SOURCE}/report/compare.py"] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_script_is_short_and_does_no_arithmetic(stage):
    script = ROOT / "stages" / f"{stage}.py"
    assert len(script.read_text().splitlines()) <= 80
    for node in ast.walk(ast.parse(script.read_text())):
        assert not isinstance(node, ast.AugAssign) or isinstance(node.target, ast.Name)
        # A slash joins paths.
        assert not isinstance(node, ast.BinOp) or isinstance(node.op, ast.Div), ast.unparse(node)
        assert not isinstance(node, ast.Constant) or "metrics/" not in str(node.value)


def test_the_picture_of_the_packages_is_of_today():
    assert picture() in (ROOT / "docs" / "architecture.md").read_text(), "`make architecture` draws it anew"


def test_every_metric_is_explained():
    page = (ROOT / "docs" / "metrics.md").read_text()
    for patterns in METRICS.values():
        for pattern in patterns:
            kind = pattern.replace("*.", "SPLIT.", 1) if pattern.startswith("*.") else pattern
            assert re.search(rf"`{re.escape(kind).replace(re.escape('*'), '[A-Z]+')}`", page), pattern
