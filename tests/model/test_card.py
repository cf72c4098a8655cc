import pytest

from segscope.errors import SegscopeError
from segscope.model.card import read_card, read_facts, write_card
from segscope.params import Train

METRICS = {"epochs": 5, "epoch": 3, "train": {"objective": 0.51234}, "val": {"objective": 0.61234, "loss": 0.3}}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.md"
    classes, options = {"person": ["person"], "vehicle": ["car", "bus"]}, Train(epochs=5, seeds=[7])
    data = {"source": "sample", "train": 5, "val": 4}
    write_card(file, classes, 64, {"trained": 2, "frozen": 1}, options.model_dump(), data, METRICS)
    return file


def test_a_program_reads_the_facts(path):
    assert read_card(path) == (["background", "person", "vehicle"], 64)
    facts = read_facts(path)
    assert facts["parameters"] == {"trained": 2, "frozen": 1}
    assert facts["data"] == {"source": "sample", "train": 5, "val": 4}
    assert facts["training"] == Train(epochs=5, seeds=[7]).model_dump()
    assert facts["metrics"] == {"train": {"objective": 0.5123}, "val": {"objective": 0.6123, "loss": 0.3}}
    # Who made it, git knows: a card that named a revision would differ between equal runs.
    assert "revision" not in path.read_text()


def test_a_reader_learns_which_epoch_was_kept_and_how_it_was_chosen(path):
    text = path.read_text()
    assert "Epoch 3 was kept" in text
    assert "The val split had no say in the training, nor in which epoch was kept" in " ".join(text.split())
    assert "| vehicle | car, bus |" in text
    assert "| objective | 0.512 | 0.612 |" in text


# Nine lists, each of nine of the one before: 387,420,489 values.
LISTS = [f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 9)}]" for c in "bcdefghi"]
BOMB = "\n".join(["---", "a: &a [x,x,x,x,x,x,x,x,x]", *LISTS, "---", ""])


@pytest.mark.parametrize("text", [None, "no front matter", "---\n[1]\n---\n", "---\n{a\n---\n", BOMB])
def test_a_card_that_cannot_be_read_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "model.md").write_text(text)
    with pytest.raises(SegscopeError, match=r"(?s)model card .* cannot be read .* run `dvc repro train`"):
        read_facts(tmp_path / "model.md")


def test_a_card_without_classes_is_an_error(tmp_path):
    (tmp_path / "model.md").write_text("---\nimage_size: 64\n---\n")
    with pytest.raises(SegscopeError, match=r"does not say 'classes'"):
        read_card(tmp_path / "model.md")
