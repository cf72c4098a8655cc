import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import CATEGORIES, coco_document
from hypothesis import given, settings
from hypothesis import strategies as st

from segscope.artefacts.measures import Measures
from segscope.artefacts.schemas import ANNOTATIONS, SKIPPED
from segscope.artefacts.skipped import require_splits, skip, skipped_table
from segscope.artefacts.tables import write_parquet
from segscope.errors import SegscopeError
from segscope.params import Data, SplitSizes
from segscope.sources.coco import CocoSplit, parse_coco
from segscope.sources.subset import (
    all_skipped,
    annotations_of,
    choose,
    common_categories,
    leave_out,
    of_images,
    select_images,
    separate_ids,
    source_measures,
    subset,
)


def split_of(shown: dict[int, list[int]], categories: list[dict] = CATEGORIES) -> CocoSplit:
    """Images by their ids, each with an annotation of each given category; annotations are numbered from 1."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 4, "height": 3} for i in shown]
    rows = [(i, c) for i, of in shown.items() for c in of]
    annotations = [
        {"id": n, "image_id": i, "category_id": c, "segmentation": []} for n, (i, c) in enumerate(rows, start=1)
    ]
    document = coco_document(images, annotations) | {"categories": categories}
    return parse_coco(json.dumps(document).encode(), "test.json")


def people(ids: range) -> CocoSplit:
    return split_of({i: [1] for i in ids})


def test_ids_that_differ_stay():
    splits = {"train": people(range(1, 3)), "val": people(range(3, 4))}
    assert separate_ids(splits) == splits


def test_shared_ids_are_told_apart_and_their_source_kept():
    splits = separate_ids({"train": split_of({0: [1], 12: [1]}), "val": split_of({0: [1, 77], 7: [1]})})
    assert splits["train"].images["image_id"].tolist() == [0, 12]
    assert splits["val"].images["image_id"].tolist() == [1000, 1007]
    assert splits["val"].images["source_id"].tolist() == ["0", "7"]
    assert splits["val"].annotations["image_id"].tolist() == [1000, 1007]
    assert splits["val"].annotations["annotation_id"].tolist() == [1, 3]
    assert splits["val"].skipped["image_id"].tolist() == [1000]


@settings(max_examples=25)
@given(st.sets(st.integers(-(2**80), 2**80), min_size=1, max_size=8))
def test_ids_of_any_size_are_told_apart_and_numbers_that_javascript_holds(own):
    splits = separate_ids({name: split_of({i: [1] for i in own}) for name in ("train", "val")})
    ids = pd.concat([split.images["image_id"] for split in splits.values()])
    assert ids.is_unique
    assert ids.abs().max() < 2**53
    for split in splits.values():
        assert set(split.images["source_id"]) == set(map(str, own))
        assert set(split.annotations["image_id"]) == set(split.images["image_id"])


def test_splits_that_list_other_categories_are_matched_by_name():
    cat, dog = {"id": 18, "name": "cat"}, {"id": 1, "name": "dog", "supercategory": "pet"}
    splits = {"train": split_of({1: [1, 18]}), "val": split_of({2: [1, 18]}, [cat, dog])}
    common, categories, notes = common_categories(splits)
    assert categories["name"].tolist() == [
        "person",
        "cat",
        "car",
        "bus",
        "dog",
    ]  # cat's 18 is train's dog: the next free
    assert categories["category_id"].tolist() == [1, 2, 3, 6, 18]
    assert categories.set_index("name").loc["dog", "supercategory"] == "animal"
    assert common["train"].annotations["category_id"].tolist() == [1, 18]
    assert common["val"].annotations["category_id"].tolist() == [18, 2]
    assert [note.partition(": ")[2] for note in notes] == [
        "only val lists: cat",
        "only train lists: person, car, bus",
        "val numbers otherwise, matched by name: dog",
        "taken from train is the super-category of: dog",
    ]


def test_more_categories_than_a_mask_holds_are_an_error():
    many = [[{"id": i, "name": f"{split} {i}"} for i in range(1, 151)] for split in "ab"]
    splits = {name: split_of({1: [1]}, each) for name, each in zip(("train", "val"), many, strict=True)}
    with pytest.raises(SegscopeError, match="the splits have 300 categories; masks of 8 bits hold at most 254"):
        common_categories(splits)


@pytest.mark.parametrize(("match", "expected"), [("all", [3]), ("any", [1, 2, 3]), ("none", [1, 2, 3, 4, 5])])
def test_the_subset_is_chosen_by_categories(match, expected):
    split = split_of({5: [], 1: [1], 2: [3, 3], 3: [1, 3], 4: [18]})
    assert select_images(split, [{1}, {3}], match, 10, 0)["image_id"].tolist() == expected


def test_a_limited_subset_depends_on_ids_and_seed_only():
    shown = {i: [1] for i in range(1, 101)}
    forward = select_images(split_of(shown), [{1}], "any", 20, 7)
    backward = select_images(split_of(dict(reversed(shown.items()))), [{1}], "any", 20, 7)
    other = select_images(split_of(shown), [{1}], "any", 20, 8)
    assert forward.equals(backward)
    assert len(set(forward["image_id"])) == 20
    assert forward["image_id"].is_monotonic_increasing
    assert set(other["image_id"]) != set(forward["image_id"])


@settings(max_examples=25)
@given(st.sets(st.integers(1, 60), min_size=2), st.integers(1, 40), st.integers(0, 3))
def test_a_larger_subset_holds_the_smaller_and_one_image_changes_one(ids, most, seed):
    whole, without = (split_of({i: [1] for i in of}) for of in (ids, ids - {min(ids)}))

    def chosen(of: CocoSplit, n: int) -> set[int]:
        return set(select_images(of, [{1}], "any", n, seed)["image_id"])

    assert chosen(whole, most) <= chosen(whole, most + 1)
    assert len(chosen(whole, most) - chosen(without, most)) <= 1


def test_the_choice_is_of_each_split_and_does_not_depend_on_the_other():
    splits = {"train": people(range(50)), "val": people(range(100, 150))}
    both = choose(splits, ["person"], "all", {"train": 10, "val": 5}, 0)
    assert both["split"].value_counts().to_dict() == {"train": 10, "val": 5}
    shared = separate_ids({"train": people(range(50)), "val": people(range(50))})
    again = choose(shared, ["person"], "all", {"train": 10, "val": 10}, 0)
    chosen = again.groupby("split")["source_id"].apply(list)
    assert chosen["train"] == chosen["val"] == both.loc[both["split"] == "train", "source_id"].tolist()


def test_a_split_without_a_fitting_image_is_an_error():
    for images, message in (
        (people(range(1, 2)), r"no image of split train fits data\.contains \['dog'\], data\.match any; .* of person$"),
        (split_of({}), "split train has no image"),
        (
            split_of({1: [], 2: [77]}),
            "none of the 2 images of split train has an annotation; left out are 1 unknown_cat",
        ),
    ):
        with pytest.raises(SegscopeError, match=message):
            choose({"train": images}, ["dog"], "any", {"train": 1}, 0)


def test_nothing_left_out_is_an_empty_table():
    images = pd.DataFrame({"image_id": [1], "file_name": ["a"], "path": ["a"], "split": ["train"]})
    kept, skipped = leave_out(images, images["path"] == "b", "missing_file", images["path"])
    assert len(kept) == 1
    assert skipped.empty


SPLITS = {
    "train": split_of({1: [1], 2: [1, 77, 3], 3: [18]}),
    "val": split_of({2: [1], 4: [3], 5: [18]}),
}
PEOPLE_OR_CARS = Data(contains=["person", "vehicle"], match="any")


def test_a_subset_has_paths_and_every_reason_why_an_image_is_left_out():
    splits = separate_ids(SPLITS)
    images, skipped = subset(splits, lambda split, name: Path(split) / name, PEOPLE_OR_CARS)
    assert images[["split", "source_id", "path"]].values.tolist() == [
        ["train", "1", "train/1.jpg"],
        ["train", "2", "train/2.jpg"],
        ["val", "2", "val/2.jpg"],
        ["val", "4", "val/4.jpg"],
    ]
    assert skipped.empty
    assert all_skipped(splits)[["split", "reason"]].values.tolist() == [["train", "unknown_category"]]


def test_a_name_that_leads_elsewhere_is_left_out():
    images, skipped = subset(
        separate_ids(SPLITS), lambda split, name: None if name == "1.jpg" else Path(split) / name, PEOPLE_OR_CARS
    )
    assert images["source_id"].tolist() == ["2", "2", "4"]
    assert skipped[["split", "image_id", "reason"]].values.tolist() == [["train", 1, "unsafe_file_name"]]


def test_a_subset_is_no_larger_than_asked_for():
    few = PEOPLE_OR_CARS.model_copy(update={"max_images": SplitSizes(train=1, val=2)})
    images, _ = subset(separate_ids(SPLITS), lambda split, name: Path(split) / name, few)
    assert images["split"].tolist() == ["train", "val", "val"]


def test_a_split_of_which_no_image_is_left_is_an_error_that_says_why():
    images = pd.DataFrame({"split": ["train"]})
    rows = [skip(reason, "so", file_name="a.jpg") for reason in ("malformed", "missing_file", "size_mismatch")]
    skipped = skipped_table(rows).assign(split=["train", "val", "val"])
    with pytest.raises(SegscopeError) as error:
        require_splits(images, skipped)
    assert str(error.value).startswith(
        "no image of split val is left: 1 missing_file, 1 size_mismatch; 1 like this, file_name a.jpg: so"
    )


@pytest.fixture
def chosen() -> tuple[dict[str, CocoSplit], pd.DataFrame, pd.DataFrame]:
    """The splits, the images chosen of them, and what is left out."""
    splits = separate_ids(SPLITS)
    images, _ = subset(splits, lambda split, name: Path("images") / name, PEOPLE_OR_CARS)
    return splits, images, all_skipped(splits)


def test_annotations_are_those_of_the_images_in_order(chosen, tmp_path):
    splits, images, _ = chosen
    table = annotations_of(images, splits)
    # The val split's ids are raised: its 4 is 104.
    assert table[["image_id", "annotation_id", "category_id"]].values.tolist() == [
        [1, 1, 1],
        [2, 2, 1],
        [2, 4, 3],
        [102, 1, 1],
        [104, 2, 3],
    ]
    assert table["segmentation"].tolist() == [b"[]"] * 5
    write_parquet(tmp_path / "annotations.parquet", table, ANNOTATIONS)


def test_what_there_was_and_what_is_left_is_counted(chosen, tmp_path):
    splits, images, skipped = chosen
    write_parquet(tmp_path / "skipped.parquet", skipped, SKIPPED)
    found = Measures(source_measures(splits, images, annotations_of(images, splits), skipped))
    counted = {
        split: [found.value(name, split) for name in ("images", "annotations", "images_in_source", "skipped")]
        for split in splits
    }
    assert counted == {"train": [2, 3, 3, 1], "val": [2, 2, 3, 0]}
    assert found.value("skipped.unknown_category", "train") == 1
    assert found.find("skipped.unknown_category", "val") is None


def test_planted_faults_are_found_by_the_ids_of_their_file():
    images = pd.DataFrame({"split": ["train", "val"], "source_id": ["7", "7"], "image_id": [7, 1007]})
    truth = pd.DataFrame(
        {"split": ["val", "val", "train"], "image_id": [7, 8, 9], "planted": ["missing", "crowd", "crowd"]}
    )
    own = of_images(truth, images)
    assert own[["split", "image_id", "planted"]].values.tolist() == [["val", 1007, "missing"]]
    assert own.columns.tolist() == truth.columns.tolist()
