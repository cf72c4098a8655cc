import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from segscope.artefacts.schemas import ANNOTATIONS
from segscope.errors import SegscopeError
from segscope.labels.corrections import Corrections, correct

INDEX = pd.DataFrame({"image_id": [1, 2, 3], "split": ["train", "val", "val"], "width": 20, "height": 20})


def square(left: int, side: int = 4) -> bytes:
    right = left + side
    return json.dumps([[left, 0, right, 0, right, side, left, side]]).encode()


def rows(*values: tuple) -> pd.DataFrame:
    table = pd.DataFrame(values, columns=["image_id", "annotation_id", "category_id", "iscrowd", "segmentation"])
    return table.astype({"image_id": "int64", "annotation_id": "int64", "category_id": "int64", "iscrowd": bool})


def edits(*values: tuple) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["image_id", "annotation_id", "category_id"]).astype("Int64")


BEFORE = pa.Table.from_pandas(
    rows((1, 5, 1, False, square(0)), (2, 5, 1, False, square(0)), (2, 6, 3, True, square(8)), (3, 1, 3, False, b"[]")),
    ANNOTATIONS,
    preserve_index=False,
)


def test_nothing_to_correct_is_the_same_table():
    after, changed, said = correct(Corrections([], rows(), edits()), BEFORE, INDEX)
    assert (after is BEFORE, len(changed), said) == (True, 0, None)


def test_single_edits_leave_the_others():
    given = edits((2, 5, 3), (2, 6, None), (2, 77, 1))
    after, changed, said = correct(Corrections([], rows(), given), BEFORE, INDEX)
    assert after.schema == ANNOTATIONS
    assert after.select(["image_id", "annotation_id", "category_id"]).to_pandas().values.tolist() == [
        [1, 5, 1],
        [2, 5, 3],
        [3, 1, 3],
    ]
    assert changed.fillna(0).values.tolist() == [
        [2, "val", 5, "category", 3, 1, 1.0],
        [2, "val", 6, "removed", 0, 3, 0.0],
    ]
    assert said == "corrected labels: of 1 images 1 of another category, 1 removed, 1 of no annotation that there is"


def test_a_whole_image_is_replaced_and_its_objects_are_known_again():
    # The first as it was under another id, the second moved by half, one more, of which none was before.
    new = rows((2, 10, 1, False, square(0)), (2, 6, 3, True, square(10)), (2, 12, 1, False, square(15)))
    after, changed, said = correct(Corrections([2, 3], new, edits()), BEFORE, INDEX)
    assert after["annotation_id"].to_pylist() == [5, 6, 10, 12]
    assert after["segmentation"][1].as_py() == square(10)
    found = changed.set_index("annotation_id")
    assert found["change"].to_dict() == {6: "outline", 12: "added"}
    assert found["iou"][6] == pytest.approx(1 / 3)
    assert said == "corrected labels: of 2 images 1 of another outline, 1 added"


def test_a_new_outline_that_cannot_be_used_is_an_error():
    with pytest.raises(SegscopeError, match=r"data\.corrections: annotation 9 of image 1 cannot be used: it is empty"):
        correct(Corrections([1], rows((1, 9, 1, False, b"[]")), edits()), BEFORE, INDEX)


def test_an_edit_does_not_fail_because_of_another_annotation_of_its_image():
    new = rows((3, 7, 1, False, square(0)))
    before = pa.concat_tables([BEFORE, pa.Table.from_pandas(new, ANNOTATIONS, preserve_index=False)])
    after, changed, said = correct(Corrections([], rows(), edits((3, 7, None))), before, INDEX)
    assert after["annotation_id"].to_pylist() == [5, 5, 6, 1]  # the broken one is left to who lists it
    assert changed[["image_id", "annotation_id", "change"]].values.tolist() == [[3, 7, "removed"]]
    assert said == "corrected labels: of 1 images 1 removed"
    with pytest.raises(SegscopeError, match=r"annotation 1 of image 3 cannot be used: it is empty"):
        correct(Corrections([], rows(), edits((3, 1, 1))), before, INDEX)


@pytest.mark.parametrize("first", [0, 1])  # what a file of corrections numbers from
def test_what_is_to_be_ignored_stays_and_is_no_change(first):
    void = rows((1, 0, 255, True, square(12)), (2, 0, 255, True, square(12)))
    before = pa.Table.from_pandas(pd.concat([BEFORE.to_pandas(), void]).astype({"category_id": "int32"}), ANNOTATIONS)
    new = rows((1, first, 1, False, square(0)))
    after, changed, said = correct(Corrections([1], new, edits((2, 0, None), (2, 5, 3))), before, INDEX)
    found = after.to_pandas()
    assert found[["image_id", "annotation_id", "category_id"]].values.tolist() == [
        [1, first - 1, 255],
        [1, first, 1],
        [2, 0, 255],
        [2, 5, 3],
        [2, 6, 3],
        [3, 1, 3],
    ]
    assert (found["segmentation"][0], found["iscrowd"][0]) == (square(12), True)
    assert changed[["image_id", "annotation_id", "change"]].values.tolist() == [[2, 5, "category"]]
    assert said == "corrected labels: of 2 images 1 of another category, 1 of no annotation that there is"


def test_labels_that_did_not_change_are_not_listed():
    same = rows((1, 5, 1, False, square(0)))
    after, changed, said = correct(Corrections([1], same, edits()), BEFORE, INDEX)
    assert (len(changed), said) == (0, "corrected labels: of 1 images none differs")
    assert np.array_equal(after["annotation_id"], BEFORE["annotation_id"])
