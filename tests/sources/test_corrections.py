import contextlib
import json
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segscope.artefacts.rle import decode_rle
from segscope.errors import SegscopeError
from segscope.sources.corrections import read_corrections
from segscope.sources.label_studio import decode_brush, encode_brush, file_name_of, labelling_config

SOURCE = "directory data/coco"
INDEX = pd.DataFrame(
    {
        "image_id": [1, 2, 1001],
        "split": ["train", "train", "val"],
        "path": ["data/coco/train/a.jpg", "data/coco/train/b.jpg", "data/coco/val/a.jpg"],
        "width": [20, 20, 10],
        "height": [10, 10, 10],
    }
)
CATEGORIES = pd.DataFrame({"category_id": [1, 3], "name": ["person", "car"], "supercategory": ["person", "vehicle"]})
ODD = (b"null", b"[]", b"{}", b"1e999", b"NaN", b'"\xed\xa0\x80"', b"[" * 3000, b"-1", b'"x"', b"true", b'{"a": 1}')
SMALL = encode_brush(np.ones((3, 3), bool))
SQUARE = [[2, 2, 6, 2, 6, 6, 2, 6]]


@pytest.fixture
def read(tmp_path):
    def reader(document: object, source: str = SOURCE):
        (tmp_path / "c.json").write_text(json.dumps(document))
        return read_corrections(tmp_path / "c.json", source, INDEX, CATEGORIES)

    return reader


def coco(images: list, annotations: list, source: str | None = None) -> dict:
    """As a tool writes it: its own numbers of images and categories."""
    categories = [{"id": 7, "name": "Car"}, {"id": 8, "name": "person"}, {"id": 9, "name": "proposed: car"}]
    info = {"info": {"segscope_source": source}} if source else {}
    return info | {"images": images, "annotations": annotations, "categories": categories}


def full(image_id: object, category_id: int, **other: object) -> dict:
    return {"image_id": image_id, "category_id": category_id, "segmentation": SQUARE} | other


def test_the_file_that_comes_with_the_project_corrects_nothing(read):
    images, rows, edits, notes = read({"images": [], "annotations": [], "categories": []})
    assert (images, len(rows), len(edits), notes) == ([], 0, 0, [])


def test_an_image_of_another_tools_file_gets_its_labels(read):
    listed = [{"id": "x", "file_name": "train/a.jpg", "width": 20, "height": 10}, {"id": "y", "file_name": "b.jpg"}]
    images, rows, edits, notes = read(coco(listed, [full("x", 7, id=5), full("x", 8, id=6, iscrowd=1)]))
    assert images == [1, 2]  # of the second all labels are taken away
    assert rows[["image_id", "annotation_id", "category_id", "iscrowd"]].values.tolist() == [
        [1, 5, 3, False],
        [1, 6, 1, True],
    ]
    assert (len(edits), notes) == (0, [])


def test_edits_of_single_annotations_leave_the_others(read):
    edits = [{"id": 5, "image_id": 1, "category_id": 8}, {"id": 6, "image_id": 1, "removed": True}]
    images, rows, found, _ = read(coco([{"id": 1, "file_name": "a.jpg"}], edits, SOURCE))
    assert (images, len(rows)) == ([], 0)
    assert found.fillna(0).values.tolist() == [[1, 5, 1], [1, 6, 0]]


@pytest.mark.parametrize("ids", [(0, 1), (300, 301), ("p", "c")], ids=str)
def test_an_edits_category_is_that_of_its_own_id(read, ids):
    # As the report's Review writes it: ids are those of the annotation file, which a mask may not hold.
    edits = [{"id": 5, "image_id": 1, "category_id": ids[0]}, {"id": 6, "image_id": 1, "category_id": ids[1]}]
    categories = [{"id": ids[0], "name": "person"}, {"id": ids[1], "name": "car"}]
    document = coco([{"id": 1, "file_name": "train/a.jpg"}], edits, SOURCE) | {"categories": categories}
    assert read(document)[2].values.tolist() == [[1, 5, 1], [1, 6, 3]]
    document["annotations"] = [edits[1], full(2, ids[0])]  # beside an image with outlines
    document["images"].append({"id": 2, "file_name": "b.jpg"})
    _, rows, found, _ = read(document)
    assert (rows["category_id"].tolist(), found["category_id"].tolist()) == ([1], [3])


