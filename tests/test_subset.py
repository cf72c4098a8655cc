import json

import pandas as pd
import pytest
from conftest import CATEGORIES, coco_document

from segscope.coco import CocoSplit, parse_coco
from segscope.errors import SegscopeError
from segscope.subset import choose, common_categories, in_earlier_split, leave_out, separate_ids


def split_of(ids: list[int], categories: list[dict] = CATEGORIES) -> CocoSplit:
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 4, "height": 3} for i in ids]
    annotations = [{"id": i, "image_id": i, "category_id": 1, "segmentation": []} for i in ids]
    annotations.append({"id": 99, "image_id": ids[0], "category_id": 77, "segmentation": []})
    document = coco_document(images, annotations) | {"categories": categories}
    return parse_coco(json.dumps(document).encode(), "test.json")


def test_ids_that_differ_stay():
    splits = {"train": split_of([1, 2]), "val": split_of([3])}
    assert separate_ids(splits) == splits


def test_shared_ids_are_told_apart_and_their_source_kept():
    splits = separate_ids({"train": split_of([0, 12]), "val": split_of([0, 7])})
    assert splits["train"].images["image_id"].tolist() == [0, 12]
    assert splits["val"].images["image_id"].tolist() == [1000, 1007]
    assert splits["val"].images["source_id"].tolist() == [0, 7]
    assert splits["val"].annotations["image_id"].tolist() == [1000, 1007]
    assert splits["val"].annotations["annotation_id"].tolist() == [0, 7]
    assert splits["val"].skipped["image_id"].tolist() == [1000]


def test_shared_ids_that_are_too_large_are_an_error():
    with pytest.raises(SegscopeError, match="too large to be told apart"):
        separate_ids({"train": split_of([2**60]), "val": split_of([2**60])})


def test_splits_of_different_categories_are_an_error():
    with pytest.raises(SegscopeError, match="train and val list different categories: 18 dog"):
        common_categories({"train": split_of([1]), "val": split_of([2], CATEGORIES[:-1])})


def test_the_choice_is_of_each_split_and_does_not_depend_on_the_other():
    splits = {"train": split_of(list(range(50))), "val": split_of(list(range(100, 150)))}
    both = choose(splits, ["person"], "all", {"train": 10, "val": 5}, 0)
    assert both["split"].value_counts().to_dict() == {"train": 10, "val": 5}
    shared = separate_ids({"train": split_of(list(range(50))), "val": split_of(list(range(50)))})
    again = choose(shared, ["person"], "all", {"train": 10, "val": 10}, 0)
    chosen = again.groupby("split")["source_id"].apply(list)
    assert chosen["train"] == chosen["val"] == both.loc[both["split"] == "train", "image_id"].tolist()


def test_a_split_without_a_fitting_image_is_an_error():
    with pytest.raises(SegscopeError, match=r"no image of split train fits data\.contains \['dog'\], data\.match any"):
        choose({"train": split_of([1])}, ["dog"], "any", {"train": 1}, 0)


def test_a_file_of_two_splits_stays_in_the_first():
    images = pd.DataFrame(
        {
            "image_id": [1, 2, 3, 4],
            "file_name": list("abab"),
            "path": list("abac"),
            "split": ["train"] * 2 + ["val"] * 2,
        }
    )
    kept, skipped = leave_out(images, in_earlier_split(images), "in_earlier_split", "shared")
    assert kept["image_id"].tolist() == [1, 2, 4]
    assert skipped[["split", "image_id", "file_name", "reason", "detail"]].values.tolist() == [
        ["val", 3, "a", "in_earlier_split", "shared"]
    ]


def test_nothing_left_out_is_an_empty_table():
    images = pd.DataFrame({"image_id": [1], "file_name": ["a"], "path": ["a"], "split": ["train"]})
    kept, skipped = leave_out(images, images["path"] == "b", "missing_file", images["path"])
    assert len(kept) == 1
    assert skipped.empty
