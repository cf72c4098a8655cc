import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CATEGORIES, square
from PIL import Image

from segscope.artefacts import schemas, tables
from segscope.artefacts.images import EXIF_ORIENTATION, decode_png
from segscope.labels.conversion import Job, Reading, convert, convert_all, said_of, tabulate

WIDTH, HEIGHT = 40, 30
READING = Reading(32, "include", "ignore")
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
CATEGORY_TABLE = pd.DataFrame(CATEGORIES).rename(columns={"id": "category_id"})


def annotation(annotation_id: int, segmentation: object, category_id: int = 1) -> dict:
    text = segmentation if isinstance(segmentation, bytes) else json.dumps(segmentation).encode()
    return {"annotation_id": annotation_id, "category_id": category_id, "iscrowd": False, "segmentation": text}


def job(path: Path, *annotations: dict, image_id: int = 1) -> Job:
    return Job(image_id, str(path), WIDTH, HEIGHT, list(annotations))


def record_of(result) -> dict[str, np.ndarray]:
    import tensorflow as tf

    features = tf.train.Example.FromString(result.record).features.feature
    return {name: decode_png(features[name].bytes_list.value[0]) for name in ("image", "mask")}


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_a_record_holds_the_picture_and_the_mask(tmp_path):
    result = convert(job(save(tmp_path / "a.png", PICTURE), annotation(7, square(0, 0, 15), 3)), READING)
    record = record_of(result)
    assert np.array_equal(record["image"], PICTURE.resize((32, 32), Image.Resampling.BILINEAR))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:15, :15] = 3
    assert np.array_equal(record["mask"], Image.fromarray(mask).resize((32, 32), Image.Resampling.NEAREST))
    assert result.instances["annotation_id"] == [7]
    assert result.pixels[[0, 3]].tolist() == [HEIGHT * WIDTH - 225, 225]
    assert result.skipped == []


def jpeg(fraction: float = 1) -> bytes:
    buffer = io.BytesIO()
    PICTURE.save(buffer, "JPEG")
    return buffer.getvalue()[: int(len(buffer.getvalue()) * fraction)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg(0.5), "unreadable_image"),
        (b"", "unreadable_image"),
        (b"<html>404</html>", "unreadable_image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "unreadable_image"),
        (None, "unreadable_image"),
    ],
)
def test_an_image_that_cannot_be_used_is_listed(tmp_path, data, reason):
    path = tmp_path / "a.jpg"
    if data is not None:
        path.write_bytes(data)
    result = convert(job(path, annotation(7, square(0, 0, 15))), READING)
    assert result.record is None
    (row,) = result.skipped
    assert (row["image_id"], row["annotation_id"], row["file_name"], row["reason"]) == (1, None, str(path), reason)
    assert str(path) in row["detail"]


def test_an_image_of_another_size_is_listed(tmp_path):
    path = save(tmp_path / "a.png", PICTURE.crop((0, 0, 20, 30)))
    (row,) = convert(job(path), READING).skipped
    assert row["reason"] == "size_mismatch"
    assert "is 20×30, its annotations are of 40×30" in row["detail"]


@pytest.mark.parametrize(
    ("exif", "shown"), [("ignore", PICTURE.transpose(Image.Transpose.ROTATE_180)), ("apply", PICTURE)]
)
def test_an_exif_orientation_is_applied_when_asked_and_else_told(tmp_path, exif, shown):
    orientation = Image.Exif()
    orientation[EXIF_ORIENTATION] = 3
    path = save(tmp_path / "a.png", PICTURE.transpose(Image.Transpose.ROTATE_180), exif=orientation)
    result = convert(job(path), READING._replace(exif=exif))
    assert np.array_equal(record_of(result)["image"], shown.resize((32, 32), Image.Resampling.BILINEAR))
    said = said_of(result.odd, "val", 9)
    assert [line.partition(",")[0] for line in said] == ["val: 1 of 9 images have an EXIF orientation"] * (
        exif == "ignore"
    )


def test_a_picture_of_few_of_its_bits_is_told(tmp_path):
    gray = PIXELS[..., 0].astype(np.uint16)
    counts = []
    for times in (1, 16, 32, 257):
        path = save(tmp_path / f"{times}.png", Image.fromarray(gray * times))
        counts.append(dict(convert(job(path), READING).odd))
    assert counts == [{}, {"dim": 1}, {"dim": 1}, {}]


def test_an_outline_that_covers_no_pixel_is_listed_and_an_odd_one_told(tmp_path):
    path = save(tmp_path / "a.png", PICTURE)
    outside, pairs = annotation(1, square(100, 100, 5)), annotation(2, [[0, 0], [9, 0], [9, 9]])
    result = convert(job(path, outside, pairs), READING)
    assert result.instances["annotation_id"] == [2]
    assert [(row["annotation_id"], row["reason"]) for row in result.skipped] == [(1, "no_pixels")]
    assert said_of(result.odd, "val", 1) == ["val: 1 segmentations are read as pairs of numbers"]


def test_a_bad_segmentation_costs_one_annotation(tmp_path):
    path = save(tmp_path / "a.png", PICTURE)
    good, bad, worse = annotation(1, square(0, 0, 5)), annotation(2, None), annotation(3, b'[["\xff"]]')
    result = convert(job(path, bad, good, worse), READING)
    assert result.instances["annotation_id"] == [1]
    assert [(row["annotation_id"], row["reason"]) for row in result.skipped] == [
        (2, "bad_segmentation"),
        (3, "bad_segmentation"),
    ]


def test_results_come_in_order_and_fit_their_schemas(tmp_path):
    jobs = []
    for i in range(40):
        path = save(tmp_path / f"{i}.png", PICTURE)
        jobs.append(job(path, *(annotation(100 * i + n, square(n, n, 9), 3) for n in range(i % 3)), image_id=i))
    (tmp_path / "5.png").unlink()
    results = list(convert_all(iter(jobs), READING))
    assert [result.image_id for result in results] == list(range(40))
    images = pd.DataFrame({"image_id": range(40), "split": "val", "width": WIDTH, "height": HEIGHT})
    samples, instances, skipped = tabulate(results, images, CATEGORY_TABLE)
    tables.write_parquet(tmp_path / "samples.parquet", samples, schemas.samples_schema(CATEGORY_TABLE))
    tables.write_parquet(tmp_path / "instances.parquet", instances, schemas.INSTANCES)
    assert samples["image_id"].tolist() == [i for i in range(40) if i != 5]
    assert samples["count.car"].tolist() == [i % 3 for i in range(40) if i != 5]
    assert instances["image_id"].value_counts().to_dict() == {i: i % 3 for i in range(40) if i % 3 and i != 5}
    assert skipped["image_id"].tolist() == [5]


def test_a_shard_of_which_nothing_can_be_used_has_empty_tables(tmp_path):
    results = [convert(job(tmp_path / "gone.png"), READING)]
    images = pd.DataFrame({"image_id": [1], "split": "val", "width": WIDTH, "height": HEIGHT})
    samples, instances, _ = tabulate(results, images, CATEGORY_TABLE)
    tables.write_parquet(tmp_path / "samples.parquet", samples, schemas.samples_schema(CATEGORY_TABLE))
    tables.write_parquet(tmp_path / "instances.parquet", instances, schemas.INSTANCES)
    assert len(samples) == len(instances) == 0