def test_an_edits_category_that_others_are_of_is_one(read):
    categories = [{"id": 1, "name": "person", "supercategory": "car"}, {"id": 2, "name": "car"}]
    edit = {"id": 5, "image_id": 1, "category_id": 2}
    _, _, found, notes = read(coco([{"id": 1, "file_name": "train/a.jpg"}], [edit]) | {"categories": categories})
    assert (found.values.tolist(), notes) == ([[1, 5, 3]], [])


def test_an_edit_whose_category_the_file_does_not_name_is_an_error(read):
    document = coco([{"id": 1, "file_name": "train/a.jpg"}], [{"id": 5, "image_id": 1, "category_id": 1}])
    said = 'annotation 5 of image 1 gets category 1, which the file does not name: add it .* {"id": 1, "name": '
    for categories in (document["categories"], []):
        with pytest.raises(SegscopeError, match=said):
            read(document | {"categories": categories})


REMOVED = {"id": 5, "image_id": 1, "removed": True}


@pytest.mark.parametrize("images", [[], [{"id": 1, "file_name": "train/a.jpg"}]], ids=["not listed", "listed"])
def test_an_edit_finds_an_image_of_this_source_by_its_id(read, images):
    whole, rows, found, notes = read(coco(images, [REMOVED], SOURCE))
    assert (whole, len(rows), found.fillna(0).values.tolist(), notes) == ([], 0, [[1, 5, 0]], [])


@pytest.mark.parametrize(
    ("images", "source"),
    [([], None), ([{"id": 8, "file_name": "train/a.jpg"}], None), ([{"id": 2, "file_name": "b.jpg"}], SOURCE)],
)
def test_an_edit_of_no_image_is_an_error(read, images, source):
    edit = REMOVED | ({"image_id": 9} if source else {})
    with pytest.raises(
        SegscopeError, match=rf"an edit is of image {edit['image_id']}, which is neither among the file"
    ):
        read(coco(images, [edit], source))


def test_beside_edits_an_image_that_is_listed_without_labels_keeps_its_own(read):
    listed = [{"id": 2, "file_name": "b.jpg"}]  # and the edit's number is another's
    whole, rows, found, notes = read(coco(listed, [REMOVED], SOURCE))
    assert (whole, len(rows), found["image_id"].tolist()) == ([], 0, [1])
    assert "1 images are listed without labels beside edits of single annotations: they keep theirs" in notes[-1]


def test_an_edit_of_a_listed_image_of_another_run_is_left_out(read):
    listed = [{"id": 1, "file_name": "z.jpg"}, {"id": 2, "file_name": "b.jpg"}]  # 1 is not this run's image 1
    whole, _, found, notes = read(coco(listed, [REMOVED, REMOVED | {"image_id": 2}], SOURCE))
    assert (whole, found["image_id"].tolist()) == ([], [2])
    assert "1 of 2 images are not in this run: z.jpg" in notes[0]


def test_ids_count_only_where_the_file_is_of_this_source(read):
    listed = [{"id": 1001, "file_name": "a.jpg"}]
    assert read(coco(listed, [full(1001, 7)], SOURCE))[0] == [1001]
    with pytest.raises(SegscopeError, match=r"'a\.jpg' may mean data/coco/train/a\.jpg, data/coco/val/a\.jpg"):
        read(coco(listed, [full(1001, 7)]))
    with pytest.raises(SegscopeError, match=r"is of source directory other, and this run's is 'directory data/coco'"):
        read(coco(listed, [], "directory other"))


def test_images_of_both_splits_that_are_called_alike_each_get_their_labels(read):
    listed = [{"id": 1, "file_name": "a.jpg"}, {"id": 1001, "file_name": "a.jpg"}]
    images, rows, _, notes = read(coco(listed, [full(1, 7, id=5), full(1001, 8, id=6)], SOURCE))
    assert (images, notes) == ([1, 1001], [])
    assert rows[["image_id", "annotation_id", "category_id"]].values.tolist() == [[1, 5, 3], [1001, 6, 1]]


def test_what_is_still_called_proposed_is_left_out(read):
    images, rows, _, notes = read(coco([{"id": 2, "file_name": "b.jpg"}], [full(2, 9), full(2, 7)]))
    assert (images, rows["category_id"].tolist()) == ([2], [3])
    assert "1 annotations are still called 'proposed: '" in notes[-1]


