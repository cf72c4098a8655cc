import json
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml as parse_as_dvc
from hypothesis import given, settings
from hypothesis import strategies as st

from segscope.errors import SegscopeError
from segscope.params import REFERENCE_RECIPE, Params
from segscope.params_file import load_params, parse_params, render_params

FILE = Path(__file__).parent.parent / "params.yaml"
ENDLESS = "l0: &l0 [x, x, x]\n" + "".join(f"l{i}: &l{i} [*l{i - 1}, *l{i - 1}, *l{i - 1}]\n" for i in range(1, 40))
MERGES = "m0: &m0 {a: b}\n" + "".join(f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}\n" for i in range(1, 40))


@pytest.fixture
def document() -> dict:
    return Params().model_dump()


def parse(document: object) -> Params:
    return parse_params(json.dumps(document), "params.yaml")  # JSON is YAML 1.2


def test_the_projects_file_is_the_defaults_with_their_comments():
    assert FILE.read_text(encoding="utf-8") == render_params(Params()), "write it by `segscope check --defaults`"


def test_the_projects_file_is_read_by_dvc_as_here():
    assert (
        parse_as_dvc(FILE.read_text(encoding="utf-8"), FILE) == load_params(FILE).model_dump() == Params().model_dump()
    )


def test_every_key_of_the_file_has_a_comment():
    groups = [getattr(Params(), name) for name in Params.model_fields if name not in ("variant", "variants")]
    assert [key for group in groups for key, field in type(group).model_fields.items() if not field.description] == []


def test_lines_of_the_file_are_short_and_comments_are_aligned():
    lines = render_params(Params()).splitlines()
    assert max(map(len, lines)) <= 120
    assert "  epochs: 15                # at most" in lines
    recipe = next(i for i, line in enumerate(lines) if line.startswith("  recipe: "))
    assert lines[recipe + 1].startswith(" " * 28 + "# ")


def test_what_is_rendered_is_read_back(document):
    document["variant"] = "no"
    document["variants"] = {
        "no": {"traffic light": ["traffic light", "1e-4"], "Fußgänger": ["a, b: {c}"], "null": ["~"]}
    }
    document["report"]["title"] = "# 'quoted' \"title\": yes"
    document["train"]["learning_rate"] = 1e-7
    document["data"]["contains"] = [f"category {i}" for i in range(100)]
    document["data"]["archive_sha256"] = "0" * 64
    params = parse(document)
    text = render_params(params)
    assert parse_params(text, "again") == params
    assert parse_as_dvc(text, "again") == document


def test_what_is_left_out_is_the_default():
    assert parse_params("train: {epochs: 3}", "params.yaml") == Params.model_validate({"train": {"epochs": 3}})


def test_the_chosen_variants_classes(document):
    document["variant"] = "supercategory"
    assert parse(document).classes == {"person": ["person"], "vehicle": ["vehicle"]}


@pytest.mark.parametrize(
    ("written", "rate"),
    [("1e-4", 1e-4), ("1E-4", 1e-4), ("0.5e-3", 5e-4), ("1.e-3", 1e-3), ("1", 1.0), ("+1e-2", 0.01)],
)
def test_numbers_are_read_as_dvc_reads_them(written, rate):
    text = f"train: {{learning_rate: {written}}}"
    assert (
        parse_params(text, "params.yaml").train.learning_rate
        == rate
        == parse_as_dvc(text, "p")["train"]["learning_rate"]
    )


@pytest.mark.parametrize("written", ["no", "on", "yes", "off", "y", "12:30", "'1e-4'"])
def test_words_are_read_as_dvc_reads_them(written):
    text = f"report: {{title: {written}}}"
    title = parse_params(text, "params.yaml").report.title
    assert title == written.strip("'") == parse_as_dvc(text, "p")["report"]["title"]


