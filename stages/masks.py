"""masks: resized images and category masks as TFRecord shards, and everything known of each image."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from segscope import schemas, stage
from segscope.conversion import Converted, convert_all, jobs, tabulate
from segscope.errors import SegscopeError
from segscope.exclusion import apply_exclusion, read_exclusion
from segscope.files import atomic_folder, write_json
from segscope.params import Params
from segscope.records import RecordWriter, open_shard

ARTIFACTS = Path("artifacts")
SHARD_IMAGES = 1024


def main(params: Params) -> None:
    index = schemas.read_parquet("data/index.parquet", schemas.INDEX)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    annotations = schemas.read_table("data/annotations.parquet", schemas.ANNOTATIONS).combine_chunks()
    skipped, found = [schemas.read_parquet("data/skipped.parquet", schemas.SKIPPED)], {}
    exclusion = read_exclusion(params.data.exclude)
    index, annotations, excluded, unknown = apply_exclusion(exclusion, index, annotations)
    skipped.append(excluded)
    if unknown:
        print(f"warning: {params.data.exclude} names {unknown} ids that this run does not have", file=sys.stderr)
    with (
        atomic_folder(ARTIFACTS / "dataset") as folder,
        schemas.open_parquet(ARTIFACTS / "samples.parquet", schemas.samples_schema(categories)) as write_samples,
        schemas.open_parquet(ARTIFACTS / "instances.parquet", schemas.INSTANCES) as write_instances,
    ):
        for split, images in index.groupby("split"):
            totals = []
            bar = tqdm(total=len(images), desc=f"masks {split}", unit="image", disable=None)
            results = convert_all(jobs(images, annotations), params.data.image_size, params.masks.crowd)
            for shard_results in write_shards(folder, split, len(images), results, bar):
                samples, instances, left_out = tabulate(shard_results, images, categories)
                write_samples(samples)
                write_instances(instances)
                skipped.append(left_out.assign(split=split))
                totals.append(sums(samples))
            bar.close()
            total = sum(totals)
            if not total["images"]:
                raise SegscopeError(f"no image of split {split} can be used: {skipped[-1]['detail'].iloc[0]}")
            size = sum(file.stat().st_size for file in folder.glob(f"{split}-*"))
            found[split] = metrics(total, categories) | {"bytes": size}
    skipped = pd.concat(skipped)
    schemas.write_parquet(ARTIFACTS / "skipped.parquet", skipped, schemas.SKIPPED)
    for split in found:
        found[split]["skipped"] = stage.count_skipped(skipped[skipped["split"] == split])
    write_json("metrics/masks.json", found)
    stage.say_skipped(skipped, "artifacts/skipped.parquet")


def write_shards(
    folder: Path, split: str, n_images: int, results: Iterator[Converted], bar: tqdm
) -> Iterator[list[Converted]]:
    """Write the records, SHARD_IMAGES a file; yields the results of each file without their records."""

    def write(shard: RecordWriter, result: Converted) -> Converted:
        if result.record:
            shard.write(result.record)
        bar.update()
        return result._replace(record=None)

    shards = -(-n_images // SHARD_IMAGES)
    for number in range(shards):
        with open_shard(folder, split, number, shards) as shard:
            written = [write(shard, result) for result in islice(results, SHARD_IMAGES)]
        yield written


def sums(samples: pd.DataFrame) -> pd.Series:
    """What the metrics are made of, so that the samples of one shard are in memory at a time."""
    plain = (samples["n_instances"] + samples["n_crowds"]) == 0
    return samples.assign(images=1, without_annotation=plain).drop(columns=["image_id"]).sum(numeric_only=True)


def metrics(total: pd.Series, categories: pd.DataFrame) -> dict:
    def of(prefix: str, column: str, scale: float = 1) -> dict:
        group = "super." if column == "supercategory" else ""
        values = {name: total[f"{prefix}.{group}{name}"] / scale for name in categories[column].unique()}
        return {name: value for name, value in values.items() if value}

    images = int(total["images"])
    return {
        "images": images,
        "instances": int(total["n_instances"]),
        "crowds": int(total["n_crowds"]),
        "grayscale_files": int(total["is_grayscale_file"]),
        "gray": int(total["is_gray"]),
        "low_light": int(total["low_light"]),
        "without_annotation": int(total["without_annotation"]),
        "count": {k: int(v) for k, v in of("count", "name").items()},
        "count_super": {k: int(v) for k, v in of("count", "supercategory").items()},
        "pixel_share": {"background": total["share.background"] / images} | of("share", "name", images),
        "pixel_share_super": of("share", "supercategory", images),
    }


if __name__ == "__main__":
    stage.run(main)