@pytest.mark.parametrize(
    ("images", "annotations", "said"),
    [
        ([{"id": 2, "file_name": "b.jpg", "width": 40, "height": 20}], [], "of 40×20 pixels, and .*b.jpg of 20×10"),
        ([{"id": 2, "file_name": "z.jpg"}], [], "none of its 1 images is in this run"),
        ([{"id": 2, "file_name": "b.jpg"}], [full(3, 7)], "must not lose any: 1 unknown_image"),
        ([{"id": 2, "file_name": "b.jpg"}], [full(2, 7), {"id": 1, "image_id": 2, "removed": True}], "some have none"),
        ([{"id": 2, "file_name": "b.jpg"}], [{"image_id": 2, "id": 4}], "needs image_id, id, and category_id"),
        ([{"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "train/b.jpg"}], [], "listed twice"),
    ],
)  # fmt: skip
def test_what_would_lose_labels_is_an_error(read, images, annotations, said):
    with pytest.raises(SegscopeError, match=said):
        read(coco(images, annotations))


def test_a_category_that_the_data_lack_is_an_error(read):
    document = coco([{"id": 2, "file_name": "b.jpg"}], [full(2, 7)])
    document["categories"][0]["name"] = "cart"
    with pytest.raises(SegscopeError, match="category 'cart' is not one of the data's: person, car"):
        read(document)


def task(result: list, image: str = "/data/local-files/?d=train/a.jpg", **data: object) -> dict:
    annotations = [{"was_cancelled": True, "result": []}, {"result": result}]
    return {"id": 1, "data": {"image": image} | data, "annotations": annotations}


def region(kind: str, value: dict, **other: object) -> dict:
    sizes = {"original_width": 20, "original_height": 10}
    return {"id": "r", "type": kind, "value": value} | sizes | other


def test_label_studios_polygons_and_masks_are_read(read):
    mask = np.zeros((10, 20), bool)
    mask[3:5, 4:9] = True
    points = [[10, 20], [30, 20], [30, 60], [10, 60]]  # per cent
    result = [
        region("polygonlabels", {"points": points, "polygonlabels": ["person"]}),
        region("brushlabels", {"format": "rle", "rle": encode_brush(mask), "brushlabels": ["car"]}, id="12-crowd"),
        {"type": "choices", "value": {"choices": ["good"]}},
    ]
    images, rows, _, _ = read([task(result)])
    assert images == [1]
    rows = rows.set_index("category_id")
    assert json.loads(rows["segmentation"][1]) == [[2, 2, 6, 2, 6, 6, 2, 6]]
    assert (rows["annotation_id"][3], rows["iscrowd"].tolist()) == (12, [True, False])
    assert (decode_rle(json.loads(rows["segmentation"][3])["counts"], 10, 20) == mask).all()


def test_a_task_that_nobody_annotated_changes_nothing(read):
    assert read([{"id": 1, "data": {"image": "b.jpg"}, "annotations": []}, task([], "x/train/b.jpg".lstrip("x/"))])[
        0
    ] == [2]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([task([region("rectanglelabels", {"rectanglelabels": ["car"]})])], "rectangle is no outline: draw it with"),
        ([task([], source="directory other")], "is of source directory other"),
        ([task([region("brushlabels", {"rle": [1, 2], "brushlabels": ["car"]})])], "region r: its brushed mask is cut"),
        ([task([region("brushlabels", {"rle": SMALL, "brushlabels": ["car"]})])], "not of 20×10"),
        ([task([region("polygonlabels", {"points": [], "polygonlabels": ["car", "person"]})])], "has 2 labels"),
        ([{"data": {}, "annotations": [{"result": []}]}], "not as Label Studio exports it as JSON"),
    ],
)  # fmt: skip
def test_what_is_no_outline_is_an_error(read, tasks, said):
    with pytest.raises(SegscopeError, match=said):
        read(tasks)


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_a_brushed_mask_is_itself_again(mask):
    assert (decode_brush(encode_brush(mask), *mask.shape) == mask).all()


def test_a_brushed_mask_of_label_studio():
    # By label_studio_sdk.converter.brush.encode_rle, 2.1.2: sizes of 3, 4, 8 and 16 bits.
    code = [0, 0, 0, 60, 57, 27, 254, 23, 0, 183, 255, 108, 2, 63, 249, 192, 0]
    assert decode_brush(code, 3, 5).astype(int).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]]