@pytest.mark.parametrize(
    ("group", "key", "value", "message"),
    [
        ("train", "epoch", 3, r"train\.epoch: unknown key; choices: recipe, epochs"),
        ("data", "source", "web", r"data\.source: 'web' is not allowed; choices: 'sample', 'directory'"),
        ("train", "epochs", 0, r"train\.epochs: 0 is not allowed; .* greater than or equal to 1"),
        ("train", "epochs", "ten", r"train\.epochs: 'ten' is not allowed"),
        ("train", "epochs", 3.0, r"train\.epochs: 3\.0 is not allowed; .* integer"),
        ("train", "epochs", True, r"train\.epochs: true is not allowed; .* integer"),
        ("train", "seeds", [2**31], r"train\.seeds\.0: 2147483648 is not allowed; .* less than 2147483648"),
        ("data", "image_size", 100, r"data\.image_size: 100 is not allowed; .* multiple of 32"),
        (
            "data",
            "annotations",
            "instances.json",
            r"data\.annotations: 'instances.json' .* a path that holds \{split\}",
        ),
        ("data", "annotations", "/{split}.json", r"data\.annotations: '/\{split\}.json' .* a path below data\.root"),
        ("data", "splits", {"train": "a", "val": "a"}, r"data\.splits: .* is not allowed; train and val must differ"),
        ("data", "splits", {"test": "a"}, r"data\.splits\.test: unknown key; choices: train, val"),
        ("data", "max_images", {"train": 3}, r"data\.max_images\.val: required key is missing"),
        ("data", "images_url", "ftp://x", r"data\.images_url: .ftp://x. is not allowed; it must be an http"),
        ("data", "archive_sha256", "A" * 64, r"data\.archive_sha256: .* 64 hexadecimal digits, in lower case"),
        ("data", "images", "/abroad", r"data\.images: ./abroad. is not allowed; it must be a path below data\.root"),
        ("data", "root", "a\0b", r"data\.root: .* text of one line"),
        ("cluster", "min_cluster_size", 1, r"cluster\.min_cluster_size: 1 is not allowed"),
        ("cluster", "min_samples", "auto", r"cluster\.min_samples: 'auto' is not allowed"),
        ("embed", "splits", ["test"], r"embed\.splits\.0: 'test' is not allowed; choices: 'train' or 'val'"),
        ("embed", "layers", ["a", "b", "a"], r"embed\.layers: .* is not allowed; named more than once: a$"),
        ("compute", "engine", "ray", r"compute\.engine: 'ray' is not allowed; choices: 'local' or 'dask'"),
        ("compute", "engine", "dask", r"compute\.address: null is not allowed; .* such as tcp://scheduler:8786"),
        ("report", "title", None, r"report\.title: null is not allowed"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_choices(document, group, key, value, message):
    document[group][key] = value
    with pytest.raises(SegscopeError, match=message):
        parse(document)


@pytest.mark.parametrize(
    "removed",
    [
        *("predict.bootstrap", "predict.seed", "insights.permutations", "insights.bootstrap", "insights.seed"),
        *("cluster.seed", "report.gallery"),
    ],
)
def test_what_nobody_turned_is_gone(removed):
    group, key = removed.split(".")
    with pytest.raises(SegscopeError, match=rf"{group}\.{key}: unknown key"):
        parse({group: {key: 100}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:", r"train: null is not allowed; it must be a mapping; its keys: recipe, epochs"),
        ("train: {learning_rate: .nan}", r"train\.learning_rate: nan is not allowed; .* finite"),
        (f"train: {{epochs: 0x{'f' * 4000}}}", r"train\.epochs: a number of thousands of digits is not allowed"),
        ("train: [1]", r"train: \[1\] is not allowed; it must be a mapping"),
        ("data: {splits: train}", r"data\.splits: 'train' is not allowed; it must be a mapping; its keys: train, val"),
        ("variants: [person]", r"variants: \['person'\] is not allowed; .* dictionary"),
        ("variants: {category: }", r"variants\.category: null is not allowed"),
        ("variants: {category: {person: person}}", r"variants\.category\.person: 'person' is not allowed; .* list"),
        ("variants: {category: {person: []}}", r"variants\.category\.person: \[\] is not allowed; .* at least 1"),
        ("variants: {category: {}}", r"variants\.category: \{\} is not allowed; .* at least 1"),
        ("variants: {category: {1: [person]}}", r"variants\.category: the name 1 is not allowed; .* string"),
        ("1: 2", r"1: 1 is not allowed; Keys should be strings"),
        ('"\\ud800": 2', r"the file: '\\ud800' is not allowed"),
    ],
)
def test_a_value_of_the_wrong_shape_is_named(text, message):
    with pytest.raises(SegscopeError, match=message):
        parse_params(text, "params.yaml")


def test_every_wrong_key_is_reported_at_once():
    text = """
        variant: animals
        train: {recipe: reference, epochs: -1, learning_rate: 0.5}
        data: {annotations: a.json, splits: {train: a, val: a}}
        embed: {layers: [a, a]}
        nonsense: {}
    """
    with pytest.raises(SegscopeError) as raised:
        parse_params(text, "params.yaml")
    keys = [line.split(":")[0].strip() for line in str(raised.value).splitlines()[1:]]
    assert sorted(keys) == sorted(
        [
            "variant",
            "train.epochs",
            "train.learning_rate",
            "data.annotations",
            "data.splits",
            "embed.layers",
            "nonsense",
        ]
    )


@pytest.mark.parametrize(
    "path", ["/labels/a_{split}.json", "../a_{split}.json", "a/../../b_{split}.json", "{split}/.."]
)
def test_labels_and_pictures_lie_below_the_root(document, path):
    document["data"]["annotations"] = path
    with pytest.raises(SegscopeError, match=r"data\.annotations: .*a path below data\.root"):
        parse(document)


def test_a_variant_must_be_declared(document):
    document["variant"] = "animals"
    message = r"variant: 'animals' is not declared; choices: category, supercategory; .* by -S '\+variants\.NAME="
    with pytest.raises(SegscopeError, match=message):
        parse(document)


@pytest.mark.parametrize("name", ["traffic light", "Fußgänger", "well-known", "人", "low", "car_lower", "a" * 64, "2"])
def test_names_of_any_language_are_accepted(document, name):
    document["variant"], document["variants"] = name, {name: {name: ["person"]}}
    assert parse(document).classes == {name: ["person"]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("car_low", "end in _low or _high"),
        ("car_High", "end in _low or _high"),
        ("", "1 to 64 characters"),
        (" car", "no space at its ends"),
        ("car\u00a0", "no space at its ends"),
        ("a" * 65, "1 to 64 characters"),
        ("a\nb", r"cannot hold '\\n'"),
        ("a\x7fb", r"cannot hold '\\x7f'"),
        ("a\u2028b", r"cannot hold '\\u2028'"),
        ("background", "stands for the pixels of no class"),
        ("Unlabelled", "stands for the pixels of no class"),
        *((f"a{odd}b", "a name cannot hold") for odd in "./\\:|\"'*?[]{}$<>,"),
    ],
)
def test_names_that_would_break_metrics_or_files_are_refused(document, name, message):
    document["variants"]["category"] = {name: ["person"]}
    with pytest.raises(SegscopeError, match=rf"variants\.category: the name .* is not allowed; .*{message}"):
        parse(document)
    with pytest.raises(SegscopeError, match=rf"variants: the name .* is not allowed; .*{message}"):
        parse({"variants": {"category": {"person": ["person"]}, name: {"person": ["person"]}}})


@pytest.mark.parametrize(("one", "other"), [("car", "Car"), ("Straße", "STRASSE"), ("é", "e\u0301")])
def test_names_that_differ_in_case_only_are_refused(one, other):
    with pytest.raises(SegscopeError, match=f"{one!r} and {other!r} differ in case only"):
        parse({"variants": {"category": {one: ["person"], other: ["car"]}}})
    with pytest.raises(SegscopeError, match=f"{one!r} and {other!r} differ in case only"):
        parse({"variants": {"category": {"person": ["person"]}, one: {"a": ["b"]}, other: {"a": ["b"]}}})


def test_a_class_names_each_category_once(document):
    document["variants"]["category"]["car"] = ["car", "bus", "car"]
    with pytest.raises(SegscopeError, match=r"variants\.category\.car: .* is not allowed; named more than once: car$"):
        parse(document)


OTHER = {
    "learning_rate": 0.01,
    "schedule": None,
    "enlarge": None,
    "decoder": None,
    "objective": None,
    "class_weights": "balanced",
    "augment": "flip",
}


@pytest.mark.parametrize("key", REFERENCE_RECIPE)
def test_the_reference_recipe_and_a_key_of_it_must_agree(key):
    kept = parse({"train": {"recipe": "reference", key: REFERENCE_RECIPE[key]}})
    default = parse({"train": {"recipe": "reference", key: Params().train.model_dump()[key]}})
    assert kept.train.applied() == default.train.applied()
    if (other := OTHER[key]) is not None:  # the two are all choices of the others
        assert parse({"train": {"recipe": "tuned", key: other}}).train.model_dump()[key] == other
        expected = (
            rf"train\.{key}: '?{other}'? is not allowed; .* sets it to {REFERENCE_RECIPE[key]}; choose recipe tuned"
        )
        with pytest.raises(SegscopeError, match=expected):
            parse({"train": {"recipe": "reference", key: other}})


def test_the_reference_recipe_is_applied_where_it_is_chosen():
    chosen = parse({"train": {"recipe": "reference", "epochs": 3}}).train
    assert chosen.applied().model_dump() == chosen.model_dump() | REFERENCE_RECIPE
    assert Params().train.applied() == Params().train


def test_duplicate_keys_are_an_error_that_says_so():
    with pytest.raises(
        SegscopeError, match=r'params\.yaml is not valid YAML: line 3, column 3: .* duplicate key "epochs"'
    ):
        parse_params("train:\n  epochs: 3\n  epochs: 4\n", "params.yaml")


def test_aliases_are_followed():
    text = "variants: {category: {person: &p [person], walker: [walker]}, other: {person: *p}}"
    assert parse_params(text, "params.yaml").variants["other"] == {"person": ["person"]}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a: [",
            "- 1\n- 2",
            "a: *b",
            "a: b: c",
            "a: \0",
            "--- {}\n--- {}",
            "%YAML 2.0\n--- {}",
            b"\xff\xfe",
            b"a: \xff",
        ),
        *("a: &a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}", ENDLESS, MERGES, "<<: 3"),
        *("[" * 2000, "{" * 2000, "- " * 2000, "a: " + "[" * 900 + "]" * 900, "a" * 300_000, "1: 1\n" * 60_000),
        *(
            "a: !!python/object:os.system ls",
            "a: !!int x",
            "a: !!bool x",
            "a: !!float x",
            "a: !!timestamp x",
            "a: !mine x",
        ),
        *(
            "a: !!binary é",
            "a: 2020-13-45",
            f"a: {'9' * 5000}",
            "? {a: b}\n: c",
            "? [1, {a: b}]\n: 2",
            "? !!set {a}\n: b",
        ),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_no_params_file_is_an_error(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SegscopeError, match=r"params\.yaml (is|must hold|cannot be read: it is larger)") as raised:
        load_params(path)
    assert len(str(raised.value)) < 1000


YAML_PIECES = st.sampled_from(
    [*"\n []{},:&*!?-|>'\"%#~0e", "  ", ": ", "- ", "<<", "&a ", "*a", "!!int ", "train", "variants"]
)


@settings(max_examples=200)
@given(st.lists(YAML_PIECES | st.text(max_size=2), max_size=12).map("".join) | st.binary(max_size=20))
@pytest.mark.filterwarnings("ignore::Warning")
def test_any_text_is_params_or_an_error_for_the_user(text):
    try:
        params = parse_params(text, "params.yaml")
    except SegscopeError:
        return
    assert parse_params(render_params(params), "again") == params


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match="cannot be read"):
        load_params(tmp_path / "params.yaml")


def test_a_file_of_another_revision_is_read_for_what_still_exists(document):
    document["train"]["warmup"] = 3
    document["data"]["splits"]["test"] = "test2017"
    document["removed"] = {"seed": 1}
    text = json.dumps(document)
    assert parse_params(text.encode(), "params.yaml of v1", known_only=True) == Params()
    with pytest.raises(SegscopeError, match=r"params\.yaml of v1 is not valid(?s:.*)removed: unknown key"):
        parse_params(text, "params.yaml of v1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:", r"train: null is not allowed"),
        ("train: {epochs: 0, warmup: 3}", r"train\.epochs: 0 is not allowed"),
    ],
)
def test_what_still_exists_of_another_revision_is_validated(text, message):
    with pytest.raises(SegscopeError, match=message):
        parse_params(text, "params.yaml of v1", known_only=True)
