from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from segscope.errors import SegscopeError
from segscope.model.card import write_card
from segscope.params import Params
from segscope.report.findings import produced, read_findings
from segscope.run import Run

# md5 of "model" and of "index", as of any file in dvc.lock.
MODEL, INDEX = "f28ecc9c4c39034ff366b7e76491e04b", "6a992d5529f459a44fee58c733255e86"


def run_of(folder: Path, **training: object) -> Run:
    """A run of which there is a model, its card and an index."""
    run = Run(Params(), folder)
    for name in ("model", "index"):
        run.path(name).parent.mkdir(parents=True)
    with ZipFile(run.path("model"), "w") as file:
        file.writestr(ZipInfo("model"), "model")
    run.path("index").write_text("index")
    options = Params().train.model_dump() | training
    numbers = {"epoch": 3, "train": {}, "val": {}}
    write_card(run.path("model_card"), {"car": ["car"]}, 128, {}, options, {"train": 2, "val": 1}, numbers)
    return run


def test_how_a_run_was_made_is_said_by_what_decided_it(tmp_path):
    assert produced(run_of(tmp_path, recipe="reference", epochs=4, seeds=[5, 6])) == {
        "variant": "category",
        "source": "sample, seed 0",
        "resolution": "128 × 128 pixels",
        "training": "reference recipe, 4 epochs at most, seed 5, 6",
        "model": MODEL,
        "images": INDEX,
    }


def test_equal_runs_are_said_to_be_made_alike_wherever_they_lie(tmp_path):
    assert produced(run_of(tmp_path / "a")) == produced(run_of(tmp_path / "b"))


def test_a_model_without_its_card_says_what_to_run(tmp_path):
    run = run_of(tmp_path)
    run.path("model_card").unlink()
    with pytest.raises(SegscopeError, match=r"the model card .*model\.md cannot be read .*run `dvc repro train`"):
        produced(run)


def test_a_run_that_is_not_finished_says_what_to_run(tmp_path):
    with pytest.raises(SegscopeError, match=r"categories\.parquet cannot be read .*run `dvc repro download`"):
        read_findings(Run(Params(), tmp_path))
