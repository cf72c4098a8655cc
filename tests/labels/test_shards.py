import json

import pytest
import tensorflow as tf

from segscope.labels import shards
from segscope.labels.conversion import Converted
from segscope.labels.shards import write_shards


@pytest.fixture
def written(tmp_path, monkeypatch) -> list[list[Converted]]:
    """Seven images, the third of which cannot be used, three a file."""
    monkeypatch.setattr(shards, "SHARD_IMAGES", 3)
    results = [Converted(i, None if i == 2 else bytes([i]), []) for i in range(7)]
    return list(write_shards(tmp_path, "val", 7, iter(results)))


def test_records_are_in_files_of_equal_size_in_order(written, tmp_path):
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [*(f"val-0000{n}-of-00003.tfrecord" for n in range(3)), "val.json"]
    counts = json.loads((tmp_path / files.pop()).read_text())
    assert counts == dict(zip(files, (2, 3, 1), strict=True))
    records = [list(tf.data.TFRecordDataset(str(tmp_path / file)).as_numpy_iterator()) for file in files]
    assert records == [[b"\0", b"\1"], [b"\3", b"\4", b"\5"], [b"\6"]]


def test_what_came_of_each_image_is_given_back_without_its_record(written):
    assert [[result.image_id for result in part] for part in written] == [[0, 1, 2], [3, 4, 5], [6]]
    assert all(result.record is None for part in written for result in part)


def test_a_file_is_whole_before_its_results_are_given_out(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_IMAGES", 3)
    results = (Converted(i, b"x", []) for i in range(7))
    for number, _ in enumerate(write_shards(tmp_path, "val", 7, results), start=1):
        assert len(list(tmp_path.glob("*.tfrecord"))) == len(list(tmp_path.iterdir())) == number
