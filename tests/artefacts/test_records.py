import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from segscope.artefacts.images import encode_png
from segscope.artefacts.records import example, index_records, open_shard
from segscope.errors import SegscopeError

SIZE = 8


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


def record(image_id: int, size: int = SIZE, **changed: bytes) -> bytes:
    png = encode_png(np.random.default_rng(image_id).integers(0, 255, (size, size), dtype=np.uint8))
    return example({"image_id": image_id, "image": png, "mask": png} | changed)


def write(folder: Path, *shards: list[bytes]) -> list[str]:
    for number, records in enumerate(shards):
        with open_shard(folder, "train", number, len(shards)) as writer:
            for data in records:
                writer.write(data)
    return sorted(map(str, folder.iterdir()))


def test_each_record_is_found_and_read_as_tensorflow_reads_it(tmp_path):
    ids = [[7, 2**62, 3], [], [1, 5]]
    files = write(tmp_path, *([record(image_id) for image_id in of] for of in ids))
    records, expected = index_records(files, SIZE), list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    assert records.image_id.tolist() == [*ids[0], *ids[2]]
    assert [records.read(i) for i in range(len(records))] == expected
    some = records.of(np.array([5, 3, 7, 99]))
    assert some.image_id.tolist() == [7, 3, 5]
    assert [some[1:].read(i) for i in range(2)] == [expected[2], expected[4]]


def test_files_without_records_have_none(tmp_path):
    assert len(index_records(write(tmp_path, []), SIZE)) == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, bytes]:
    """A file of two records, and what is in it."""
    (file,) = write(tmp_path_factory.mktemp("whole"), [record(1), record(2)])
    return Path(file), Path(file).read_bytes()


def refusal(path: Path | str, why: str) -> str:
    return rf"^{re.escape(str(path))} cannot be used \({why}.*\); run `dvc repro masks`$"


@given(data=st.data())
def test_a_file_that_is_cut_off_or_of_which_a_bit_is_changed_is_refused(whole, data):
    path, written = whole
    place = data.draw(st.integers(1, len(written) - 1).filter(lambda place: place != 16 + len(record(1))))
    flipped = bytearray(written)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for content in (written[:place], flipped):
        path.write_bytes(content)
        with pytest.raises(SegscopeError, match=refusal(path, "")):
            index_records([str(path)], SIZE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (record(3, size=16), "the image of image 3 has 16 × 16 pixels, not 8 × 8"),
        (record(3, mask=b"GIF89a"), "the mask of image 3 is no PNG"),
        (record(3, mask=b""), "the mask of image 3 is no PNG"),
        (example({"image_id": 3, "image": b""}), "a record is none of an image and its mask"),
        (example({"image": b"", "mask": b""}), "a record is none of an image and its mask"),
        (b"PAR1" * 9, "a record is none of an image and its mask"),
        (record(1), "image 1 is there twice"),
    ],
)
def test_a_record_that_the_masks_stage_does_not_write_is_refused(tmp_path, data, why):
    files = write(tmp_path, [record(1)], [data])
    with pytest.raises(SegscopeError, match=refusal(files[1], why)):
        index_records(files, SIZE)


@pytest.mark.parametrize(
    ("content", "why"), [(b'{"a": 1}', "there is no record at byte 0"), (b"PAR1" * 99, "there is no record at byte 0")]
)
def test_another_files_content_is_refused(tmp_path, content, why):
    (tmp_path / "train-00000-of-00001.tfrecord").write_bytes(content)
    with pytest.raises(SegscopeError, match=refusal(tmp_path / "train-00000-of-00001.tfrecord", why)):
        index_records([str(tmp_path / "train-00000-of-00001.tfrecord")], SIZE)


def test_a_file_that_is_changed_or_lost_afterwards_is_refused_when_it_is_read(tmp_path):
    (file,) = write(tmp_path, [record(1), record(2)])
    records, content = index_records([file], SIZE), bytearray(Path(file).read_bytes())
    content[records.offset[1] + 9] ^= 1
    Path(file).write_bytes(content)
    assert records.read(0) == record(1)
    with pytest.raises(SegscopeError, match=refusal(file, "the checksum")):
        records.read(1)
    Path(file).unlink()
    with pytest.raises(SegscopeError, match=refusal(file, "No such file")):
        records.read(0)
