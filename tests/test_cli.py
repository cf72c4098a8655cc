from pathlib import Path

import pytest
import yaml

from segscope import __version__
from segscope.cli import main

PARAMS = Path(__file__).parent.parent / "params.yaml"


def test_check_prints_the_params_with_defaults(tmp_path, capsys):
    short = {key: value for key, value in yaml.safe_load(PARAMS.read_text()).items() if key.startswith("variant")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(short))
    assert main(["check", str(tmp_path / "params.yaml")]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["variant"] == "category"
    assert printed["data"]["source"] == "sample"


def test_check_of_a_wrong_file_fails_and_says_why(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text("variant: a\nvariants: {a: {person: [person]}}\ntrain: {epochs: no}\n")
    assert main(["check", str(tmp_path / "params.yaml")]) == 1
    assert "train.epochs: False is not allowed" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"segscope {__version__}\n"
