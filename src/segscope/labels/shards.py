"""Writing converted images as TFRecord shards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from segscope.artefacts.files import write_json
from segscope.artefacts.records import RecordWriter, open_shard, shard_name
from segscope.labels.conversion import Converted

SHARD_IMAGES = 256  # also the images of a task of the later stages


def write_shards(folder: Path, split: str, n: int, results: Iterator[Converted]) -> Iterator[list[Converted]]:
    """Write the records of n images, SHARD_IMAGES a file, with a progress bar.

    Yields the results of each file without their records. How many records each has is written last, as SPLIT.json: a
    file that ends between two records is none that is whole.
    """
    shards, held = -(-n // SHARD_IMAGES), dict[str, int]()
    with tqdm(total=n, desc=f"masks {split}", unit="image", disable=None) as bar:

        def write(shard: RecordWriter, result: Converted) -> Converted:
            if result.record:
                shard.write(result.record)
            bar.update()
            return result._replace(record=None)

        for number in range(shards):
            with open_shard(folder, split, number, shards) as shard:
                written = [write(shard, result) for result in islice(results, SHARD_IMAGES)]
            held[shard_name(split, number, shards)] = shard.records
            yield written
    write_json(folder / f"{split}.json", held)