@given(st.lists(st.integers(0, 255), max_size=60))
def test_any_other_numbers_are_an_error_or_a_mask(code):
    with contextlib.suppress(SegscopeError):
        assert decode_brush([0, 0, 0, 60, *code], 3, 5).shape == (3, 5)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=val%20a/x%20y.jpg", "val a/x y.jpg"),
        ("/data/upload/3/0a1b2c3d-photo.jpg", "photo.jpg"),
        ("https://host/bucket/photo.jpg?sig=1", "photo.jpg"),
        ("val/photo.jpg", "val/photo.jpg"),
    ],
)
def test_an_address_means_a_file(address, name):
    assert file_name_of(address) == name


def test_the_labelling_interface_quotes_its_labels():
    labels = ['a&"<', "b"]
    found = ElementTree.fromstring(labelling_config(labels))
    assert [[each.get("value") for each in kind] for kind in (found[1], found[2])] == [labels, labels]


POLYGON = {"points": [[10, 20], [30, 20], [30, 60]], "polygonlabels": ["person"]}
BRUSH = {"rle": encode_brush(np.eye(10, 20, dtype=bool)), "brushlabels": ["car"]}
VALID = [
    coco([{"id": 1, "file_name": "train/a.jpg"}], [full(1, 7, id=3, segscope={"annotation_id": 4})], SOURCE),
    coco([{"id": 1, "file_name": "train/a.jpg"}], [{"id": 5, "image_id": 1, "removed": True}]),
    [task([region("brushlabels", BRUSH, id="7-crowd"), region("polygonlabels", POLYGON)], image_id=1, source=SOURCE)],
]


def read_or_refused(folder: Path, content: bytes) -> None:
    (folder / "damaged.json").write_bytes(content)
    with contextlib.suppress(SegscopeError):
        read_corrections(folder / "damaged.json", SOURCE, INDEX, CATEGORIES)


@given(st.sampled_from(VALID), st.integers(0, 400), st.integers(0, 40), st.binary(max_size=20) | st.sampled_from(ODD))
def test_a_damaged_file_is_read_or_an_error(tmp_path_factory, valid, start, length, put):
    text = json.dumps(valid).encode()
    read_or_refused(tmp_path_factory.getbasetemp(), text[:start] + put + text[start + length :])


def places(document: object) -> list[tuple[dict | list, object]]:
    """Each value of a document: what it is in, and where; a mask's code is one."""
    if not isinstance(document, dict | list) or len(document) > 20:
        return []
    own = list(document) if isinstance(document, dict) else range(len(document))
    return [(document, key) for key in own] + [place for key in own for place in places(document[key])]


STRANGE = [
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1e300,
    float("nan"),
    "",
    "x",
    "1",
    "http://[",
    "\x00",
    "²",
    [],
    [[]],
    {},
    {"a": 1},
]


@settings(max_examples=300)
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(STRANGE)), max_size=3))
def test_strange_values_are_read_or_an_error(tmp_path_factory, valid, changes):
    document = json.loads(json.dumps(valid))
    for which, value in changes:
        parent, key = (of := places(document))[which % len(of)]
        parent[key] = deepcopy(value)
    read_or_refused(tmp_path_factory.getbasetemp(), json.dumps(document).encode())


def test_two_edits_of_one_annotation_are_an_error(read):
    edits = [{"id": 5, "image_id": 1, "category_id": 7}, {"id": 5, "image_id": 1, "removed": True}]
    with pytest.raises(SegscopeError, match="annotation 5 of image 1 is edited twice"):
        read(coco([{"id": 1, "file_name": "train/a.jpg"}], edits, SOURCE))


@pytest.mark.parametrize("text", [b'{"annotations": [{"image_id": "b\xfc"}]}', b'[{"data": {}}, 5]'])
def test_a_file_that_is_no_text_or_no_export_is_an_error(text, tmp_path):
    (tmp_path / "c.json").write_bytes(text)
    with pytest.raises(SegscopeError, match=r"c\.json"):
        read_corrections(tmp_path / "c.json", SOURCE, INDEX, CATEGORIES)
