import re
from pathlib import Path

import pytest
import yaml

from segscope.errors import SegscopeError
from segscope.params import Params, load_params

ROOT = Path(__file__).parent.parent
STAGES = ["download", "masks", "train", "predict", "embed", "cluster", "report"]


@pytest.fixture
def document() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def load(document: object, folder: Path) -> Params:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_params(path)


def test_the_projects_params_are_valid():
    params = load_params(ROOT / "params.yaml")
    assert params.variants[params.variant] == {"person": ["person"], "car": ["car"]}


def test_the_projects_params_name_every_key(document: dict):
    params = Params.model_validate(document).model_dump()
    assert {group: sorted(keys) for group, keys in params.items() if isinstance(keys, dict)} == {
        group: sorted(keys) for group, keys in document.items() if isinstance(keys, dict)
    }


@pytest.mark.parametrize(
    ("group", "key", "value", "message"),
    [
        ("train", "epoch", 3, r"train\.epoch: unknown key; choices: recipe, epochs"),
        ("data", "source", "web", r"data\.source: 'web' is not allowed; choices: 'sample', 'directory'"),
        ("train", "epochs", 0, r"train\.epochs: 0 is not allowed; .* greater than or equal to 1"),
        ("train", "epochs", "ten", r"train\.epochs: 'ten' is not allowed"),
        ("data", "image_size", 100, r"data\.image_size: 100 is not allowed; .* multiple of 32"),
        ("data", "annotations", "instances.json", r"data\.annotations must hold .\{split\}"),
        ("data", "splits", {"train": "a", "val": "a"}, r"data\.splits\.train and \.val must differ"),
        ("data", "images_url", "ftp://x", r"data\.images_url: .ftp://x. is not allowed"),
        ("cluster", "min_cluster_size", 1, r"cluster\.min_cluster_size: 1 is not allowed"),
        ("cluster", "min_samples", "auto", r"cluster\.min_samples: 'auto' is not allowed"),
        ("embed", "splits", ["test"], r"embed\.splits\.0: 'test' is not allowed; choices: 'train' or 'val'"),
        ("embed", "layers", ["a", "a"], r"embed\.layers names one twice: a, a"),
        ("data", "images", "/abroad", r"data\.images: ./abroad. is not allowed"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_choices(document, tmp_path, group, key, value, message):
    document[group][key] = value
    with pytest.raises(SegscopeError, match=message):
        load(document, tmp_path)


def test_every_wrong_key_is_reported_at_once(document, tmp_path):
    document["train"]["epochs"] = -1
    document["nonsense"] = {}
    with pytest.raises(SegscopeError, match=r"(?s)epochs.*nonsense: unknown key; choices: variant, variants"):
        load(document, tmp_path)


def test_a_variant_must_be_declared(document, tmp_path):
    document["variant"] = "animals"
    with pytest.raises(SegscopeError, match="'animals' is not declared; choices: category, supercategory"):
        load(document, tmp_path)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", ""])
def test_a_file_that_is_not_a_mapping_is_an_error(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(SegscopeError, match=r"params\.yaml"):
        load_params(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match="cannot be read"):
        load_params(tmp_path / "params.yaml")


def _params_read(script: Path) -> set[str]:
    """Dotted names of what a stage script reads from `params`; a group handed on whole is just its name."""
    chains = re.findall(r"\bparams((?:\.[a-z_]+)+)", script.read_text())
    return {chain.removeprefix(".").removesuffix(".model_dump") for chain in chains}


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_declares_the_params_that_a_stage_reads(stage, document):
    declared = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["params"])
    read = _params_read(ROOT / "stages" / f"{stage}.py")

    def covers(a: str, b: str) -> bool:
        return a == b or b.startswith(a + ".")

    undeclared = {name for name in read if not any(covers(d, name) for d in declared)}
    if "data" in undeclared:  # handed whole to the source, which reads all of it but the masks stage's keys
        undeclared.remove("data")
        assert {f"data.{key}" for key in document["data"]} - {"data.image_size", "data.exclude"} <= declared
    assert undeclared == set()
    assert {d for d in declared if not any(covers(d, name) or covers(name, d) for name in read)} == set()


def test_the_pipeline_has_exactly_the_seven_stages_with_one_metrics_file_each():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == STAGES
    for name, declared in stages.items():
        assert [list(metric) for metric in declared["metrics"]] == [[f"metrics/{name}.json"]]
