"""The first two stages on every kind of odd input."""

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from in_process import stage
from odd_inputs import CASES, SAME, Case, Dataset, control
from PIL import Image
from project import metrics

from segscope.errors import SegscopeError
from segscope.params import Params
from segscope.params_file import parse_params
from segscope.run import Run

DOWNLOAD, MASKS = stage("download"), stage("masks")


def params_of(folder: Path, changes: dict[str, object]) -> Params:
    (folder / "exclude.yaml").touch()
    data = {"source": "directory", "root": str(folder / "coco"), "splits": {"train": "train", "val": "val"}}
    data |= {"image_size": 32, "cache_dir": str(folder.parent / "cache"), "exclude": str(folder / "exclude.yaml")}
    params: dict[str, dict] = {"data": data, "masks": {}, "model": {"encoder_weights": "none"}}
    for key, value in changes.items():
        group, _, name = key.partition(".")
        if name:
            params[group][name] = value
        else:
            params |= {"variants": value, "variant": next(iter(value))}
    return parse_params(yaml.safe_dump(params), "params.yaml")


def made_of(dataset: Dataset, folder: Path, changes: dict[str, object]) -> Run:
    """The run, after the stages, of which the second may have failed, too."""
    dataset.write(folder / "coco")
    run = Run(params_of(folder, dataset.params | changes), folder)
    DOWNLOAD(run)
    MASKS(run)
    return run


def shown(run: Run) -> Counter:
    """What each image shows: the split, and its outlines by category."""
    table = run.table("instances").merge(run.categories[["category_id", "name"]], on="category_id")
    return Counter(
        (i, frozenset(zip(g["split"], g["name"], g["rle"], strict=True)))[1] for i, g in table.groupby("image_id")
    )


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> Counter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        return shown(made_of(control(), tmp_path_factory.mktemp("control"), {}))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_read_or_told(case: Case, tmp_path, capsys, monkeypatch, expected):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
    dataset = control()
    case.change(dataset)
    if case.error:
        with pytest.raises(SegscopeError) as error:
            made_of(dataset, tmp_path, case.params)
        assert re.search(case.error, str(error.value), re.DOTALL), error.value
    else:
        run = made_of(dataset, tmp_path, case.params)
        found = metrics(tmp_path, "masks")
        assert tuple(found[split]["images"] for split in ("train", "val")) == case.images
        if case.instances == SAME:
            assert shown(run) == expected
        else:
            assert tuple(found[split]["instances"] for split in ("train", "val")) == case.instances
    listed = [tmp_path / folder / "skipped.parquet" for folder in ("artifacts", "data")]
    table = next((pd.read_parquet(file) for file in listed if file.exists()), pd.DataFrame({"reason": []}))
    assert table["reason"].value_counts().to_dict() == (case.skipped or {})
    assert re.search(case.warned, capsys.readouterr().err)


def test_pixels_of_no_category_and_of_one_called_background_are_told_apart(tmp_path):
    dataset = control()
    CASES["cat_background"].change(dataset)
    run = made_of(dataset, tmp_path, {})
    first = run.table("samples").set_index("image_id").loc[1]
    assert first["share.background (category)"] == pytest.approx(4 / (40 * 30))
    assert first["share.background"] == pytest.approx(1 - first[["share.person", "share.car"]].sum() - 4 / (40 * 30))
    measured = run.measures("masks")
    assert measured.value("pixel_share.background (category)", "val") == pytest.approx(4 / (40 * 30))
