import pytest
import tensorflow as tf

from segscope.artefacts.records import example, open_shard


def test_tensorflow_reads_what_was_written(tmp_path):
    rows = [{"image_id": 2**40 + i, "image": bytes([i]) * 1000, "mask": b""} for i in range(3)]
    with open_shard(tmp_path, "train", 0, 2) as writer:
        for row in rows:
            writer.write(example(row))
    file = tmp_path / "train-00000-of-00002.tfrecord"
    parsed = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset([str(file)])]
    assert [p.features.feature["image_id"].int64_list.value[0] for p in parsed] == [r["image_id"] for r in rows]
    for key in ("image", "mask"):
        assert [p.features.feature[key].bytes_list.value[0] for p in parsed] == [r[key] for r in rows]


def test_a_failing_writer_leaves_no_shard(tmp_path):
    with pytest.raises(RuntimeError, match="full"), open_shard(tmp_path, "train", 0, 1):
        raise RuntimeError("full")
    assert list(tmp_path.iterdir()) == []
